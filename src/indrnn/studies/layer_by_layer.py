"""The recurrent layers of a network one by one, for what looks at them closely. T time, B batch, M input, N neurons."""

from typing import Any

from torch import Tensor, nn

from indrnn.layers import IndRNNUnit
from indrnn.networks import Baseline


class Stacked(nn.Module):
    """torch's deep LSTM or RNN as layers that can be looked at one by one: the same parameters, the same function."""

    def __init__(self, cell: nn.LSTM | nn.RNN):
        super().__init__()
        self.layers = nn.ModuleList()
        options = {"nonlinearity": cell.nonlinearity} if isinstance(cell, nn.RNN) else {}
        for number in range(cell.num_layers):
            layer = type(cell)(cell.hidden_size if number else cell.input_size, cell.hidden_size, **options)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                setattr(layer, f"{name}_l0", getattr(cell, f"{name}_l{number}"))
            self.layers.append(layer)

    def forward(self, x: Tensor, state: list | None = None) -> tuple[Tensor, list]:
        """x (T, B, M), state one a layer -> outputs (T, B, N), state."""
        last = []
        for layer, start in zip(self.layers, state or [None] * len(self.layers), strict=True):
            x, end = layer(x, start)
            last.append(end)
        return x, last


def take_apart_(network: nn.Module) -> None:
    """Put ``Stacked`` into the place of torch's cell, wherever in the network there is one."""
    for module in list(network.modules()):
        if isinstance(module, Baseline):
            module.cell = Stacked(module.cell)


def layers(network: nn.Module) -> list[Any]:
    """The recurrent layers of a network that is taken apart, the first one first."""
    return [module for module in network.modules() if isinstance(module, IndRNNUnit | nn.LSTM | nn.RNN)]
