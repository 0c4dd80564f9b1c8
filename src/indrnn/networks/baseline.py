"""torch's own cells: RNN-tanh, IRNN, LSTM, GRU. Shapes: T time, B batch, M input, N neurons, K outputs; time first."""

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from indrnn.errors import UserError
from indrnn.layers import baselines
from indrnn.layers.padding import valid_steps
from indrnn.networks.network import Network


class Baseline(Network):
    """A torch recurrent network of ``indrnn.layers.baselines`` under the same head."""

    def __init__(self, cell: nn.RNNBase, output_size: int):
        super().__init__(cell.hidden_size, output_size)
        self.cell = cell

    def features(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """x (T, B, M), state of torch's cell, lengths (B,) -> outputs (T, B, N), state.

        Raises:
            UserError: a length is 0, which torch's own networks do not take.
        """
        if lengths is None:
            return self.cell(x, state)
        if not valid_steps(lengths, x).any(0).all():
            raise UserError("torch's recurrent networks take no sequence of length 0: leave it out of the batch.")
        packed, state = self.cell(pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False), state)
        return pad_packed_sequence(packed, total_length=len(x))[0], state


def rnn_tanh(input_size: int, output_size: int, hidden_size: int, num_layers: int) -> Network:
    return Baseline(baselines.rnn_tanh(input_size, hidden_size, num_layers), output_size)


def irnn(input_size: int, output_size: int, hidden_size: int, num_layers: int) -> Network:
    return Baseline(baselines.irnn(input_size, hidden_size, num_layers), output_size)


def lstm(input_size: int, output_size: int, hidden_size: int, num_layers: int) -> Network:
    return Baseline(baselines.lstm(input_size, hidden_size, num_layers), output_size)


def gru(input_size: int, output_size: int, hidden_size: int, num_layers: int) -> Network:
    return Baseline(baselines.gru(input_size, hidden_size, num_layers), output_size)
