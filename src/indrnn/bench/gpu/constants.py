"""What decides the constants of the recurrence on a GPU: launches of the kernels, walk or scan, cost of a call.

Its tests run it at small sizes on a CPU.

Shapes: T time, B batch, N neurons, columns B·N.
"""

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from indrnn import recurrence as room
from indrnn.bench.gpu.kernels import PASSES, attempt, device_ms, one_pass
from indrnn.recurrence import recurrence, walk

N = 128  # neurons, wherever only the number of columns matters
LAUNCHED = ((784, 4096), (5000, 4096), (5000, 6400), (50, 256_000), (20, 65_536))  # T, columns
GRID = {"BLOCK": (32, 64, 128), "num_warps": (1, 2, 4), "AHEAD": (4, 8, 16)}
STEPS = (256, 512, 1024, 2048, 4096, 8192, 16_384)
COLUMNS = (1024, 4096, 16_384, 65_536, 262_144)
BACKENDS = ("triton", "scan")
CALLS = 300


def launches(device: torch.device) -> list[dict[str, Any]]:
    """Both passes of the triton backend with every setting of GRID in the place of triton.LAUNCH."""
    rows = []
    for (T, columns), what in itertools.product(LAUNCHED, PASSES):
        for values in itertools.product(*GRID.values()):
            settings = dict(zip(GRID, values, strict=True))
            row = {"T": T, "columns": columns, "what": what} | settings
            with launched(settings):
                rows.append(attempt(row, partial(timed, what, T, columns, device, "triton")))
    return rows


@contextlib.contextmanager
def launched(settings: dict[str, int]) -> Iterator[None]:
    """``triton.LAUNCH`` is ``settings`` meanwhile."""
    before = dict(walk.LAUNCH)
    walk.LAUNCH.update(settings)
    try:
        yield
    finally:
        walk.LAUNCH.update(before)


def timed(what: str, T: int, columns: int, device: torch.device, backend: str) -> dict[str, float]:
    return {"ms": device_ms(one_pass(what, T, columns // N, N, device, backend=backend), device)}


def best_launches(rows: list[dict[str, Any]], now: dict[str, int]) -> list[dict[str, Any]]:
    """For every shape and pass: ms with the settings ``now``, the best settings and their ms; skipped rows left out.

    The last line is about all of them: the settings whose times are, in the geometric mean, the fewest times the best
    of each shape; ``ms`` and ``now_ms`` are these means, without unit.
    """
    measured: dict[tuple, dict[tuple, float]] = {}
    for row in rows:
        if "ms" in row:
            case = row["T"], row["columns"], row["what"]
            measured.setdefault(case, {})[tuple(row[key] for key in GRID)] = row["ms"]
    current = tuple(now[key] for key in GRID)
    found, factors = [], {}
    for (T, columns, what), times in measured.items():
        best = min(times, key=times.get)
        line = {"T": T, "columns": columns, "what": what, "now_ms": times.get(current), "ms": times[best]}
        found.append(line | dict(zip(GRID, best, strict=True)))
        for settings, ms in times.items():
            factors.setdefault(settings, []).append(ms / times[best])
    means = {s: math.prod(f) ** (1 / len(f)) for s, f in factors.items() if len(f) == len(measured)}
    if means:
        best = min(means, key=means.get)
        line = {"T": None, "columns": None, "what": "all", "now_ms": means.get(current), "ms": means[best]}
        found.append(line | dict(zip(GRID, best, strict=True)))
    return found


def backends(device: torch.device) -> list[dict[str, Any]]:
    """Walk and scan over STEPS and COLUMNS: for SCAN_FROM_STEPS and SCAN_UP_TO_COLUMNS of indrnn.recurrence."""
    rows = []
    for T, columns, what, backend in itertools.product(STEPS, COLUMNS, PASSES, BACKENDS):
        row = {"T": T, "columns": columns, "what": what, "backend": backend}
        rows.append(attempt(row, partial(timed, what, T, columns, device, backend)))
    return rows


def scan_is_chosen(T: int, columns: int) -> bool:
    """Whether "auto" scans on a GPU today."""
    return T >= room.SCAN_FROM_STEPS and columns <= room.SCAN_UP_TO_COLUMNS


def calls(device: torch.device) -> list[dict[str, Any]]:
    """Microseconds of a call at T = 1, B = 1, many in a row: what Python, torch and the launches cost."""
    x, u = torch.randn(1, 1, N, device=device, requires_grad=True), torch.rand(N, device=device, requires_grad=True)
    dh, plain = torch.ones(1, 1, N, device=device), x.detach()
    found = [attempt({"what": "torch.relu, for comparison"}, partial(per_call, partial(torch.relu, plain), device))]
    for backend in ("auto", *BACKENDS):
        walk = partial(recurrence, backend=backend)
        both = partial(forward_backward, walk, x, u, dh)
        alone = partial(walk, plain, u.detach())
        found.append(attempt({"what": f"forward, {backend}"}, partial(per_call, alone, device)))
        found.append(attempt({"what": f"forward and backward, {backend}"}, partial(per_call, both, device)))
    return found


def forward_backward(walk: Callable, x: torch.Tensor, u: torch.Tensor, dh: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(walk(x, u), (x, u), dh)


def per_call(call: Callable[[], Any], device: torch.device) -> dict[str, float]:
    for _ in range(10):
        call()
    wait_for(device)
    began = time.perf_counter()
    for _ in range(CALLS):
        call()
    wait_for(device)
    return {"us": (time.perf_counter() - began) * 1e6 / CALLS}


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
