"""Checksums: as sha256sum writes and reads them; a damaged list and a changed file are named, nothing blocks."""

import hashlib
import os
import shutil
import subprocess

import pytest

from indrnn import checksums
from indrnn.errors import UserError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "b").write_text("b")
    (tmp_path / "runs/a ü.csv").write_bytes(b"\0" * 3_000_000)
    (tmp_path / "SHA256SUMS").write_text(checksums.text(tmp_path, ["runs/a ü.csv", "b", "b"]), encoding="utf-8")
    return tmp_path


def test_what_is_written_is_read(folder):
    sums = checksums.read(folder / "SHA256SUMS")
    assert list(sums) == ["b", "runs/a ü.csv"]
    assert sums["b"] == hashlib.sha256(b"b").hexdigest()
    assert checksums.differing(folder, sums) == []


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="no sha256sum here")
def test_sha256sum_agrees(folder):
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True)
    assert done.returncode == 0, done
    written = subprocess.run(["sha256sum", "b", "runs/a ü.csv"], cwd=folder, capture_output=True).stdout
    assert written == (folder / "SHA256SUMS").read_bytes()


def test_what_is_missing_changed_or_no_file_differs(folder):
    sums = checksums.read(folder / "SHA256SUMS") | dict.fromkeys(["c", "fifo", "folder"], "0" * 64)
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "b").write_text("B")
    assert checksums.differing(folder, sums) == ["b", "c", "fifo", "folder"]


def test_every_flipped_byte_of_a_list_is_seen(folder):
    path = folder / "SHA256SUMS"
    content = path.read_bytes()
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        try:
            assert checksums.differing(folder, checksums.read(path)) or content[position : position + 1] in b" *"
        except UserError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("keep", [0, 10, 64, 68, -1])
def test_a_list_cut_short_is_damaged(folder, keep):
    path = folder / "SHA256SUMS"
    path.write_bytes(path.read_bytes()[:keep])
    if keep == 68:  # of line 1, whole
        assert list(checksums.read(path)) == ["b"]
        return
    with pytest.raises(UserError, match=f"{path} is damaged"):
        checksums.read(path)


@pytest.mark.parametrize("name", ["../b", "/etc/passwd", "a\nb", "a\\b", ""])
def test_names_that_lead_elsewhere_are_neither_written_nor_read(folder, name):
    with pytest.raises(ValueError, match="no names of files"):
        checksums.text(folder, [name])
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(UserError, match="is damaged"):
        checksums.read(folder / "SHA256SUMS")


def test_a_list_that_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "SHA256SUMS")
    with pytest.raises(UserError, match="no regular file"):
        checksums.read(tmp_path / "SHA256SUMS")
    with pytest.raises(FileNotFoundError):
        checksums.read(tmp_path / "nowhere")
