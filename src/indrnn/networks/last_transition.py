"""What leads from a deep network to a narrow decoder. Shapes: T time, B batch, M input, N neurons; time first."""

from typing import Any

from torch import Tensor, nn

from indrnn.layers import IndRNNLayer
from indrnn.layers.norm_dropout import FrameBatchNorm, SharedMaskDropout
from indrnn.layers.padding import blank, valid_steps


class LastTransition(nn.Module):
    """A layer of N neurons, one more batch norm, dropout: how the authors' language models end before the decoder.

    Args:
        layer, norm: the two of them, and no norm where the layer has none.
        dropout: probability dropped of what the decoder reads; one mask for all steps.
    """

    def __init__(self, layer: IndRNNLayer, norm: nn.Module | None, dropout: float):
        super().__init__()
        self.layer, self.norm = layer, norm
        self.frame_wise = isinstance(norm, FrameBatchNorm)
        self.dropout = SharedMaskDropout(dropout)

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """x (T, B, M) and the layer's state -> (T, B, N), state."""
        y, last = self.layer(x, state, lengths)
        valid = None if lengths is None else valid_steps(lengths, x)
        if self.norm is not None:
            y = self.norm(y, valid, state[1] if self.frame_wise and state else 0)
        y = self.dropout(y)
        return y if valid is None else blank(y, valid), last


def last_norms(network: nn.Module) -> list[nn.Module]:
    """The batch norms that LastTransitions of a network add to that of their layers."""
    ends = [module for module in network.modules() if isinstance(module, LastTransition)]
    return [end.norm for end in ends if end.norm is not None]
