"""Files: part names of their own on every host, file systems without locks, nothing that is no file is waited for."""

import errno
import logging
import os
import time

import pytest

from indrnn import files
from indrnn.errors import UserError


def test_parts_of_two_writers_have_two_names_with_host_and_process(tmp_path):
    first, second = files.part_of(tmp_path / "run.json"), files.part_of(tmp_path / "run.json")
    assert first != second and first.parent == tmp_path
    assert first.name.startswith(f".run.json.{files.host()}.{os.getpid()}.") and first.name.endswith(".part")


@pytest.mark.parametrize("name", ["node7.cluster.example.org", "näh/e", "", "x" * 200])
def test_a_host_of_any_name_is_one_word_of_a_file_name(tmp_path, monkeypatch, name):
    monkeypatch.setattr(files.socket, "gethostname", lambda: name)
    part = files.part_of(tmp_path / "last.ckpt")
    part.write_bytes(b"")
    assert part.parent == tmp_path and len(part.name) < 100 and part.name.count(".") == 7 - 1
    files.remove_parts(tmp_path)
    assert not part.exists()


def test_parts_that_another_host_may_be_writing_stay_for_a_day(tmp_path, monkeypatch):
    own, of_old = files.part_of(tmp_path / "run.json"), tmp_path / ".last.ckpt.123.part"
    monkeypatch.setattr(files.socket, "gethostname", lambda: "elsewhere")
    fresh, left = files.part_of(tmp_path / "run.json"), files.part_of(tmp_path / "last.ckpt")
    monkeypatch.undo()
    for part in (own, of_old, fresh, left):
        part.write_bytes(b"half of it")
    day = time.time() - 25 * 3600
    os.utime(left, (day, day))
    with files.lock(tmp_path / "lock", lambda _: UserError("busy"), tidy=True):
        assert [path for path in tmp_path.iterdir() if path.suffix == ".part"] == [fresh]


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP])
@pytest.mark.parametrize("wait", [False, True])
def test_a_file_system_without_locks_is_told_once_and_used(tmp_path, monkeypatch, caplog, code, wait):
    def none(*arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.fcntl, "flock", none)
    monkeypatch.setattr(files, "_told", set())
    part = files.part_of(tmp_path / "run.json")
    part.write_bytes(b"of whom?")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with files.lock(tmp_path / "lock", lambda _: UserError("busy"), wait, tidy=True):
                assert part.exists()
    told = f"The file system of {tmp_path} has no locks: do not start the same thing twice at once."
    assert caplog.messages == [told]


def test_an_error_of_another_kind_is_one(tmp_path, monkeypatch):
    def broken(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files.fcntl, "flock", broken)
    with pytest.raises(OSError, match="Input/output error"):
        with files.lock(tmp_path / "lock", lambda _: UserError("busy")):
            pass


def test_only_regular_files_of_a_sane_size_are_read(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert files.content(tmp_path / "a") == files.content(tmp_path / "a", 5) == b"12345"
    with pytest.raises(UserError, match=f"{tmp_path}/a has more than 4 bytes"):
        files.content(tmp_path / "a", 4)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", tmp_path, "/dev/zero"):
        with pytest.raises(UserError, match=f"{path} is no regular file"):
            files.content(path)
    with pytest.raises(FileNotFoundError):
        files.content(tmp_path / "nowhere")
