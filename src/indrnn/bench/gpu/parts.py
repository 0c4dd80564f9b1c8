"""``make bench`` on a GPU: what is measured, in which order, and where it is written.

Each part is a list of rows; a row holds what was measured or, under ``skipped``, why not.
"""

import json
import re
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from indrnn import files, provenance
from indrnn.bench.gpu import constants, kernels, layers, report, update
from indrnn.bench.gpu.sizes import Sizes
from indrnn.errors import UserError
from indrnn.recurrence import available_backends
from indrnn.recurrence.launches import settings

# In this order: what may take long comes last, and everything before it is written by then.
PARTS: dict[str, Callable[[torch.device, Sizes], list[dict[str, Any]]]] = {
    "recurrence": kernels.recurrences,
    "layers": layers.steps,
    "calls": constants.calls,
    "backends": constants.backends,
    "launches": constants.launches,
    "parts": update.parts,
    "updates": update.updates,
    "compiled_loop": layers.compiled_loops,
}
FULL = Sizes()
COMMON = (784, 4096)  # T and columns of MNIST: where the scan begins is looked up for these


def the_gpu() -> torch.device:
    """The current GPU.

    Raises:
        UserError: there is none.
    """
    if not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no GPU here; --device cpu measures one CPU core.")
    return torch.device("cuda", torch.cuda.current_device())


def describe(device: torch.device) -> dict[str, Any]:
    """Name, bytes of memory and L2 cache, processors, versions of CUDA and cuDNN."""
    if device.type != "cuda":
        return {"name": device.type, "memory_bytes": 0, "l2_bytes": 0, "processors": 0, "cuda": None, "cudnn": None}
    found = torch.cuda.get_device_properties(device)
    return {
        "name": found.name,
        "memory_bytes": found.total_memory,
        "l2_bytes": kernels.l2_bytes(device),
        "processors": found.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def slug(name: str) -> str:
    """A device's name as the name of a file: "NVIDIA H100 80GB HBM3" -> "nvidia_h100_80gb_hbm3"."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def measure(device: torch.device, out: Path, only: Iterable[str] = (), sizes: Sizes = FULL) -> str:
    """Measure all parts and write <device>.json and <device>.md after each, so that a stop costs the rest alone.

    Args:
        out: the folder.
        only: names of PARTS, all if none is named; the report says that the others were left out.

    Returns the report.

    Raises:
        OSError: ``out`` cannot be written.
    """
    names = [name for name in PARTS if name in (tuple(only) or PARTS)]
    gpu = describe(device)
    found: dict[str, Any] = {
        "device": gpu["name"],
        "gpu": gpu,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance.code(),
        "backends": available_backends(device.type),
        "constants": {"scan": settings("scan", device, 4, *COMMON)},
        "rounds": sizes.rounds,
        "seconds": {},
        "planned": names,
        "parts_left_out": [name for name in PARTS if name not in names],
        "measured": {},
    }
    for name in names:
        began = time.monotonic()
        found["measured"][name] = PARTS[name](device, sizes)
        found["seconds"][name] = round(time.monotonic() - began, 1)
        text = report.markdown(found)
        files.write_whole(out / f"{slug(gpu['name'])}.json", json.dumps(found, indent=1) + "\n")
        files.write_whole(out / f"{slug(gpu['name'])}.md", text)
    return text
