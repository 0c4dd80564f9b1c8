"""Which card it is: name, driver, versions."""

import contextlib
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from indrnn.bench.gpu.kernels import l2_bytes
from indrnn.errors import UserError

MODULE = Path("/proc/driver/nvidia/version")  # of Linux, where the driver is loaded


def the_gpu() -> torch.device:
    """The current GPU.

    Raises:
        UserError: there is none.
    """
    if not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no GPU here; --device cpu measures one CPU core.")
    return torch.device("cuda", torch.cuda.current_device())


def describe(device: torch.device) -> dict[str, Any]:
    """Name, capability, bytes of memory and L2 cache, processors, versions of driver, CUDA, cuDNN and Triton."""
    nothing = {"capability": None, "memory_bytes": 0, "l2_bytes": 0, "processors": 0, "driver": None}
    versions = {"cuda": None, "cudnn": None, "triton": version("triton")}
    if device.type != "cuda":
        return {"name": device.type} | nothing | versions
    found = torch.cuda.get_device_properties(device)
    return {
        "name": found.name,
        "capability": f"{found.major}.{found.minor}",
        "memory_bytes": found.total_memory,
        "l2_bytes": l2_bytes(device),
        "processors": found.multi_processor_count,
        "driver": driver(),
        **versions,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def driver() -> str | None:
    """The version of NVIDIA's driver, which torch does not tell; None where kernel and nvidia-smi do not either."""
    with contextlib.suppress(OSError, TypeError):  # a container may lack the one or the other
        return re.search(r"\b\d+\.\d+(\.\d+)?\b", MODULE.read_text(encoding="utf-8", errors="replace"))[0]
    with contextlib.suppress(OSError, subprocess.SubprocessError, IndexError):
        words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(words, capture_output=True, encoding="utf-8", errors="replace", timeout=20, check=True)
        return done.stdout.split()[0]
    return None


def version(package: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None


def slug(name: str) -> str:
    """A device's name as the name of a file: "NVIDIA H100 80GB HBM3" -> "nvidia_h100_80gb_hbm3"."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
