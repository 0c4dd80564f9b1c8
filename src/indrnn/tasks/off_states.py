"""Where the states of IndRNN layers throw the past away. Shapes: T time, B batch, N neurons.

From one step to the next, dh_t/dh_{t-1} = σ'(z_t) u with z_t = x_t + u h_{t-1}. A state is *off* where σ'(z_t) is at
most 0.1, so that at most a tenth of what u lets through goes on: a ReLU that outputs 0 (nothing goes on), a leaky ReLU
below 0 if its slope is at most 0.1, a saturated tanh, abs(h) from 0.949 on. All of it follows from h.
"""

import torch
from torch import Tensor

from indrnn.layers import IndRNNUnit
from indrnn.networks import Network

OFF = 0.1  # the largest σ' of a state that is off


def is_off(h: Tensor, activation: str, negative_slope: float = 0.01) -> Tensor:
    """Which states h, (T, B, N), are off, as booleans."""
    if activation == "relu":
        return h <= 0
    if activation == "leaky_relu":
        return (h < 0) & (negative_slope <= OFF)
    if activation == "tanh":
        return 1 - h.square() <= OFF
    return torch.zeros_like(h, dtype=torch.bool)


class Layer:
    """What was seen of one layer."""

    def __init__(self, unit: IndRNNUnit):
        self.unit = unit
        self.states = self.off = self.stretches = 0.0
        self.always = torch.ones_like(unit.u, dtype=torch.bool)

    def see(self, h: Tensor) -> None:
        """States of all steps of some sequences, (T, B, N)."""
        off = is_off(h, self.unit.activation, self.unit.negative_slope)
        begun = off[:1].sum() + (off[1:] & ~off[:-1]).sum()
        self.states, self.off, self.stretches = self.states + h.numel(), self.off + off.sum(), self.stretches + begun
        self.always &= off.flatten(0, 1).all(0)

    def measured(self) -> dict[str, float]:
        """In %, steps and %.

        off_share: of the states, how many are off; off_steps: how long they stay off, on average (of what the end of a
        sequence cuts short, what was seen); off_neurons: how many are off in every step of every sequence.
        """
        off, stretches = float(self.off), float(self.stretches)
        return {
            "off_share": 100 * off / self.states if self.states else 0.0,
            "off_steps": off / stretches if stretches else 0.0,
            "off_neurons": 100 * self.always.double().mean().item() if self.states else 0.0,
        }


class Watched:
    """The IndRNN layers of a network, watched between ``begin`` and ``end``."""

    def __init__(self, network: Network):
        self.units = [module for module in network.modules() if isinstance(module, IndRNNUnit)]

    def begin(self) -> None:
        self.layers = [Layer(unit) for unit in self.units]
        for layer in self.layers:
            layer.unit.watch = layer.see

    def end(self) -> dict[str, float]:
        """Stop watching; ``layer1/off_share`` and so on, layers counted from the input."""
        for unit in self.units:
            del unit.watch
        found = enumerate((layer.measured() for layer in self.layers), 1)
        return {f"layer{i}/{name}": value for i, measured in found for name, value in measured.items()}
