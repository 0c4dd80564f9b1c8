"""The residual network, P18 Fig. 1b. Shapes: T time, B batch, M input, N neurons, K outputs; time first."""

from typing import Any

from torch import Tensor, nn

from indrnn.errors import UserError, positive
from indrnn.layers import init_weight_
from indrnn.layers.padding import blank, valid_steps
from indrnn.networks.indrnn_network import IndRNNNetwork
from indrnn.products import Linear


class ResidualIndRNN(IndRNNNetwork):
    """P18 Fig. 1b, pre-activation: x + W2 unit(W1 unit(x)), where a unit is recurrence, batch norm, dropout.

    An input Linear, blocks of two recurrent layers each, a final unit: ``num_layers`` = 2 x blocks + 1. (P19 calls the
    network of 5 blocks, 11 recurrent layers, "12 layers".)

    Args:
        num_layers: recurrent layers, odd and at least 3.
        last_size: if given, the network ends in a LastTransition of so many neurons, a recurrent layer more.
        dropout_output: of that.
        others: as for PlainIndRNN; ``dropout_last`` is of the final unit.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        hidden_size: int,
        num_layers: int,
        seq_len: int,
        gamma: float,
        activation: str = "relu",
        last_layer_near_one: bool = True,
        batch_norm: str | None = None,
        dropout: float = 0.0,
        init_std: float | None = None,
        bound: float | None = None,
        frame_wise: bool | None = None,
        dropout_last: float | None = None,
        last_size: int | None = None,
        dropout_output: float | None = None,
    ):
        common = (activation, last_layer_near_one, batch_norm, init_std, bound, frame_wise)
        super().__init__(last_size or hidden_size, output_size, seq_len, gamma, *common)
        positive(num_layers=num_layers)
        if num_layers < 3 or num_layers % 2 == 0:
            raise UserError(f"num_layers of a residual network is 2 x blocks + 1, at least 3, not {num_layers}.")
        self.input = linear(input_size, hidden_size, init_std)
        self.units, self.linears = nn.ModuleList(), nn.ModuleList()
        for i in range(num_layers):
            final = i == num_layers - 1
            drop = dropout_last if final and dropout_last is not None else dropout
            self.units.append(self.unit(hidden_size, drop, last=final and not last_size))
        for _ in range(num_layers - 1):
            self.linears.append(linear(hidden_size, hidden_size, init_std))
        self.last = self.last_transition(hidden_size, last_size, dropout_output) if last_size else None

    def features(self, x: Tensor, state: list | None = None, lengths: Tensor | None = None) -> tuple[Tensor, list]:
        """x (T, B, M), state one a recurrent layer, lengths (B,) -> outputs (T, B, N), state."""
        states = [None] * (len(self.units) + 1) if state is None else state
        last = []
        x = self.input(x if lengths is None else blank(x, valid_steps(lengths, x)))
        for i in range(0, len(self.linears), 2):
            x, *ends = self.part(self._block, i, x, states[i], states[i + 1], lengths)
            last += ends
        x, end = self.part(self.units[-1], x, states[len(last)], lengths)
        last.append(end)
        if self.last is not None:
            x, end = self.part(self.last, x, states[len(last)], lengths)
            last.append(end)
        return x, last

    def _block(self, i: int, x: Tensor, first: Any, second: Any, lengths: Tensor | None) -> tuple[Tensor, Any, Any]:
        """The block whose first recurrent layer is number i; ``first`` and ``second`` are states."""
        h, first = self.units[i](x, first, lengths)
        h, second = self.units[i + 1](self.linears[i](h), second, lengths)
        return x + self.linears[i + 1](h), first, second


def linear(input_size: int, output_size: int, init_std: float | None) -> Linear:
    """A Linear that starts as the input weights of an IndRNNLayer do."""
    layer = Linear(input_size, output_size)
    init_weight_(layer.weight, init_std)
    nn.init.zeros_(layer.bias)
    return layer
