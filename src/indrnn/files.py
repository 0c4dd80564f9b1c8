"""Files: written whole or not at all, and held by one process at a time."""

import contextlib
import errno
import fcntl
import logging
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from indrnn.errors import UserError

ROOT = Path(__file__).resolve().parents[2]  # of the repository
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)  # some shared file systems
LEFT = 24 * 3600.0  # seconds after which nobody on another host writes a part any more
TEXT = 1 << 26  # bytes: no record, curve or index of ours has a tenth of it

log = logging.getLogger(__name__)
_told: set[int] = set()  # file systems without locks, by device


def refuse_irregular(path: Path) -> None:
    """Raise UserError where there is something at ``path`` that is no regular file: a pipe is waited for for ever."""
    if Path(path).exists() and not Path(path).is_file():
        raise UserError(f"{path} is no regular file: remove it.")


def content(path: Path, most: int = TEXT) -> bytes:
    """The bytes of a regular file. What is none, such as a pipe, is never opened and so never waited for.

    Raises:
        UserError: it is no regular file, or has more than ``most`` bytes.
        OSError: it cannot be read.
    """
    refuse_irregular(path)
    with open(path, "rb") as file:
        found = file.read(most + 1)
    if len(found) > most:
        raise UserError(f"{path} has more than {most:,} bytes, which no such file has: remove it.")
    return found


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    replace_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def host() -> str:
    """This machine's name as it stands in names of files."""
    return re.sub(r"[^\w-]", "-", socket.gethostname())[:32] or "-"


def part_of(path: Path) -> Path:
    """A name beside ``path`` for what is being written and nobody else writes, on no other host either."""
    return path.with_name(f".{path.name}.{host()}.{os.getpid()}.{secrets.token_hex(4)}.part")


def replace_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` make a file beside ``path``, then move it there: a kill or a full disk leaves no half of it.

    Raises:
        OSError: it cannot be written; names ``path``.
    """
    part = part_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Remove what killed processes were writing; for whoever holds the folder's lock, as nobody else here writes there.

    Another host may, where its locks do not reach this one: its parts stay until they are a day old. A name without a
    host is of an earlier version, and counts as this one's.
    """
    for part in folder.glob(".*.part"):
        *_, of, _, word, _ = ["", "", *part.name.split(".")]
        foreign = re.fullmatch("[0-9a-f]{8}", word) and of != host()
        with contextlib.suppress(FileNotFoundError):
            if not foreign or time.time() - part.stat().st_mtime > LEFT:
                part.unlink()


def tell_without_locks(folder: Path) -> None:
    """Warn that nothing keeps two processes apart in a folder; once for each file system, and not at every run."""
    device = folder.stat().st_dev
    if device not in _told:
        _told.add(device)
        log.warning("The file system of %s has no locks: do not start the same thing twice at once.", folder)


@contextlib.contextmanager
def lock(path: Path, busy: Callable[[TextIO], Exception], wait: bool = False, tidy: bool = False) -> Iterator[TextIO]:
    """Hold a lock file; the lock ends with the process in any case. Where a file system has none, a warning says so.

    Args:
        path: of the file; it stays, and its folder is made.
        busy: what to raise, from the file, where another process holds it.
        wait: until the other process ends, instead.
        tidy: remove what killed processes were writing into the folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_dir():  # of which the system says it better
        refuse_irregular(path)
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            raise busy(file) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            tell_without_locks(path.parent)
        else:
            if tidy:
                remove_parts(path.parent)
        yield file
