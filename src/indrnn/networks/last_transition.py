"""What leads from a deep network to a narrow decoder. Shapes: T time, B batch, M input, N neurons; time first."""

from typing import Any

from torch import Tensor, nn

from indrnn.layers import IndRNNLayer
from indrnn.layers.norm_dropout import SharedMaskDropout, sequence_norm
from indrnn.layers.padding import blank, valid_steps


class LastTransition(nn.Module):
    """A layer of N neurons, one more batch norm, dropout: how the authors' language models end before the decoder.

    Args:
        dropout: probability dropped of what the decoder reads; one mask for all steps.
        others: as for IndRNNLayer. Without ``batch_norm`` there is no other one either.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bound: float,
        u_range: tuple[float, float],
        activation: str,
        batch_norm: str | None,
        init_std: float | None,
        dropout: float,
        positions: int | None,
    ):
        super().__init__()
        self.layer = IndRNNLayer(
            input_size, hidden_size, bound, u_range, activation, batch_norm, init_std, positions=positions
        )
        self.norm = sequence_norm(hidden_size, positions) if batch_norm else None
        self.frame_wise = positions is not None
        self.dropout = SharedMaskDropout(dropout)

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """x (T, B, M) and the layer's state -> (T, B, N), state."""
        y, last = self.layer(x, state, lengths)
        valid = None if lengths is None else valid_steps(lengths, x)
        if self.norm is not None:
            y = self.norm(y, valid, state[1] if self.frame_wise and state else 0)
        y = self.dropout(y)
        return y if valid is None else blank(y, valid), last
