"""How far a run is that has no record yet: progress.json in its folder, for who looks on from another process.

It is written every two seconds while updates are made and removed when the record is written: who is killed leaves it.
Nothing is decided by it, and where it cannot be written the run goes on.
"""

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from indrnn import files

NAME = "progress.json"
KEYS = {"overrides": list, "config": dict, "updates": int, "metrics": dict, "seconds": float}
ALIVE = 60.0  # seconds without a word after which a run counts as stopped: an update takes less, and so does a batch


def write(folder: Path, note: dict[str, Any]) -> None:
    """Write what a run says of itself, whole or not at all, and not to the disk at once: it is worth little.

    Args:
        note: holds KEYS as a record has them; ``seconds`` of all sittings, ``metrics`` of the best validation.
    """
    part = files.part_of(folder / NAME)
    with contextlib.suppress(OSError):
        part.write_text(json.dumps(note), encoding="utf-8")
        os.replace(part, folder / NAME)


def read(folder: Path) -> dict[str, Any] | None:
    """What a run in a folder said last, with ``age``, the seconds since then; None where it says nothing."""
    path = folder / NAME
    try:
        age = time.time() - path.stat().st_mtime
        note = json.loads(files.content(path))
    except (OSError, ValueError):  # between two of them, or half of one
        return None
    if not isinstance(note, dict) or not all(isinstance(note.get(key), kind) for key, kind in KEYS.items()):
        return None
    return note | {"age": max(age, 0.0)}


def forget(folder: Path) -> None:
    """Remove it: the run has a record that says more."""
    (folder / NAME).unlink(missing_ok=True)
