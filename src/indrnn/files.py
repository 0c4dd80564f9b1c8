"""Files: written whole or not at all, and held by one process at a time."""

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[2]  # of the repository
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # some shared file systems

log = logging.getLogger(__name__)


def data_folder() -> Path:
    """``$INDRNN_DATA``, else data/ beside conf/; a relative path is relative to the repository."""
    return (ROOT / os.environ.get("INDRNN_DATA", "data")).resolve()


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    replace_whole(path, lambda part: part.write_text(text))


def replace_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` make a file beside ``path``, then move it there: a kill or a full disk leaves no half of it.

    Raises:
        OSError: it cannot be written; names ``path``.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
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
    """Remove what killed processes were writing; for whoever holds the folder's lock, as nobody else writes there."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


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
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            raise busy(file) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            log.warning("The file system of %s has no locks: do not start the same thing twice at once.", path.parent)
        else:
            if tidy:
                remove_parts(path.parent)
        yield file
