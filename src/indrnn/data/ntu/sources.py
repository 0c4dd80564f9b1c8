"""Where raw ``.skeleton`` files lie: in a folder or in a zip archive, which is read without unpacking it."""

import lzma
import zipfile
import zlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

from indrnn.data.ntu.skeleton import MOST_BYTES
from indrnn.errors import UserError
from indrnn.files import content

ENDING = ".skeleton"
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
File = TypeVar("File", Path, str)
# What zipfile raises for archives that are damaged, encrypted or packed in a way it does not know.
DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError)


class Source(Protocol):
    """Recordings by the name of their file. A source is sent to other processes: it opens nothing before it reads."""

    def names(self) -> list[str]:
        """The names of all files that end in .skeleton, sorted, each once."""

    def read(self, name: str) -> bytes:
        """The content of one."""


class Folder:
    """The .skeleton files in a folder and all folders below it."""

    def __init__(self, path: Path):
        self.path = path

    @cached_property
    def files(self) -> dict[str, Path]:
        return by_name(((path.name, path) for path in self.path.rglob(f"*{ENDING}")), self.path)

    def names(self) -> list[str]:
        return sorted(self.files)

    def read(self, name: str) -> bytes:
        return content(self.files[name], MOST_BYTES)


class Zip:
    """The .skeleton files in a zip archive, in whatever folders it has.

    Raises:
        UserError: from ``names`` and ``read``, for what is no zip archive, is damaged, or has members whose names lead
            out of the folder that one would unpack it in.
    """

    def __init__(self, path: Path):
        self.path = path

    def __getstate__(self) -> dict:
        return {"path": self.path}

    @cached_property
    def archive(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except DAMAGE:
            raise UserError(f"{self.path} is no zip archive, or only half of one: fetch it again.") from None

    @cached_property
    def files(self) -> dict[str, str]:
        for name in self.archive.namelist():
            path = PurePosixPath(name.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or name[1:2] == ":":
                raise UserError(f"{self.path} has a member that leads out of its folder, {name!r}: do not trust it.")
        named = ((PurePosixPath(name).name, name) for name in self.archive.namelist() if name.endswith(ENDING))
        return by_name(named, self.path)

    def names(self) -> list[str]:
        return sorted(self.files)

    def read(self, name: str) -> bytes:
        try:
            member = self.archive.getinfo(self.files[name])
            if member.compress_type not in PACKED:  # others unpack a few bytes to any size at once
                raise ValueError("it is packed otherwise than zip does: pack it again")
            with self.archive.open(member) as file:  # read no further than the limit, whatever the archive says
                found = file.read(MOST_BYTES + 1)
            if len(found) > MOST_BYTES:
                raise ValueError(f"it has more than {MOST_BYTES:,} bytes, which no recording has")
            return found
        except (*DAMAGE, OSError) as error:
            raise UserError(f"{self.files[name]} in {self.path} cannot be read ({error}).") from None


def source_at(path: str | Path) -> Folder | Zip:
    """The source for a path that a user gave.

    Raises:
        UserError: there is nothing, or neither a folder nor a file.
    """
    path = Path(path).expanduser().resolve()
    if path.is_dir():
        return Folder(path)
    if path.is_file():
        return Zip(path)
    raise UserError(f"{path} is neither a folder nor a zip archive with the raw .skeleton files.")


def by_name(files: Iterable[tuple[str, File]], where: Path) -> dict[str, File]:
    """Files by their names, but for hidden ones (a Mac packs its own beside them).

    Raises:
        UserError: two have the same name.
    """
    found = {}
    for name, file in files:
        if name.startswith("."):
            continue
        if name in found:
            raise UserError(f"{where} holds {name} twice, as {found[name]} and {file}: remove one.")
        found[name] = file
    return found
