"""What decides the constants of the recurrence on a GPU: launches of the kernels, walk or scan, cost of a call.

Shapes: T time, B batch, N neurons, columns B·N.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from indrnn.bench.gpu.kernels import PASSES, attempt, device_ms, one_pass
from indrnn.bench.gpu.sizes import Sizes
from indrnn.recurrence import choice, recurrence
from indrnn.recurrence import launches as table

KERNELS = ("walk", "walk_back")  # of PASSES
N = 128  # neurons, wherever only the number of columns matters
SETTINGS = ("BLOCK", "num_warps", "AHEAD", "STAGES")  # of walk and walk_back in indrnn.recurrence.launches


def launches(device: torch.device, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Both passes of the triton backend with the table's settings (``now``) and with all of ``sizes.grid`` instead."""
    for (T, columns), (what, kernel) in itertools.product(sizes.launched, zip(PASSES, KERNELS, strict=True)):
        ours = table.settings(kernel, device, 4, T, columns)
        ways = [dict(zip(SETTINGS, values, strict=True)) for values in itertools.product(*sizes.grid)]
        for settings in [ours, *(way for way in ways if way != ours)]:
            row = {"T": T, "columns": columns, "what": what, "now": settings == ours} | settings
            with table.instead(**{kernel: settings}):
                row = attempt(row, partial(timed, what, T, columns, device, "triton", sizes.rounds), sizes.until)
            yield row


def timed(what: str, T: int, columns: int, device: torch.device, backend: str, rounds: int) -> dict[str, float]:
    return {"ms": device_ms(one_pass(what, T, columns // N, N, device, backend=backend), device, rounds)}


def best_launches(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For every shape and pass: ms with the table's settings, the best settings and their ms; skipped rows left out.

    The last line is about all of them: the settings whose times are, in the geometric mean, the fewest times the best
    of each shape; ``ms`` and ``now_ms`` are these means, without unit.
    """
    measured: dict[tuple, dict[tuple, float]] = {}
    now: dict[tuple, float] = {}
    for row in rows:
        if "ms" in row:
            case = row["T"], row["columns"], row["what"]
            measured.setdefault(case, {})[tuple(row[key] for key in SETTINGS)] = row["ms"]
            if row["now"]:
                now[case] = row["ms"]
    found, factors, now_factors = [], {}, []
    for case, times in measured.items():
        best = min(times, key=times.get)
        line = dict(zip(("T", "columns", "what"), case, strict=True)) | {"now_ms": now.get(case), "ms": times[best]}
        found.append(line | dict(zip(SETTINGS, best, strict=True)))
        now_factors += [now[case] / times[best]] if case in now else []
        for settings, ms in times.items():
            factors.setdefault(settings, []).append(ms / times[best])
    means = {s: mean(f) for s, f in factors.items() if len(f) == len(measured)}
    if means:
        best = min(means, key=means.get)
        all_now = mean(now_factors) if len(now_factors) == len(measured) else None
        line = {"T": None, "columns": None, "what": "all", "now_ms": all_now, "ms": means[best]}
        found.append(line | dict(zip(SETTINGS, best, strict=True)))
    return found


def mean(factors: list[float]) -> float:
    return math.prod(factors) ** (1 / len(factors))


def backends(device: torch.device, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Walk and scan over steps and columns: for the row "scan" of indrnn.recurrence.launches."""
    for T, columns, what, backend in itertools.product(sizes.steps, sizes.columns, PASSES, sizes.backends):
        row = {"T": T, "columns": columns, "what": what, "backend": backend}
        yield attempt(row, partial(timed, what, T, columns, device, backend, sizes.rounds), sizes.until)


def calls(device: torch.device, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Microseconds of a call at T = 1, B = 1, many in a row: what Python, torch and the launches cost.

    The backend "nothing" launches no kernel: what is left is the host's.
    """
    x, u = torch.randn(1, 1, N, device=device, requires_grad=True), torch.rand(N, device=device, requires_grad=True)
    dh, plain = torch.ones(1, 1, N, device=device), x.detach()
    named = {"torch.relu, for comparison": partial(torch.relu, plain)}
    for backend in ("auto", *sizes.backends, "nothing"):
        walk = partial(recurrence, backend=backend)
        named[f"forward, {backend}"] = partial(walk, plain, u.detach())
        named[f"forward and backward, {backend}"] = partial(forward_backward, walk, x, u, dh)
    choice.BACKENDS["nothing"] = Nothing
    try:
        for what, call in named.items():
            yield attempt({"what": what}, partial(per_call, call, device, sizes.calls), sizes.until)
    finally:
        del choice.BACKENDS["nothing"]


class Nothing:
    """A backend whose numbers are whatever lies in the memory that it is given."""

    @staticmethod
    def serves(device_type: str, activation: str) -> bool:
        return True

    @staticmethod
    def missing(activation: str, dtype: torch.dtype, device: torch.device) -> None:
        return None

    @staticmethod
    def forward(x: torch.Tensor, *_: Any) -> torch.Tensor:
        return torch.empty_like(x)

    @staticmethod
    def backward(dh: torch.Tensor, h: torch.Tensor, u: torch.Tensor, *_: Any) -> tuple[torch.Tensor, ...]:
        return torch.empty_like(h), torch.empty_like(u), torch.empty_like(h[0])


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
