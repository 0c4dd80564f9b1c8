"""The recurrence parallel in time, for ReLU and the identity: chunks of time are composed, then walked side by side.

One step h -> max(0, x_t + u h) is a line cut off below, and a chunk of such steps is a line cut off at both ends, for
any sign of u:

    F(h) = left + slope · max(0, h - knee), between left = F(0) and right = F(∞),   h >= 0

1. For all chunks at once, step by step: knee, left and right of each chunk; slope = u^L. left and right are states like
   any other; where the end that starts at 0 falls below zero by z, the knee moves by z / slope.
2. Chunk after chunk: the state before each, from F of the chunk before. Step 1 is done alone, as h0 may be negative.
3. For all chunks at once, step by step: the states, by the recurrence itself.

That is about 2 L + T / L steps one after the other, L = `chunk_length(T)`, instead of T. The line is kept by its knee
and not as a h + b: there, for u above one, b is a sum of huge terms that cancel, and the state is lost in its rounding.
Backward, dz_t = σ'_t (dh_t + u dz_{t+1}) is linear: dz of a chunk's first step is left + slope · (dz after it), or left
alone where one of its steps is dead.

Memory: h, and less than ten tensors of h's size divided by L. This file is the definition, in torch, for any device;
where Triton serves, `scan_triton.py` computes the same. A gradient of u is summed in the order of time within
chunks and then by torch.sum, so it has the same bits every time.

Shapes: T time, B batch, N neurons, C chunks of time; x, h and their gradients (T, B, N), u (N,), h0 (B, N); what
belongs to chunks (C, B, N).
"""

import functools
import math
import warnings

import torch
from torch import Tensor

from indrnn.recurrence import one_dtype, scan_triton, walk
from indrnn.recurrence.one_dtype import computed_in
from indrnn.recurrence.reference import activate, pull_back, state_or_zeros


def serves(device_type: str, activation: str) -> bool:
    """Compositions of leaky ReLUs get another corner with every step, and those of tanh have no short form."""
    return activation in ("relu", "identity")


def missing(activation: str, dtype: torch.dtype, device: torch.device) -> None:
    return None


def chunk_length(T: int) -> int:
    """About sqrt(T / 2) steps, which makes 2 L + T / L smallest; a multiple of 8, which the kernels load together."""
    return 8 * max(1, math.isqrt(T // 128))


def forward(x: Tensor, u: Tensor, h0: Tensor | None, activation: str, negative_slope: float) -> Tensor:
    length = chunk_length(len(x))
    if _kernels_run(activation, computed_in(x.dtype), x.device):
        return scan_triton.forward(x, u, h0, activation, length)
    return one_dtype.forward(forward_in_chunks, x, u, h0, activation, length)


def backward(
    dh: Tensor, h: Tensor, u: Tensor, h0: Tensor | None, activation: str, negative_slope: float,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    length = chunk_length(len(h))
    if _kernels_run(activation, h.dtype, h.device):
        return scan_triton.backward(dh, h, u, h0, activation, length, dtype)
    return one_dtype.backward(backward_in_chunks, dh, h, u, h0, activation, length, dtype)


@functools.cache
def _kernels_run(activation: str, dtype: torch.dtype, device: torch.device) -> bool:
    if not walk.serves(device.type, activation):
        return False
    reason = scan_triton.missing(activation, dtype, device)
    if reason is not None:
        warnings.warn(f"indrnn: the scan runs without Triton, slower ({reason})", RuntimeWarning, stacklevel=2)
    return reason is None


def forward_in_chunks(x: Tensor, u: Tensor, h0: Tensor | None, activation: str, length: int) -> Tensor:
    h0 = state_or_zeros(h0, x)
    h = torch.empty_like(x, memory_format=torch.contiguous_format)
    h[:1] = activate(x[:1] + u * h0, activation, 0.0)
    states = _states_before(x[1:], u, h[:1], activation, length)
    for j in range(1, length + 1):  # step j of all chunks, of which the last may be shorter
        x_j = x[j::length]
        states = activate(x_j + u * states[: len(x_j)], activation, 0.0)
        h[j::length] = states
    return h


def backward_in_chunks(
    dh: Tensor, h: Tensor, u: Tensor, h0: Tensor | None, activation: str, length: int
) -> tuple[Tensor, Tensor, Tensor]:
    h0 = state_or_zeros(h0, h)
    dx = torch.empty_like(h)
    dz = _gradients_after(dh, h, u, h0, activation, length)
    du = torch.zeros_like(dz)
    for j in reversed(range(length)):
        h_j = h[j::length]
        n = len(h_j)
        dz[:n] = pull_back(dh[j::length] + u * dz[:n], h_j, activation, 0.0)
        dx[j::length] = dz[:n]
        before = h[j - 1 :: length] if j > 0 else torch.cat([h0[None], h[length - 1 :: length]])
        du[:n] += dz[:n] * before[:n]
    return dx, du.sum((0, 1)), u * dx[0] if len(h) > 0 else torch.zeros_like(h0)


def chunk_maps(x: Tensor, u: Tensor, activation: str, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """knee, left, right of each whole chunk of x; the identity cuts nothing off and has no knee and right."""
    whole = len(x) // length
    largest = scan_triton.largest_state(x.dtype)
    knee, left = x.new_zeros(whole, *x.shape[1:]), x.new_zeros(whole, *x.shape[1:])
    right = torch.full_like(left, largest)
    for j in range(length):
        x_j = x[j::length][:whole]
        left, right = x_j + u * left, x_j + u * right
        if activation == "relu":
            slope = slope_of(u, j + 1)
            knee = torch.where((left < 0) & (slope > 0), (knee - left / slope).clamp(max=largest), knee)
            left, right = torch.relu(left), torch.relu(right)
    return knee, left, right


def slope_of(u: Tensor, length: int) -> Tensor:
    """u^length, in float64: rounded `length` times, the slope would err to the same side in every chunk."""
    return u.double().pow(length).to(u.dtype)


def apply_map(
    knee: Tensor, left: Tensor, right: Tensor, slope: Tensor, u: Tensor, h: Tensor, activation: str
) -> Tensor:
    """F(h) for a state h before a chunk, h >= 0 with ReLU."""
    if activation == "identity":
        return left + slope * h
    line = left + torch.where(h <= knee, 0, slope * (h - knee))  # selected, as the slope may be ∞
    # With u > 0 only the end at `left` is cut off, and an infinite state stays infinite.
    low, high = torch.minimum(left, right), torch.maximum(left, right)
    return torch.where(u < 0, torch.minimum(torch.maximum(line, low), high), line)


def _states_before(x: Tensor, u: Tensor, first: Tensor, activation: str, length: int) -> Tensor:
    """h before every chunk of x, from ``first`` (1, B, N) before them all; (0, B, N) where there is no chunk."""
    maps = chunk_maps(x, u, activation, length)
    slope, states = slope_of(u, length), list(first)
    for c in range(-(-len(x) // length) - 1):
        states.append(apply_map(*(a[c] for a in maps), slope, u, states[c], activation))
    return torch.stack(states) if states else first


def _gradients_after(dh: Tensor, h: Tensor, u: Tensor, h0: Tensor, activation: str, length: int) -> Tensor:
    """dz of the step after every chunk."""
    left = h0.new_zeros(-(-len(h) // length), *h0.shape)
    slope, alive = slope_of(u, length), torch.ones_like(left, dtype=torch.bool)
    for j in reversed(range(length)):
        h_j = h[j::length]
        n = len(h_j)
        left[:n] = pull_back(dh[j::length] + u * left[:n], h_j, activation, 0.0)
        if activation == "relu":
            alive[:n] &= ~(h_j <= 0)
    after = torch.zeros_like(left)
    for c in reversed(range(1, len(left))):
        after[c - 1] = left[c] + torch.where(alive[c], slope * after[c], 0)
    return after
