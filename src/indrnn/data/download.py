"""Files that others publish: where they lie, that they are what they should be, how to fetch them."""

import hashlib
import os
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from indrnn.errors import NoData, UserError
from indrnn.files import part_of


def verified(path: Path, sha256: str) -> bytes:
    """The bytes of a file.

    Raises:
        NoData: the file is missing.
        UserError: its checksum is not ``sha256``.
    """
    if not path.is_file():
        raise NoData(f"{path} is missing: run `make data`, or set INDRNN_DATA to the folder that holds it.")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise UserError(
            f"{path} is damaged or half fetched (sha256 expected {sha256}, found {found}): "
            "delete it and run `make data`."
        )
    return content


def package(name: str) -> str:
    """How tables name a package that ships data: with its version, where an installation says it."""
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:  # a folder on PYTHONPATH
        return name


def complete(path: Path, sha256: str) -> bool:
    """Whether a file is there and right; says so."""
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        return False
    print(f"{path}: complete")
    return True


def fetch_file(path: Path, sha256: str, mirrors: Sequence[str]) -> None:
    """Fetch a file by its name from the first mirror that has the right one; a file that is right stays.

    Raises:
        UserError: no mirror answers, or what came has the wrong checksum.
    """
    from torchvision.datasets.utils import download_url

    if complete(path, sha256):
        return
    part = part_of(path)
    for mirror in mirrors:
        try:
            download_url(mirror + path.name, str(path.parent), part.name)
            verified(part, sha256)
            os.replace(part, path)
            return
        except (OSError, RuntimeError, UserError) as error:
            reason = error
        finally:
            part.unlink(missing_ok=True)
    raise UserError(f"{path.name} could not be fetched ({reason}): put it into {path.parent} by hand.")
