"""What stands in front of a backend that computes with tensors of one dtype: float32, or float64 for all.

Inputs are widened to float32; gradients go back in the dtypes of their inputs.

Shapes: T time, B batch, N neurons; x, h and their gradients (T, B, N), u (N,), h0 (B, N) or None for zeros.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def computed_in(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype == torch.float64 else torch.float32


def as_dtype(a: Tensor, dtype: torch.dtype) -> Tensor:
    return a if a.dtype == dtype else a.to(dtype)  # asking costs a tenth of a.to, at every call of a small layer


def forward(function: Callable, x: Tensor, u: Tensor, h0: Tensor | None, activation: str, slope: float) -> Tensor:
    wide = computed_in(x.dtype)
    first = None if h0 is None else as_dtype(h0, wide)
    return function(as_dtype(x, wide), as_dtype(u, wide), first, activation, slope)


def backward(
    function: Callable, dh: Tensor, h: Tensor, u: Tensor, h0: Tensor | None, activation: str, slope: float,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """``function`` gives dx, du, dh0; dx comes back in ``dtype``, h's if omitted."""
    wide = h.dtype
    first = None if h0 is None else as_dtype(h0, wide)
    dx, du, dh0 = function(dh, h, as_dtype(u, wide), first, activation, slope)
    return as_dtype(dx, dtype or wide), as_dtype(du, u.dtype), dh0 if h0 is None else as_dtype(dh0, h0.dtype)
