"""Checksums of the files of a folder, as ``sha256sum`` writes and checks them: SHA256SUMS."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from indrnn import files
from indrnn.errors import UserError

NAME = "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64}) [ *]([^\\\n]+)")  # sha256sum writes names with a backslash in a way of its own
MOST = 1 << 24  # bytes of a list: a hundred thousand files


def text(folder: Path, names: Iterable[str]) -> str:
    """A line ``<sha256>  <name>`` for each of some files, sorted by name.

    Args:
        names: of files in ``folder``, relative to it, with ``/``.

    Raises:
        OSError: one cannot be read.
        ValueError: a name that a list cannot hold.
    """
    names = sorted(set(names))
    if strange := [name for name in names if not _is_inside(name)]:
        raise ValueError(f"no names of files in a folder: {strange}")
    return "".join(f"{sha256(Path(folder) / name)}  {name}\n" for name in names)


def read(path: Path) -> dict[str, str]:
    """The sha256 of every file that a list names, by name; UserError where it is damaged, OSError where it is not."""
    content = files.content(path, MOST)
    *lines, rest = content.decode("utf-8", "replace").split("\n")
    found: dict[str, str] = {}
    for number, line in enumerate([*lines, rest] if rest or not lines else lines, 1):
        match = LINE.fullmatch(line)
        if not match or not _is_inside(match[2]) or match[2] in found or number > len(lines):
            raise UserError(f"{path} is damaged: line {number} is no line of sha256sum, or the file ends in it.")
        found[match[2]] = match[1]
    return found


def differing(folder: Path, sums: Mapping[str, str]) -> list[str]:
    """The names whose files are missing, unreadable, no regular files, or others than the checksums say; sorted."""
    return [name for name in sorted(sums) if not _fits(Path(folder) / name, sums[name])]


def sha256(path: Path) -> str:
    """The checksum of one file; OSError where it cannot be read, UserError where it is no regular file."""
    files.refuse_irregular(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fits(path: Path, expected: str) -> bool:
    try:
        return sha256(path) == expected
    except (OSError, UserError):
        return False


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(LINE.fullmatch(f"{'0' * 64}  {name}")) and not path.is_absolute() and ".." not in path.parts
