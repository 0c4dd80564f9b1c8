"""``make bench`` on a GPU: what is measured, in which order, and where it is written.

Each part gives row after row; a row holds what was measured or, under ``skipped``, why not.
"""

import contextlib
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from indrnn import aloud, files, provenance
from indrnn.bench.gpu import constants, host, kernels, layers, report, training, update
from indrnn.bench.gpu.bars import judged
from indrnn.bench.gpu.device import describe, slug
from indrnn.bench.gpu.sizes import Sizes
from indrnn.recurrence import available_backends
from indrnn.recurrence.launches import settings

# In the order of their worth: first what has a bar, last what takes long or may hang, as compiling does.
PARTS: dict[str, Callable[[torch.device, Sizes], Iterable[dict[str, Any]]]] = {
    "recurrence": kernels.recurrences,
    "layers": layers.steps,
    "parts": update.parts,
    "updates": update.updates,
    "training": training.training,
    "host": host.hosts,
    "calls": constants.calls,
    "backends": constants.backends,
    "launches": constants.launches,
    "compiled": update.compiled,
    "compiled_loop": layers.compiled_loops,
}
FULL = Sizes()
COMMON = (784, 4096)  # T and columns of MNIST: where the scan begins is looked up for these
SECONDS = 210  # after which nothing is begun, so that all is over after 240 with start and last row
EVERY = 1.0  # seconds between writes: each takes some milliseconds


def measure(device: torch.device, out: Path, only: Iterable[str] = (), sizes: Sizes = FULL) -> str:
    """Measure all parts; write report, picture and rows while they come, and however it ends.

    The rows of each card have a file of their own, named after it, so that measuring another card loses none: the
    kernels' constants are chosen from them. gpu.md and gpu.png are about the card that was measured last.

    Args:
        out: the folder.
        only: names of PARTS, all if none is named; the report says that the others were left out.

    Returns the report.

    Raises:
        OSError: ``out`` cannot be written.
    """
    names = [name for name in PARTS if name in (tuple(only) or PARTS)]
    sizes = replace(sizes, until=min(sizes.until, time.monotonic() + SECONDS))
    found = header(device, names, sizes)
    written = -math.inf
    try:
        with stops_in_order():
            for name in names:
                found["at"], began = name, time.monotonic()
                with aloud.Step(f"GPU: {name}") as step:
                    for row in PARTS[name](device, sizes):
                        found["measured"].setdefault(name, []).append(row)
                        step.what = f"GPU: {name}, {len(found['measured'][name])} rows so far"
                        found["seconds"][name] = round(time.monotonic() - began, 1)
                        if time.monotonic() - written > EVERY:
                            write(found, out)
                            written = time.monotonic()
                if name == "layers":
                    found["picture"] = draw(found, out / "gpu.png")
            found["at"] = None
    finally:
        text = write(found, out)
    return text


def header(device: torch.device, names: list[str], sizes: Sizes) -> dict[str, Any]:
    """What is known before anything is measured."""
    gpu = describe(device)
    return {
        "device": gpu["name"],
        "gpu": gpu,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance.code(),
        "backends": available_backends(device.type),
        "constants": {"scan": settings("scan", device, 4, *COMMON)},
        "rounds": sizes.rounds,
        "picture": None,
        "planned": names,
        "parts_left_out": [name for name in PARTS if name not in names],
        "at": None,
        "seconds": {},
        "measured": {},
    }


def write(found: dict[str, Any], out: Path) -> str:
    """Write rows and report as far as they have come; returns the report."""
    found["judged"] = [asdict(line) | {"reached": line.reached} for line in judged(found["measured"])]
    found["rows"] = f"gpu_{slug(found['device'])}.json"
    files.write_whole(out / found["rows"], json.dumps(found, indent=1) + "\n")
    text = report.markdown(found)
    files.write_whole(out / "gpu.md", text)
    return text


def draw(found: dict[str, Any], path: Path) -> str | None:
    """The name of the picture; None where there is nothing to draw, or nothing to draw it with."""
    try:  # a bare machine may lack matplotlib, which must not cost the numbers
        from indrnn.bench.gpu.figure import figure2
    except ImportError:
        return None
    return path.name if figure2(found, path) else None


@contextlib.contextmanager
def stops_in_order() -> Iterator[None]:
    """SIGTERM, which ``timeout`` and schedulers send, ends the process as Ctrl-C does: what was measured is written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
