"""What plain, residual and dense networks share: how their layers are made."""

import math

from indrnn.errors import UserError, above
from indrnn.layers import IndRNNLayer, IndRNNUnit, bound_of
from indrnn.layers.norm_dropout import sequence_norm
from indrnn.networks.last_transition import LastTransition
from indrnn.networks.network import Network


class IndRNNNetwork(Network):
    """Makes IndRNN layers with one bound, activation, place of batch norm and start of W and u.

    Args:
        features: width of what the head reads.
        output_size: K.
        seq_len: T, in the bound γ^(1/T) and the initial values of u.
        gamma: γ, the largest gain over T steps.
        activation: relu, leaky_relu (``negative_slope``, 0.01 if none), tanh or identity.
        last_layer_near_one: u of the last layer starts in [γ^(-1/T), γ^(1/T)], as P18 asks for where only the last
            output counts; otherwise, and in all other layers, in [0, γ^(1/T)].
        batch_norm: before, after or none.
        init_std: see IndRNNLayer.
        bound: instead of γ^(1/T); ``unbounded`` leaves u alone after updates, but it starts within the bound.
        frame_wise: batch norm with statistics of their own for 2 T time steps, see IndRNNUnit.
    """

    def __init__(
        self,
        features: int,
        output_size: int,
        seq_len: int,
        gamma: float,
        activation: str,
        last_layer_near_one: bool,
        batch_norm: str | None,
        init_std: float | None,
        bound: float | None,
        frame_wise: bool | None,
        negative_slope: float | None = None,
        unbounded: bool | None = None,
    ):
        super().__init__(features, output_size)
        if bound is not None:
            above(0, bound=bound)
        if negative_slope is not None and activation != "leaky_relu":
            raise UserError(f"negative_slope belongs to activation=leaky_relu: {activation} has none, so leave it out.")
        self.largest_start = bound_of(gamma, seq_len) if bound is None else bound
        self.last_layer_near_one, self.init_std = last_layer_near_one, init_std
        self.common = {
            "bound": math.inf if unbounded else self.largest_start,
            "activation": activation,
            "batch_norm": batch_norm,
            "positions": 2 * seq_len if frame_wise else None,
            "negative_slope": 0.01 if negative_slope is None else negative_slope,
        }

    def unit(self, hidden_size: int, dropout: float, last: bool = False) -> IndRNNUnit:
        """An IndRNNUnit of this network; ``last`` is the last one of all."""
        return IndRNNUnit(hidden_size, u_range=self.u_range(last), dropout=dropout, **self.common)

    def layer(
        self, input_size: int, hidden_size: int, dropout: float, last: bool = False, kernel_size: int = 1
    ) -> IndRNNLayer:
        """An IndRNNLayer of this network; ``last`` is the last one of all."""
        start = {"u_range": self.u_range(last), "init_std": self.init_std}
        return IndRNNLayer(input_size, hidden_size, dropout=dropout, kernel_size=kernel_size, **start, **self.common)

    def last_transition(self, input_size: int, hidden_size: int, dropout: float | None) -> LastTransition:
        """A LastTransition, in the place of the last layer."""
        norm = sequence_norm(hidden_size, self.common["positions"]) if self.common["batch_norm"] else None
        return LastTransition(self.layer(input_size, hidden_size, dropout=0.0, last=True), norm, dropout or 0.0)

    def u_range(self, last: bool) -> tuple[float, float]:
        """What u of a layer is drawn from."""
        high = self.largest_start
        return (min(1 / high, high) if last and self.last_layer_near_one else 0.0), high
