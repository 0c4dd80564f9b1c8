"""The machine that a process runs on: memory pages, matrix products, the device's name."""

import ctypes
import subprocess
import sys

import torch

from indrnn import provenance

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def keep_pages() -> None:
    """Let glibc keep freed memory: fresh pages for every large tensor cost up to a third of an update."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
                libc.mallopt(parameter, 1 << 30)


def device_name(accelerator: str, count: int = 1) -> str:
    """What the run was computed on, in words."""
    if count > 1:
        return f"{count} {'GPUs' if accelerator in ('gpu', 'cuda') else 'processes'}: {device_name(accelerator)}"
    if accelerator in ("gpu", "cuda"):
        return torch.cuda.get_device_name()
    return provenance.cpu()


def on_the_card() -> int | None:
    """How many processes compute on this machine's GPUs now, this one included; MPS's own server is none of them.

    None where nobody tells: the driver's tool is not there, or lists no process at all, as in a container.
    """
    command = ["nvidia-smi", "--query-compute-apps=pid,process_name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    listed = [line for line in done.stdout.splitlines() if line.strip() and "nvidia-cuda-mps-server" not in line]
    return None if done.returncode else len(listed) or None


def matrix_products(precision: str) -> None:
    """Products of float32 matrices in this process: TF32 on a GPU where ``trainer.precision`` is tf32, else float32."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"  # LSTM, GRU and RNN on a GPU; torch's own default is True
