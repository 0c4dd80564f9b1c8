"""``make bench``: one kind of device after the other, each with its own report."""

from collections.abc import Sequence
from pathlib import Path

import torch

from indrnn.bench.cpu import report
from indrnn.bench.gpu import parts
from indrnn.bench.gpu.device import the_gpu
from indrnn.machine import keep_pages


def run(devices: Sequence[str], rounds: int, only: Sequence[str], out: Path) -> None:
    """Write the files of each device ("cpu", "cuda") and print its report as soon as it is there.

    Args:
        rounds, only, out: as in ``measure`` of the CPU and of the GPU.

    Raises:
        UserError: there is no GPU where one is named; nothing is measured then.
    """
    keep_pages()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    gpu = the_gpu() if "cuda" in devices else None
    if "cpu" in devices:
        print(report.measure(rounds, out))
    if gpu is not None:
        print(parts.measure(gpu, out, only))
