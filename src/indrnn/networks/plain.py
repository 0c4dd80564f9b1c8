"""The plain network, P18 Fig. 1a. Shapes: T time, B batch, M input, N neurons, K outputs; time first."""

from torch import Tensor, nn

from indrnn.errors import positive
from indrnn.networks.indrnn_network import IndRNNNetwork


class PlainIndRNN(IndRNNNetwork):
    """P18 Fig. 1a: layers of W, recurrence, batch norm (before or after), dropout.

    Args:
        input_size, output_size, hidden_size, num_layers: M, K, N, number of recurrent layers.
        dropout: probability dropped, one mask for all steps.
        kernel_size: k, steps that W reads; above 1 the state of a layer is a pair, see IndRNNLayer.
        dropout_last: of the last layer, if it differs.
        others: as for IndRNNNetwork.
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
        kernel_size: int = 1,
        bound: float | None = None,
        frame_wise: bool | None = None,
        dropout_last: float | None = None,
        negative_slope: float | None = None,
        unbounded: bool | None = None,
    ):
        common = (activation, last_layer_near_one, batch_norm, init_std, bound, frame_wise, negative_slope, unbounded)
        super().__init__(hidden_size, output_size, seq_len, gamma, *common)
        positive(num_layers=num_layers)
        self.layers = nn.ModuleList()
        for i in range(num_layers):
            last = i == num_layers - 1
            drop = dropout_last if dropout_last is not None and last else dropout
            self.layers.append(self.layer(hidden_size if i else input_size, hidden_size, drop, last, kernel_size))

    def features(self, x: Tensor, state: list | None = None, lengths: Tensor | None = None) -> tuple[Tensor, list]:
        """x (T, B, M), state one (B, N) a layer, lengths (B,) -> outputs (T, B, N), state."""
        last = []
        for i, layer in enumerate(self.layers):
            x, h = self.part(layer, x, None if state is None else state[i], lengths)
            last.append(h)
        return x, last
