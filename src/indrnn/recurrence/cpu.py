"""The recurrence on a CPU at about the speed of memory: numba, compiled on first use, no C compiler needed.

A sequence is a matrix of T rows and B·N columns, and every column is a recurrence of its own. A kernel walks
down the rows of a block of columns, a few rows at once: between them the state and the sum of a column stay in
registers, and the reads of several rows are under way together, which is what a core waits for where arrays leave its
own caches. Each column is summed in the order of time, so no bit depends on blocks, rows at once or threads.

Shapes: T time, B batch, N neurons; in the kernels x, h, dh, dx (T, B·N) and u, h0, du (B·N,).
"""

import functools
import os
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from indrnn.recurrence import cpu_kernels
from indrnn.recurrence.reference import state_or_zeros

# Wide enough to stream, narrow enough for u and the previous row to stay in the L2 cache.
_BLOCK = 8192
# Rows at once. Those of eight in the backward pass have more addresses than a core has registers.
_FORWARD_STEPS, _BACKWARD_STEPS = 8, 4
# Below this many elements, waking a thread costs more than it saves.
_WORTH_A_THREAD = 1 << 16
# `contract` alone (fused multiply-add): other fastmath flags would let the compiler forget NaN and infinity.
# numba's cache on disk does not notice a change of these: delete it (*.nbi and *.nbc in __pycache__).
_OPTIONS = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}


def serves(device_type: str, activation: str) -> bool:
    return device_type == "cpu"


def missing(activation: str, dtype: torch.dtype, device: torch.device) -> str | None:
    """What keeps this machine from using this backend, None if nothing does. The first call compiles."""
    try:
        if activation != "tanh":
            _forward_kernel(activation, dtype, _FORWARD_STEPS)
        _backward_kernel(activation, dtype, _BACKWARD_STEPS)
    except Exception as error:  # whatever numba, LLVM or a broken installation raise: the reason is reported
        return f"{type(error).__name__}: {error}"
    return None


def forward(x: Tensor, u: Tensor, h0: Tensor | None, activation: str, negative_slope: float) -> Tensor:
    T, B, N = x.shape
    h = x.new_empty(T, B, N)
    if activation == "tanh":
        return _forward_tanh(x, u, state_or_zeros(h0, x), h)
    rows, out = as_numpy(x, T, B * N), as_numpy(h, T, B * N)
    u_row = as_numpy(u.repeat(B), B * N)
    first = np.zeros_like(u_row) if h0 is None else as_numpy(h0, B * N)
    slope = out.dtype.type(_SLOPE.get(activation, negative_slope))

    def walk(start: int, stop: int) -> None:
        for t, steps in stretches(0, T, _FORWARD_STEPS):
            before = out[t.start - 1] if t.start else first
            _forward_kernel(activation, x.dtype, steps)(rows[t], u_row, before, slope, out[t], start, stop)

    over_columns(walk, T, B * N)
    return h


def backward(
    dh: Tensor, h: Tensor, u: Tensor, h0: Tensor | None, activation: str, negative_slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    T, B, N = h.shape
    dx = h.new_empty(T, B, N)
    grad, rows, out = as_numpy(dh, T, B * N), as_numpy(h, T, B * N), as_numpy(dx, T, B * N)
    u_row = as_numpy(u.repeat(B), B * N)
    first = np.zeros_like(u_row) if h0 is None else as_numpy(h0, B * N)
    # Up to T·B terms of very different sizes: summed in float64.
    du, last = np.zeros(B * N), np.zeros_like(u_row)
    slope = out.dtype.type(_SLOPE.get(activation, negative_slope))

    def walk(start: int, stop: int) -> None:
        for t, steps in reversed(stretches(0, T, _BACKWARD_STEPS)):
            before, later = rows[t.start - 1] if t.start else first, out[t.stop] if t.stop < T else last
            given = grad[t], rows[t], u_row, before, later, slope
            _backward_kernel(activation, h.dtype, steps)(*given, out[t], du, start, stop)

    over_columns(walk, T, B * N)
    dh0 = u * dx[0] if T > 0 else h.new_zeros(B, N)
    return dx, torch.from_numpy(du.reshape(B, N).sum(0)).to(h.dtype), dh0


def as_numpy(a: Tensor, *shape: int) -> np.ndarray:
    return a.detach().contiguous().view(shape).numpy()


def _forward_tanh(x: Tensor, u: Tensor, h0: Tensor, h: Tensor) -> Tensor:
    # numba's tanh is the scalar one of libm; torch's vectorised rows take a quarter of its time.
    before = h0
    for x_t, h_t in zip(x.unbind(0), h.unbind(0), strict=True):
        before = torch.addcmul(x_t, u, before, out=h_t).tanh_()
    return h


def stretches(start: int, stop: int, steps: int) -> list[tuple[slice, int]]:
    """These rows as one stretch for kernels of ``steps`` rows at once and, for the rest, of a half, a quarter … one."""
    found = []
    while steps and start < stop:
        end = stop - (stop - start) % steps
        if end > start:
            found.append((slice(start, end), steps))
        start, steps = end, steps // 2
    return found


def over_columns(kernel: Callable[[int, int], None], T: int, columns: int) -> None:
    threads = torch.get_num_threads() if T * columns >= _WORTH_A_THREAD else 1
    width = min(_BLOCK, max(64, -(-columns // threads)))
    starts = range(0, columns, width)
    stops = [min(start + width, columns) for start in starts]
    if threads == 1 or len(starts) == 1:
        for start, stop in zip(starts, stops, strict=True):
            kernel(start, stop)
    else:
        flushes = sys.float_info.min * 0.5 == 0.0
        list(_pool(threads, os.getpid(), flushes).map(kernel, starts, stops))


@functools.cache
def _pool(threads: int, pid: int, flushes: bool) -> ThreadPoolExecutor:
    """One pool per process, as threads do not survive a fork, and per treatment of denormals."""
    return ThreadPoolExecutor(threads, "indrnn", torch.set_flush_denormal, (flushes,))


def _forward_kernel(activation: str, dtype: torch.dtype, steps: int) -> Callable:
    return compiled(_FORWARD[activation], "mat,row,row,real,mat", dtype, steps)


def _backward_kernel(activation: str, dtype: torch.dtype, steps: int) -> Callable:
    return compiled(_BACKWARD[activation], "mat,mat,row,row,row,real,mat,float64[::1]", dtype, steps)


@functools.cache
def compiled(kernel_of: Callable[[int], Callable], given: str, dtype: torch.dtype, steps: int) -> Callable:
    """``kernel_of(steps)`` for what is ``given``, in words for real numbers, rows and matrices, and start and stop.

    What it writes must not overlap anything else that it is given.
    """
    import numba  # takes half a second: not before it is needed

    from indrnn.recurrence.cpu_compiler import Apart

    real = {torch.float32: "float32", torch.float64: "float64"}[dtype]
    given = given.replace("row", f"{real}[::1]").replace("mat", f"{real}[:,::1]").replace("real", real)
    # Unsigned, so that no column is looked at for a negative index.
    signature, function = f"void({given},uint64,uint64)", kernel_of(steps)
    options = {"pipeline_class": Apart, **_OPTIONS}
    try:
        return numba.njit(signature, cache=True, **options)(function)
    except Exception:
        # Mostly no folder to write the cache to, or a damaged one; if it is not that, this raises as well.
        kernel = numba.njit(signature, **options)(function)
    _warn_about_cache()
    return kernel


@functools.cache
def _warn_about_cache() -> None:
    warnings.warn(
        "indrnn: numba could not use its cache on disk, so every process compiles again; "
        "set NUMBA_CACHE_DIR to a folder that can be written",
        RuntimeWarning,
        stacklevel=2,
    )


_FORWARD = {"relu": cpu_kernels.relu, "leaky_relu": cpu_kernels.leaky, "identity": cpu_kernels.leaky}
_BACKWARD = {
    "relu": cpu_kernels.relu_backward,
    "leaky_relu": cpu_kernels.leaky_backward,
    "identity": cpu_kernels.leaky_backward,
    "tanh": cpu_kernels.tanh_backward,
}
# The constant a kernel reads, handed over in its dtype because a literal would turn float32 into float64.
# The identity is a leaky ReLU of slope 1.
_SLOPE = {"relu": 0.0, "identity": 1.0, "tanh": 1.0}
