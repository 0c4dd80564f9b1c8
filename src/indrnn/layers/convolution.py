"""W as a causal convolution over time, P18 Section 4.1. Shapes: T time, B batch, M input, k kernel size; time first."""

from typing import Any

import torch
from torch import Tensor

from indrnn.errors import UserError
from indrnn.layers.padding import at


def windows(x: Tensor, state: Any, lengths: Tensor | None, kernel_size: int) -> tuple[Tensor, Any, Tensor]:
    """What W reads at each step: x_t, x_{t-1} ... x_{t-k+1} side by side.

    Args:
        x: (T, B, M).
        state: None, or a pair: h and the last k - 1 inputs, (k-1, B, M); without it these are zeros.
        lengths: (B,), of padded sequences.

    Returns:
        (T, B, k M), h, and the last k - 1 inputs after x.

    Raises:
        UserError: ``state`` is not such a pair.
    """
    before = kernel_size - 1
    shape = (before, *x.shape[1:])
    if state is None:
        state = None, x.new_zeros(shape)
    if not isinstance(state, tuple) or len(state) != 2 or state[1].shape != shape:
        raise UserError(f"With kernel_size {kernel_size}, a state is (h, the last inputs of shape {shape}).")
    T, inputs = x.shape[0], torch.cat([state[1], x])  # x_t is inputs[t + k - 1]
    read = torch.cat([inputs[before - j : before - j + T] for j in range(kernel_size)], dim=2)
    if lengths is None:
        return read, state[0], inputs[T:]
    return read, state[0], torch.stack([at(inputs, lengths.long() + i) for i in range(before)])
