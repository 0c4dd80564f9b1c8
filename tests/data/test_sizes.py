"""What is no recording by its size or kind: refused with a sentence, in little memory, without waiting."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from indrnn.data.ntu import read_skeleton
from indrnn.data.ntu.skeleton import MOST_BYTES
from indrnn.data.ntu.sources import source_at
from indrnn.errors import UserError


class Zeros:
    """A file of so many zeros, as zipfile reads it: a piece at a time."""

    def __init__(self, size: int):
        self.left = size

    def read(self, count: int) -> bytes:
        count = min(count, self.left)
        self.left -= count
        return bytes(count)


def bomb(path, size: int, packed: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", packed) as archive, archive.open("S001C001P001R001A001.skeleton", "w") as member:
        shutil.copyfileobj(Zeros(size), member, 1 << 20)


def most_memory(code: str) -> int:
    """The most bytes that a process of this code took."""
    code += "\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return int(done.stdout.split()[-1]) * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize("size", [MOST_BYTES + 1, 1 << 28])
def test_a_member_is_read_no_further_than_its_limit(tmp_path, size):
    path = tmp_path / "a.zip"
    bomb(path, size)
    with pytest.raises(
        UserError, match="S001C001P001R001A001.skeleton in .*a.zip cannot be read .*has more than 16,777"
    ):
        source_at(path).read("S001C001P001R001A001.skeleton")
    code = "from indrnn.data.ntu.sources import source_at\nfrom indrnn.errors import UserError\n"
    code += f"try: source_at({str(path)!r}).read('S001C001P001R001A001.skeleton')\nexcept UserError: pass"
    assert most_memory(code) - most_memory("from indrnn.data.ntu.sources import source_at") < 4 * MOST_BYTES


def test_a_member_that_is_packed_otherwise_is_refused_before_it_is_unpacked(tmp_path):
    bomb(tmp_path / "a.zip", 1 << 28, zipfile.ZIP_BZIP2)
    with pytest.raises(UserError, match="packed otherwise than zip does: pack it again"):
        source_at(tmp_path / "a.zip").read("S001C001P001R001A001.skeleton")


def test_a_member_of_the_largest_size_is_read_whole(tmp_path):
    bomb(tmp_path / "a.zip", MOST_BYTES)
    assert source_at(tmp_path / "a.zip").read("S001C001P001R001A001.skeleton") == bytes(MOST_BYTES)


def test_a_pipe_and_a_huge_file_are_refused_in_a_folder_too(tmp_path):
    names = ["S001C001P001R001A001.skeleton", "S001C001P001R001A002.skeleton"]
    os.mkfifo(tmp_path / names[0])
    with open(tmp_path / names[1], "wb") as file:
        file.truncate(10**11)
    for name, words in zip(names, ("is no regular file", "has more than 16,777,216 bytes"), strict=True):
        for read in (source_at(tmp_path).read, lambda name: read_skeleton(tmp_path / name)):
            with pytest.raises(UserError, match=f"{name} {words}"):
                read(name)
