"""Files that others publish: where they lie, and that they are what they should be."""

import hashlib
import os
from pathlib import Path

from indrnn.errors import NoData, UserError

ROOT = Path(__file__).resolve().parents[3]


def data_folder() -> Path:
    """``$INDRNN_DATA``, else data/ beside conf/; a relative path is relative to the repository."""
    return (ROOT / os.environ.get("INDRNN_DATA", "data")).resolve()


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
