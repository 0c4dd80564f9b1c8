"""The recurrence on a GPU, sequential in time: a column (b, n) is one lane that walks from the first step to the last.

Compiled by Triton on first use. With Triton's interpreter on a CPU (TRITON_INTERPRET=1 set before the first import of
triton) it serves CPU tensors too, for tests. Reads x, h and dh contiguous as (T, B, N) and copies what is not. A
gradient of u is summed by each lane in the order of time and then over the lanes by torch.sum, without atomics: the
same bits every time.

Shapes: T time, B batch, N neurons, C chunks of time; x, h and their gradients (T, B, N), u (N,), h0 (B, N), starts,
ends (C, B, N).
"""

import os
from collections.abc import Callable

import torch
from torch import Tensor

from indrnn.recurrence import reference

# 32 lanes are one warp: 4,096 columns are then 128 programs, about one for each processor of a GPU.
LAUNCH = {"BLOCK": 32, "AHEAD": 8, "num_warps": 1}


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
    h0 = reference.state_or_zeros(h0, x)
    h = torch.empty_like(x, memory_format=torch.contiguous_format)
    walk(x.contiguous(), u.contiguous(), h0.contiguous()[None], h, activation, negative_slope)
    return h


def backward(
    dh: Tensor, h: Tensor, u: Tensor, h0: Tensor, activation: str, negative_slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    h0 = reference.state_or_zeros(h0, h)
    ends = torch.zeros_like(h0)[None]
    return walk_back(dh.contiguous(), h.contiguous(), u.contiguous(), h0, ends, activation, negative_slope)


def walk(
    x: Tensor, u: Tensor, starts: Tensor, h: Tensor, activation: str, negative_slope: float,
    begin: int = 0, chunk: int | None = None,
) -> None:  # fmt: skip
    """Fills h from step ``begin`` on, in chunks (one, if no length is given) that start from the states ``starts``."""
    from indrnn.recurrence.walk_kernels import walk

    T, B, N = x.shape
    sizes = (begin, T if chunk is None else chunk, T, B * N, N)
    launch(walk, starts, x, u, starts, h, *sizes, **options(activation, negative_slope))


def walk_back(
    dh: Tensor, h: Tensor, u: Tensor, h0: Tensor, ends: Tensor, activation: str, negative_slope: float,
    chunk: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """dx, du, dh0, in chunks (one, if no length is given) that start from the dz after them, ``ends``."""
    from indrnn.recurrence.walk_kernels import walk_back

    T, B, N = h.shape
    dx, du = torch.empty_like(h), torch.zeros_like(ends, dtype=torch.float64)
    sizes = (T if chunk is None else chunk, T, B * N, N)
    if T > 0:
        launch(walk_back, ends, dh, h, u, h0.contiguous(), ends, dx, du, *sizes, **options(activation, negative_slope))
    return dx, du.sum((0, 1)).to(h.dtype), u * dx[0] if T > 0 else torch.zeros_like(h0)


def options(activation: str, negative_slope: float) -> dict[str, str | float]:
    """What is compiled in. A slope that nothing reads is left out, or every value of it would compile again."""
    return {"ACTIVATION": activation, "SLOPE": negative_slope if activation == "leaky_relu" else 0.0}


def launch(kernel: Callable, of_chunks: Tensor, *arguments: Tensor | int, **options: str | float) -> None:
    """One program for each block of columns of each chunk, on the device and the current stream of ``of_chunks``."""
    chunks, B, N = of_chunks.shape
    if of_chunks.numel() > 0:
        with torch.cuda.device_of(of_chunks):
            kernel[-(-B * N // LAUNCH["BLOCK"]), chunks](*arguments, **options, **LAUNCH)
