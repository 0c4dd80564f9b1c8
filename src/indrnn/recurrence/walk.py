"""The recurrence on a GPU, sequential in time: a column (b, n) is one lane that walks from the first step to the last.

Compiled by Triton on first use. With Triton's interpreter on a CPU (TRITON_INTERPRET=1 set before the first import of
triton) it serves CPU tensors too, for tests. Reads x, h and dh contiguous as (T, B, N) and copies what is not; nothing
else runs but one kernel forward and two backward. A gradient of u is summed by each lane in the order of time and
then over the lanes in a fixed order, without atomics: the same bits every time.

Shapes: T time, B batch, N neurons, C chunks of time; x, h and their gradients (T, B, N), u (N,), h0 (B, N) or None for
zeros, starts, after (C - 1, B, N).
"""

import os
from collections.abc import Callable

import torch
from torch import Tensor

from indrnn.recurrence import reference
from indrnn.recurrence.launches import settings
from indrnn.recurrence.one_dtype import computed_in


def serves(device_type: str, activation: str) -> bool:
    interpreted = os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "on", "yes", "y")
    return device_type == "cuda" or (device_type == "cpu" and interpreted)


def missing(activation: str, dtype: torch.dtype, device: torch.device) -> str | None:
    """What keeps ``device`` from using this backend, None if nothing does. The first call compiles."""
    return trial(forward, backward, activation, dtype, device)


def trial(
    forward: Callable, backward: Callable, activation: str, dtype: torch.dtype, device: torch.device
) -> str | None:
    """Runs both on a few numbers: why they cannot be used on ``device``, None if they agree with the reference."""
    ramp = torch.linspace(-1, 1, 20 * 3, dtype=dtype, device=device).view(20, 1, 3)
    x, u, h0 = (7 * ramp).sin(), ramp[-1, 0].neg().contiguous(), ramp[3]
    settings = (activation, 0.25)
    try:
        h = forward(x, u, h0, *settings)
        ours = h, *backward(ramp, h, u, h0, *settings)
    except torch.OutOfMemoryError:  # says nothing about the kernels
        raise
    except Exception as error:  # whatever triton, a driver or a broken installation raise: the reason is reported
        return f"{type(error).__name__}: {error}"
    h = reference.forward(x, u, h0, *settings)
    exact = h, *reference.backward(ramp, h, u, h0, *settings)
    close = (torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(ours, exact, strict=True))
    return None if all(close) else "its kernels compute wrong numbers on this device"


def forward(x: Tensor, u: Tensor, h0: Tensor | None, activation: str, negative_slope: float) -> Tensor:
    return walk(x.contiguous(), u.contiguous(), contiguous(h0), None, activation, negative_slope, len(x))


def backward(
    dh: Tensor, h: Tensor, u: Tensor, h0: Tensor | None, activation: str, negative_slope: float,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    given = dh.contiguous(), h.contiguous(), u.contiguous(), contiguous(h0), None
    return walk_back(*given, activation, negative_slope, len(h), dtype)


def walk(
    x: Tensor, u: Tensor, h0: Tensor | None, starts: Tensor | None, activation: str, negative_slope: float, chunk: int
) -> Tensor:
    """h, in chunks of ``chunk`` steps, the first one longer by one; all but the first start from ``starts``."""
    from indrnn.recurrence.walk_kernels import walk

    T, B, N = x.shape
    h = torch.empty_like(x, dtype=computed_in(x.dtype))
    given = x, u, h0, starts, h, chunk, T, B * N, N
    if T > 0:
        name, chunks = ("walk", 1) if starts is None else ("walk_chunks", len(starts) + 1)
        launch(walk, name, x, chunks, *given, **options(activation, negative_slope))
    return h


def walk_back(
    dh: Tensor, h: Tensor, u: Tensor, h0: Tensor | None, after: Tensor | None, activation: str, negative_slope: float,
    chunk: int, dtype: torch.dtype | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """dx in ``dtype``, du, dh0, in chunks that start from the dz after them, ``after``; zeros after the last."""
    from indrnn.recurrence.walk_kernels import sum_parts, walk_back

    T, B, N = h.shape
    name, chunks = ("walk_back", 1) if after is None else ("walk_chunks_back", len(after) + 1)
    dx, du = torch.empty_like(h, dtype=dtype), torch.empty_like(u)
    dh0 = h.new_empty(B, N) if h0 is None else torch.empty_like(h0)
    parts = h.new_empty(chunks, B, N, dtype=torch.float64)
    given = dh, h, u, h0, after, dx, parts, dh0, chunk, T, B * N, N
    launch(walk_back, name, h, chunks, *given, **options(activation, negative_slope))
    if N > 0:
        how = settings("sum_parts", h.device, 8, chunks * B, N)
        with torch.cuda.device_of(h):
            sum_parts[(-(-N // how["WIDTH"]),)](parts, du, chunks * B, N, **how)
    return dx, du, dh0


def options(activation: str, negative_slope: float) -> dict[str, str | float]:
    """What is compiled in. A slope that nothing reads is left out, or every value of it would compile again."""
    return {"ACTIVATION": activation, "SLOPE": negative_slope if activation == "leaky_relu" else 0.0}


def launch(
    kernel: Callable, name: str, like: Tensor, chunks: int, *given: Tensor | int | None, **options: str | float
) -> None:
    """One program for each block of columns of each chunk, on the device and current stream of ``like``, (T, B, N)."""
    T, B, N = like.shape
    columns = B * N
    if columns > 0:
        how = settings(name, like.device, like.itemsize, T, columns)
        block = how["BLOCK"]
        with torch.cuda.device_of(like):
            kernel[-(-columns // block), chunks](*given, **options, EVEN=columns % block == 0, **how)


def contiguous(a: Tensor | None) -> Tensor | None:
    return None if a is None else a.contiguous()
