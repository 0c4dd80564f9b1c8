"""Sequences of different lengths in one batch. Shapes: T time, B batch, N neurons; time first.

Sequence b fills the steps t < lengths[b]; the steps after that are padding and may hold anything, NaN included. What is
to be kept from the padding is selected, never multiplied: 0 x NaN is NaN.
"""

import torch
from torch import Tensor

from indrnn.errors import UserError

_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def valid_steps(lengths: Tensor, x: Tensor) -> Tensor:
    """Where x (T, B, ...) holds a sequence and not padding: (T, B), bool.

    Raises:
        UserError: lengths is no tensor of whole numbers between 0 and T, one a sequence, on the device of x. (Under
            torch.compile and torch.export their values are not known and not looked at.)
    """
    T, B = x.shape[:2]
    given = f"{lengths.dtype} {tuple(lengths.shape)} on {lengths.device}" if isinstance(lengths, Tensor) else lengths
    if not isinstance(lengths, Tensor) or lengths.dtype not in _WHOLE or lengths.shape != (B,):
        raise UserError(f"lengths must be a tensor of whole numbers of shape (B,) = ({B},), not {given}.")
    if lengths.device != x.device:
        raise UserError(f"lengths must be on {x.device} like the input, not {given}.")
    if not torch.compiler.is_compiling() and not lengths.is_meta and B:
        low, high = lengths.aminmax()
        if low < 0 or high > T:
            raise UserError(f"lengths must be between 0 and T = {T}, not between {low} and {high}.")
    return torch.arange(T, device=x.device)[:, None] < lengths


def blank(x: Tensor, valid: Tensor | None, value: float = 0.0) -> Tensor:
    """x (T, B, N) with ``value`` in the padding; x itself where there is none."""
    return x if valid is None else x.masked_fill(~valid[..., None], value)


def at(x: Tensor, steps: Tensor) -> Tensor:
    """x (T, B, N), steps (B,), int64 -> (B, N): of each sequence the step that is named for it."""
    return x[steps, torch.arange(x.shape[1], device=x.device)]


def last_state(h: Tensor, h0: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
    """The state after the last valid step, (B, N), of h (T, B, N): h0 where there is no such step, zeros if omitted.

    A tensor of its own: who carries a view on h keeps all steps in memory.
    """
    if lengths is None and h.shape[0]:
        return h[-1].clone()
    if h0 is None:
        h0 = h.new_zeros(h.shape[1:])
    return h0 if lengths is None else at(torch.cat([h0[None], h]), lengths.long())


def reverse(x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """x (T, B, N) backwards in time, each sequence within its length; padding stays where it is. Its own inverse."""
    if lengths is None:
        return x.flip(0)
    lengths, step = lengths.long(), torch.arange(x.shape[0], device=x.device)[:, None]
    step = torch.where(step < lengths, lengths - 1 - step, step)
    return x[step, torch.arange(x.shape[1], device=x.device)]
