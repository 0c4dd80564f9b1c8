"""The scan of `scan.py` on a GPU: lines of all chunks at once, the walk over the chunks, the walks inside them.

Three kernels forward and four backward, nothing else; the kernels of `walk.py` walk inside the chunks. A gradient of u
is summed by each lane in the order of time and then over lanes and chunks in a fixed order: the same bits every time.

Shapes: T time, B batch, N neurons, C chunks of time; x, h and their gradients (T, B, N), u (N,), h0 (B, N) or None for
zeros.
"""

import torch
from torch import Tensor

from indrnn.recurrence import walk
from indrnn.recurrence.one_dtype import computed_in


def largest_state(dtype: torch.dtype) -> float:
    """Stands for ∞: 0 times it is 0, and u times it does not overflow as long as abs(u) is not over 1024."""
    return torch.finfo(dtype).max / 1024


def missing(activation: str, dtype: torch.dtype, device: torch.device) -> str | None:
    """What keeps ``device`` from using these kernels, None if nothing does. The first call compiles."""

    def run_forward(x, u, h0, activation, _):
        return forward(x, u, h0, activation, 8)

    def run_backward(dh, h, u, h0, activation, _):
        return backward(dh, h, u, h0, activation, 8)

    return walk.trial(run_forward, run_backward, activation, dtype, device)


def forward(x: Tensor, u: Tensor, h0: Tensor | None, activation: str, length: int) -> Tensor:
    from indrnn.recurrence.scan_kernels import chunk_lines, over_chunks

    x, u, h0 = x.contiguous(), u.contiguous(), walk.contiguous(h0)
    T, B, N = x.shape
    wide = computed_in(x.dtype)
    lines_of = -(-(T - 1) // length) - 1  # all chunks but the last
    if lines_of < 1:
        return walk.walk(x, u, h0, None, activation, 0.0, T)
    starts, lines = x.new_empty(lines_of, B, N, dtype=wide), x.new_empty(3, lines_of, B, N, dtype=wide)
    sizes = length, lines_of, B * N, N
    largest = largest_state(wide)
    walk.launch(chunk_lines, "chunk_lines", x, lines_of, x, u, lines, *sizes, ACTIVATION=activation, LARGEST=largest)
    walk.launch(over_chunks, "over_chunks", x, 1, x, u, h0, lines, starts, *sizes, ACTIVATION=activation)
    return walk.walk(x, u, h0, starts, activation, 0.0, length)


def backward(
    dh: Tensor, h: Tensor, u: Tensor, h0: Tensor | None, activation: str, length: int,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    from indrnn.recurrence.scan_kernels import chunk_lines_back, over_chunks_back

    dh, h, u, h0 = dh.contiguous(), h.contiguous(), u.contiguous(), walk.contiguous(h0)
    T, B, N = h.shape
    lines_of = -(-T // length) - 1  # all chunks but the first
    if lines_of < 1:
        return walk.walk_back(dh, h, u, h0, None, activation, 0.0, T, dtype)
    after, lines = h.new_empty(lines_of, B, N), h.new_empty(2, lines_of, B, N)
    sizes = length, lines_of, T, B * N, N
    walk.launch(chunk_lines_back, "chunk_lines_back", h, lines_of, dh, h, u, lines, *sizes, ACTIVATION=activation)
    walk.launch(over_chunks_back, "over_chunks_back", h, 1, u, lines, after, length, lines_of, B * N, N)
    return walk.walk_back(dh, h, u, h0, after, activation, 0.0, length, dtype)
