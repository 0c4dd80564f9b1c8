"""The recurrence while ``torch.onnx.export`` looks: torch's own scan, which it writes as the operator Scan of ONNX.

Shapes: T time, B batch, N neurons; x (T, B, N), u (N,), h0 (B, N) or None for zeros.
"""

import torch
from torch import Tensor

from indrnn.recurrence import reference
from indrnn.recurrence.one_dtype import as_dtype, computed_in


def exporting() -> bool:
    return torch.compiler.is_exporting() and torch.onnx.is_in_onnx_export()


def states(x: Tensor, u: Tensor, h0: Tensor | None, activation: str, negative_slope: float) -> Tensor:
    """h_t = σ(x_t + u ⊙ h_{t-1}), one step in the graph, whatever T is; in float32, or float64 where x is."""
    from torch._higher_order_ops.scan import scan  # imports half of torch's compiler

    # Copies: torch stumbles over views of a dynamic size here, and what is exported needs no gradient.
    x, u, first = (as_dtype(a, computed_in(x.dtype)).detach().clone() for a in (x, u, reference.state_or_zeros(h0, x)))

    def step(h: Tensor, x_t: Tensor) -> tuple[Tensor, Tensor]:
        h = reference.activate(x_t + u * h, activation, negative_slope)
        return h, h.clone()  # a scan returns no tensor twice

    return scan(step, first, x)[1]
