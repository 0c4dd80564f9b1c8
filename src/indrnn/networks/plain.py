"""The plain network, P18 Fig. 1a. Shapes: T time, B batch, M input, N neurons, K outputs; time first."""

import math

from torch import Tensor, nn

from indrnn.errors import positive
from indrnn.layers import IndRNNLayer, bound_of
from indrnn.networks.network import Network


class PlainIndRNN(Network):
    """P18 Fig. 1a: layers of W, recurrence, batch norm (before or after), dropout.

    Args:
        input_size, output_size, hidden_size, num_layers: M, K, N, number of recurrent layers.
        seq_len: T, in the bound γ^(1/T) and the initial values of u.
        gamma: γ, the largest gain over T steps.
        activation: relu, leaky_relu (``negative_slope``, 0.01 if none), tanh or identity.
        last_layer_near_one: u of the last layer starts in [γ^(-1/T), γ^(1/T)], as P18 asks for where only the last
            output counts; otherwise, and in all other layers, in [0, γ^(1/T)].
        batch_norm: before, after or none.
        dropout: probability dropped, one mask for all steps.
        init_std: see IndRNNLayer.
        kernel_size: k, steps that W reads; above 1 the state of a layer is a pair, see IndRNNLayer.
        bound: instead of γ^(1/T); ``unbounded`` leaves u alone after updates, but it starts within the bound.
        frame_wise: batch norm with statistics of their own for 2 T time steps, see IndRNNUnit.
        dropout_last: of the last layer, if it differs.
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
        super().__init__(hidden_size, output_size)
        positive(num_layers=num_layers)
        bound = bound_of(gamma, seq_len) if bound is None else bound
        slope = 0.01 if negative_slope is None else negative_slope
        self.layers = nn.ModuleList()
        for i in range(num_layers):
            near_one = last_layer_near_one and i == num_layers - 1
            u_range = (min(1 / bound, bound) if near_one else 0.0, bound)
            drop = dropout_last if dropout_last is not None and i == num_layers - 1 else dropout
            positions = 2 * seq_len if frame_wise else None
            sizes = (input_size if i == 0 else hidden_size, hidden_size)
            settings = (math.inf if unbounded else bound, u_range, activation, batch_norm, init_std, drop)
            others = {"kernel_size": kernel_size, "positions": positions, "negative_slope": slope}
            self.layers.append(IndRNNLayer(*sizes, *settings, **others))

    def features(self, x: Tensor, state: list | None = None, lengths: Tensor | None = None) -> tuple[Tensor, list]:
        """x (T, B, M), state one (B, N) a layer, lengths (B,) -> outputs (T, B, N), state."""
        last = []
        for i, layer in enumerate(self.layers):
            x, h = self.part(layer, x, None if state is None else state[i], lengths)
            last.append(h)
        return x, last
