"""The recurrence on a CPU at about the speed of memory: numba, compiled on first use, no C compiler needed.

A sequence is a matrix of T rows and B·N columns, and every column is a recurrence of its own. A kernel walks
down the rows of a block of columns and reads the previous state from the output row just written, which
is still in the cache. Each column is summed in the order of time, so no bit depends on blocks or threads.

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

from indrnn.recurrence.reference import state_or_zeros

# Wide enough to stream, narrow enough for u and the previous row to stay in the L2 cache.
_BLOCK = 8192
# Below this many elements, waking a thread costs more than it saves.
_WORTH_A_THREAD = 1 << 16
# `contract` alone (fused multiply-add): other fastmath flags would let the compiler forget NaN and infinity.
_OPTIONS = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}


def serves(device_type: str, activation: str) -> bool:
    return device_type == "cpu"


def missing(activation: str, dtype: torch.dtype, device: torch.device) -> str | None:
    """What keeps this machine from using this backend, None if nothing does. The first call compiles."""
    try:
        _forward_kernel(activation, dtype)
        _backward_kernel(activation, dtype)
    except Exception as error:  # whatever numba, LLVM or a broken installation raise: the reason is reported
        return f"{type(error).__name__}: {error}"
    return None


def forward(x: Tensor, u: Tensor, h0: Tensor | None, activation: str, negative_slope: float) -> Tensor:
    T, B, N = x.shape
    h = x.new_empty(T, B, N)
    kernel = _forward_kernel(activation, x.dtype)
    if kernel is None:
        return _forward_tanh(x, u, state_or_zeros(h0, x), h)
    rows, out = as_numpy(x, T, B * N), as_numpy(h, T, B * N)
    u_row = as_numpy(u.repeat(B), B * N)
    first = np.zeros_like(u_row) if h0 is None else as_numpy(h0, B * N)
    slope = out.dtype.type(_SLOPE.get(activation, negative_slope))
    over_columns(lambda start, stop: kernel(rows, u_row, first, slope, out, start, stop), T, B * N)
    return h


def backward(
    dh: Tensor, h: Tensor, u: Tensor, h0: Tensor | None, activation: str, negative_slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    T, B, N = h.shape
    kernel = _backward_kernel(activation, h.dtype)
    dx = h.new_empty(T, B, N)
    grad, rows, out = as_numpy(dh, T, B * N), as_numpy(h, T, B * N), as_numpy(dx, T, B * N)
    u_row = as_numpy(u.repeat(B), B * N)
    first = np.zeros_like(u_row) if h0 is None else as_numpy(h0, B * N)
    # Up to T·B terms of very different sizes: summed in float64, for a tenth of the time.
    du, last = np.zeros(B * N), np.zeros_like(u_row)
    slope = out.dtype.type(_SLOPE.get(activation, negative_slope))
    given = (grad, rows, u_row, first, last, slope)
    over_columns(lambda start, stop: kernel(*given, out, du, start, stop), T, B * N)
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


def _forward_kernel(activation: str, dtype: torch.dtype) -> Callable | None:
    if activation == "tanh":
        return None
    real = _REAL[dtype]
    row, matrix = f"{real}[::1]", f"{real}[:,::1]"
    return compiled(_FORWARD[activation], f"void({matrix},{row},{row},{real},{matrix},int64,int64)")


def _backward_kernel(activation: str, dtype: torch.dtype) -> Callable:
    real = _REAL[dtype]
    row, matrix = f"{real}[::1]", f"{real}[:,::1]"
    given = f"{matrix},{matrix},{row},{row},{row},{real}"
    return compiled(_BACKWARD[activation], f"void({given},{matrix},float64[::1],int64,int64)")


@functools.cache
def compiled(function: Callable, signature: str) -> Callable:
    import numba  # takes half a second: not before it is needed

    try:
        return numba.njit(signature, cache=True, **_OPTIONS)(function)
    except Exception:
        # Mostly no folder to write the cache to, or a damaged one; if it is not that, this raises as well.
        kernel = numba.njit(signature, **_OPTIONS)(function)
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


def _relu(x, u, h0, zero, h, start, stop):
    u = u[start:stop]
    before = h0[start:stop]
    for t in range(x.shape[0]):
        x_t, h_t = x[t][start:stop], h[t][start:stop]
        for i in range(u.shape[0]):
            z = x_t[i] + u[i] * before[i]
            h_t[i] = zero if z <= 0 else z  # this way round a NaN stays a NaN
        before = h_t


def _leaky(x, u, h0, slope, h, start, stop):
    u = u[start:stop]
    before = h0[start:stop]
    for t in range(x.shape[0]):
        x_t, h_t = x[t][start:stop], h[t][start:stop]
        for i in range(u.shape[0]):
            z = x_t[i] + u[i] * before[i]
            h_t[i] = z if z > 0 else slope * z
        before = h_t


def _relu_backward(dh, h, u, h0, last, zero, dx, du, start, stop):  # two steps a pass: fewer loads
    u, du = u[start:stop], du[start:stop]
    later, t = last[start:stop], h.shape[0] - 1
    if h.shape[0] % 2 == 1:
        dh_t, h_t, dx_t = dh[t][start:stop], h[t][start:stop], dx[t][start:stop]
        before = h[t - 1][start:stop] if t > 0 else h0[start:stop]
        for i in range(u.shape[0]):
            dz = zero if h_t[i] <= 0 else dh_t[i]
            dx_t[i] = dz
            du[i] += dz * before[i]
        later, t = dx_t, t - 1
    while t > 0:
        dh_t, h_t, dx_t = dh[t][start:stop], h[t][start:stop], dx[t][start:stop]
        dh_s, h_s, dx_s = dh[t - 1][start:stop], h[t - 1][start:stop], dx[t - 1][start:stop]
        before = h[t - 2][start:stop] if t > 1 else h0[start:stop]
        for i in range(u.shape[0]):
            dz = dh_t[i] + u[i] * later[i]
            dz = zero if h_t[i] <= 0 else dz
            dx_t[i] = dz
            dz_s = dh_s[i] + u[i] * dz
            dz_s = zero if h_s[i] <= 0 else dz_s
            dx_s[i] = dz_s
            du[i] += dz * h_s[i] + dz_s * before[i]
        later, t = dx_s, t - 2


def _leaky_backward(dh, h, u, h0, last, slope, dx, du, start, stop):
    u, du = u[start:stop], du[start:stop]
    later = last[start:stop]
    for t in range(h.shape[0] - 1, -1, -1):
        dh_t, h_t, dx_t = dh[t][start:stop], h[t][start:stop], dx[t][start:stop]
        before = h[t - 1][start:stop] if t > 0 else h0[start:stop]
        for i in range(u.shape[0]):
            dz = dh_t[i] + u[i] * later[i]
            dz = dz if h_t[i] > 0 else slope * dz
            dx_t[i] = dz
            du[i] += dz * before[i]
        later = dx_t


def _tanh_backward(dh, h, u, h0, last, one, dx, du, start, stop):
    u, du = u[start:stop], du[start:stop]
    later = last[start:stop]
    for t in range(h.shape[0] - 1, -1, -1):
        dh_t, h_t, dx_t = dh[t][start:stop], h[t][start:stop], dx[t][start:stop]
        before = h[t - 1][start:stop] if t > 0 else h0[start:stop]
        for i in range(u.shape[0]):
            dz = dh_t[i] + u[i] * later[i]
            dz = dz * (one - h_t[i] * h_t[i])
            dx_t[i] = dz
            du[i] += dz * before[i]
        later = dx_t


_REAL = {torch.float32: "float32", torch.float64: "float64"}
_FORWARD = {"relu": _relu, "leaky_relu": _leaky, "identity": _leaky}
_BACKWARD = {
    "relu": _relu_backward,
    "leaky_relu": _leaky_backward,
    "identity": _leaky_backward,
    "tanh": _tanh_backward,
}
# The constant a kernel reads, handed over in its dtype because a literal would turn float32 into float64.
# The identity is a leaky ReLU of slope 1.
_SLOPE = {"relu": 0.0, "identity": 1.0, "tanh": 1.0}
