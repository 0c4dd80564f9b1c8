"""What decides the constants of the recurrence on a GPU: launches of the kernels, walk or scan, cost of a call.

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
from indrnn.bench.gpu.sizes import Sizes
from indrnn.recurrence import recurrence, walk

N = 128  # neurons, wherever only the number of columns matters
SETTINGS = ("BLOCK", "num_warps", "AHEAD")  # of walk.LAUNCH


def launches(device: torch.device, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Both passes of the triton backend with all settings of ``sizes.grid`` in the place of walk.LAUNCH."""
    for (T, columns), what in itertools.product(sizes.launched, PASSES):
        for values in itertools.product(*sizes.grid):
            settings = dict(zip(SETTINGS, values, strict=True))
            row = {"T": T, "columns": columns, "what": what} | settings
            with launched(settings):
                row = attempt(row, partial(timed, what, T, columns, device, "triton", sizes.rounds), sizes.until)
            yield row


@contextlib.contextmanager
def launched(settings: dict[str, int]) -> Iterator[None]:
    """``walk.LAUNCH`` is ``settings`` meanwhile."""
    before = dict(walk.LAUNCH)
    walk.LAUNCH.update(settings)
    try:
        yield
    finally:
        walk.LAUNCH.update(before)


def timed(what: str, T: int, columns: int, device: torch.device, backend: str, rounds: int) -> dict[str, float]:
    return {"ms": device_ms(one_pass(what, T, columns // N, N, device, backend=backend), device, rounds)}


def best_launches(rows: list[dict[str, Any]], now: dict[str, int]) -> list[dict[str, Any]]:
    """For every shape and pass: ms with the settings ``now``, the best settings and their ms; skipped rows left out.

    The last line is about all of them: the settings whose times are, in the geometric mean, the fewest times the best
    of each shape; ``ms`` and ``now_ms`` are these means, without unit.
    """
    measured: dict[tuple, dict[tuple, float]] = {}
    for row in rows:
        if "ms" in row:
            case = row["T"], row["columns"], row["what"]
            measured.setdefault(case, {})[tuple(row[key] for key in SETTINGS)] = row["ms"]
    current = tuple(now[key] for key in SETTINGS)
    found, factors = [], {}
    for (T, columns, what), times in measured.items():
        best = min(times, key=times.get)
        line = {"T": T, "columns": columns, "what": what, "now_ms": times.get(current), "ms": times[best]}
        found.append(line | dict(zip(SETTINGS, best, strict=True)))
        for settings, ms in times.items():
            factors.setdefault(settings, []).append(ms / times[best])
    means = {s: math.prod(f) ** (1 / len(f)) for s, f in factors.items() if len(f) == len(measured)}
    if means:
        best = min(means, key=means.get)
        line = {"T": None, "columns": None, "what": "all", "now_ms": means.get(current), "ms": means[best]}
        found.append(line | dict(zip(SETTINGS, best, strict=True)))
    return found


def backends(device: torch.device, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Walk and scan over steps and columns: for SCAN_FROM_STEPS and SCAN_UP_TO_COLUMNS of indrnn.recurrence."""
    for T, columns, what, backend in itertools.product(sizes.steps, sizes.columns, PASSES, sizes.backends):
        row = {"T": T, "columns": columns, "what": what, "backend": backend}
        yield attempt(row, partial(timed, what, T, columns, device, backend, sizes.rounds), sizes.until)


def scan_is_chosen(T: int, columns: int) -> bool:
    """Whether "auto" scans on a GPU today."""
    return T >= room.SCAN_FROM_STEPS and columns <= room.SCAN_UP_TO_COLUMNS


def calls(device: torch.device, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Microseconds of a call at T = 1, B = 1, many in a row: what Python, torch and the launches cost."""
    x, u = torch.randn(1, 1, N, device=device, requires_grad=True), torch.rand(N, device=device, requires_grad=True)
    dh, plain = torch.ones(1, 1, N, device=device), x.detach()
    named = {"torch.relu, for comparison": partial(torch.relu, plain)}
    for backend in ("auto", *sizes.backends):
        walk = partial(recurrence, backend=backend)
        named[f"forward, {backend}"] = partial(walk, plain, u.detach())
        named[f"forward and backward, {backend}"] = partial(forward_backward, walk, x, u, dh)
    for what, call in named.items():
        yield attempt({"what": what}, partial(per_call, call, device, sizes.calls), sizes.until)


def forward_backward(walk: Callable, x: torch.Tensor, u: torch.Tensor, dh: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(walk(x, u), (x, u), dh)


def per_call(call: Callable[[], Any], device: torch.device, count: int) -> dict[str, float]:
    for _ in range(10):
        call()
    wait_for(device)
    began = time.perf_counter()
    for _ in range(count):
        call()
    wait_for(device)
    return {"us": (time.perf_counter() - began) * 1e6 / count}


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
