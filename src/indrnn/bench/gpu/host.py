"""What an update costs the host: launches, and the time until Python has made them.

Where the device is faster than that, the host decides how long an update takes; processes that share a card can hide
it from each other.
"""

import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from omegaconf import DictConfig
from torch.profiler import ProfilerActivity, profile

from indrnn.bench.gpu.constants import wait_for
from indrnn.bench.gpu.graphs import MODES
from indrnn.bench.gpu.sizes import Sizes
from indrnn.bench.gpu.update import Update, each

# How CUPTI calls what asks the device for work.
LAUNCHES = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch", "cudaMemcpyAsync", "cudaMemsetAsync")


def hosts(device: torch.device, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Every network in its first precision, eagerly and in a graph."""
    first = tuple((name, overrides, precisions.split()[0]) for name, overrides, precisions in sizes.networks)
    return each(device, replace(sizes, networks=first), MODES, cost)


def cost(cfg: DictConfig, precision: str, mode: str, device: torch.device, rounds: int) -> dict[str, Any]:
    """Launches of an update, operations on the device, and ms until ``make_update`` returns to an idle device.

    The time is taken without the profiler, which adds to it. On a CPU there are no launches but operators.
    """
    update = Update(cfg, device, mode)
    update.begin()
    times = []
    for _ in range(rounds):
        wait_for(device)
        began = time.perf_counter()
        update()
        times.append((time.perf_counter() - began) * 1e3)
    wait_for(device)
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=activities, acc_events=True) as found:  # without the word, torch 2.11 warns
        update()
        wait_for(device)
    return counted(found.events(), device.type) | {"host_ms": statistics.median(times)}


def counted(events: list[Any], device_type: str) -> dict[str, int | None]:
    """Launches, and what the device made of them; the marks that torch sets around an optimizer are neither.

    None where the profiler saw nothing of the device, as without permission to use its counters.
    """
    if device_type == "cpu":
        return {"launches": len(events), "kernels": len(events)}
    there = [event for event in events if event.device_type != torch.autograd.DeviceType.CPU]
    if not there:
        return {"launches": None, "kernels": None}
    marks = [event for event in there if getattr(event, "is_user_annotation", False)]
    return {
        "launches": sum(event.name.startswith(LAUNCHES) for event in events if event not in there),
        "kernels": len(there) - len(marks),
    }
