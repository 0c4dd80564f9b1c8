"""The scan of `scan.py` on a GPU: lines of all chunks at once, the walk over the chunks, the walks inside them.

The kernels of `walk.py` walk inside the chunks. A gradient of u is summed by each lane in the order of time and then
over lanes and chunks by torch.sum: the same bits every time.

Shapes: T time, B batch, N neurons, C chunks of time; x, h and their gradients (T, B, N), u (N,), h0 (B, N).
"""

import torch
from torch import Tensor

from indrnn.recurrence import walk
from indrnn.recurrence.reference import activate


def largest_state(dtype: torch.dtype) -> float:
    """Stands for ∞: 0 times it is 0, and u times it does not overflow as long as abs(u) is not over 1024."""
    return torch.finfo(dtype).max / 1024


def slope(u: Tensor, length: int) -> Tensor:
    """u^length, in float64: rounded `length` times, the slope would err to the same side in every chunk."""
    return u.double().pow(length).to(u.dtype)


def missing(activation: str, dtype: torch.dtype, device: torch.device) -> str | None:
    """What keeps ``device`` from using these kernels, None if nothing does. The first call compiles."""

    def run_forward(x, u, h0, activation, _):
        return forward(x, u, h0, activation, 8)

    def run_backward(dh, h, u, h0, activation, _):
        return backward(dh, h, u, h0, activation, 8)

    return walk.trial(run_forward, run_backward, activation, dtype, device)


def forward(x: Tensor, u: Tensor, h0: Tensor, activation: str, length: int) -> Tensor:
    x, u = x.contiguous(), u.contiguous()
    T, B, N = x.shape
    h = torch.empty_like(x)
    h[:1] = activate(x[:1] + u * h0, activation, 0.0)
    if T > 1:
        chunks = -(-(T - 1) // length)
        states = x.new_empty(chunks, B, N)
        states[0] = h[0]
        _states_between(x, u, states, activation, length)
        walk.walk(x, u, states, h, activation, 0.0, begin=1, chunk=length)
    return h


def backward(
    dh: Tensor, h: Tensor, u: Tensor, h0: Tensor, activation: str, length: int
) -> tuple[Tensor, Tensor, Tensor]:
    from indrnn.recurrence.scan_kernels import chunk_lines_back, over_chunks_back

    dh, h, u = dh.contiguous(), h.contiguous(), u.contiguous()
    T, B, N = h.shape
    after = h.new_zeros(-(-T // length), B, N)
    if len(after) > 1:
        lines = h.new_empty(2, *after.shape)
        sizes = (length, len(after), T, B * N, N)
        walk.launch(chunk_lines_back, after, dh, h, u, lines, *sizes, ACTIVATION=activation)
        walk.launch(over_chunks_back, after[:1], lines, slope(u, length), after, len(after), B * N, N)
    return walk.walk_back(dh, h, u, h0, after, activation, 0.0, chunk=length)


def _states_between(x: Tensor, u: Tensor, states: Tensor, activation: str, length: int) -> None:
    """Fills the states before every chunk but the first, which is given."""
    from indrnn.recurrence.scan_kernels import chunk_lines, over_chunks

    chunks, B, N = states.shape
    if chunks > 1:
        lines = x.new_empty(3, chunks - 1, B, N)
        sizes = (chunks - 1, B * N, N)
        largest = largest_state(x.dtype)
        walk.launch(chunk_lines, states[1:], x, u, lines, 1, length, *sizes, ACTIVATION=activation, LARGEST=largest)
        walk.launch(over_chunks, states[:1], lines, slope(u, length), u, states, *sizes, ACTIVATION=activation)
