"""A layer on a CPU with fewer passes over memory than its equation, Eq. (2), takes line by line: the same numbers.

Shapes: T time, B batch, M input, N neurons; time first. The tests hold the two ways against each other.
"""

import torch
from torch import Tensor, nn

from indrnn.eager import transforming
from indrnn.layers.norm_dropout import SequenceBatchNorm
from indrnn.layers.padding import last_state
from indrnn.recurrence import batch_normed


def serve(unit: nn.Module, x: Tensor, W: Tensor | None = None) -> bool:
    """Whether ``run`` computes this IndRNNUnit or IndRNNLayer here.

    It does for ReLU with batch norm after the recurrence whose statistics are those of this batch alone, and with input
    weights and no batch norm; but not while torch.compile looks, which sees more in the parts of the latter, and not
    for torch.func, which only the recurrence knows.
    """
    if transforming():
        return False
    if unit.batch_norm == "after":
        taken = unit.norm.training and type(unit.norm) is SequenceBatchNorm
    else:
        taken = unit.batch_norm is None and W is not None and not torch.compiler.is_compiling()
    return taken and batch_normed.serves(x, unit.activation, unit.backend)


def run(
    unit: nn.Module, x: Tensor, W: Tensor | None, b: Tensor | None, h0: Tensor | None
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """x (T, B, M) with W and b, else (T, B, N), h0 (B, N) -> outputs (T, B, N), the state after the last step."""
    u, norm = unit._used_u(), unit.norm
    if norm is None:
        h = batch_normed.layer(x, W, b, u, h0)
        y = unit.dropout(h)
    else:
        scale = unit.dropout.mask(x.shape[1], u)
        normed = batch_normed.normed_recurrence(x, W, b, u, h0, norm.weight, norm.bias, norm.eps, scale)
        y, h, mean, var = normed
        norm.track_(mean, var, count=x.shape[0] * x.shape[1])
    unit.show(h)
    return y, last_state(h)
