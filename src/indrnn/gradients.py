"""Which networks of 21 layers train, and how large gradients are in each of their layers: P18 Sections 1 and 5.3.1.

Every network makes the same number of updates of the configured training on the same batches. The gradient of a layer
is that of the loss with respect to the layer's output, over all steps, columns and neurons: what reaches the layer from
above, comparable between networks whose weights are not. Shapes: T time, B columns, N neurons.
"""

import math
import statistics
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from indrnn import plan, record, render
from indrnn.layers import IndRNNUnit
from indrnn.networks import Baseline, Network
from indrnn.sitting import device_name
from indrnn.updates import Updates

COMMON = ("experiment=ptb_char", "data.source=kjv", "data.output_size=29", "data.batch_size=32")
COMMON += ("recipe.hidden_size=64", "recipe.init_std=null", "recipe.learning_rate=2e-3")
MODELS = {
    "res-IndRNN": ("model=res_indrnn", "model.num_layers=21"),
    "IndRNN": ("model=indrnn", "model.num_layers=21"),
    "LSTM": ("model=lstm", "model.num_layers=21"),
}
SEEDS = (0, 1, 2)
UPDATES = 50
LAST = 5  # updates whose mean is the loss at the end: one batch is noisy
FACTOR = 100  # that the gradient norms of all layers are to lie within
STYLES = (("#00366f", "-"), ("#e0a100", "-."), ("#d1495b", "--"))


@dataclass(frozen=True)
class Trained:
    """One network after its updates: losses (bpc), gradient norms by layer at the first and at the last update.

    ``frequencies``: bpc of who knows nothing but how often each token is a target in these batches.
    """

    model: str
    seed: int
    signature: str
    parameters: int
    losses: list[float]
    first: list[float]
    last: list[float]
    frequencies: float

    @property
    def end(self) -> float:
        return statistics.fmean(self.losses[-LAST:])

    @property
    def trains(self) -> bool:
        """The loss ends below what the frequencies of the tokens give, and below where it began."""
        return self.end < min(self.frequencies, self.losses[0])

    @property
    def even(self) -> bool:
        """At both updates, the gradient norms of all layers lie within the factor."""
        return all(max(norms) <= FACTOR * min(norms) for norms in (self.first, self.last))


class Stacked(Network):
    """A deep LSTM of torch's as layers that can be looked at one by one: the same parameters, the same function."""

    def __init__(self, network: Baseline):
        super().__init__(network.head.in_features, network.head.out_features)
        self.head, cell = network.head, network.cell
        self.layers = nn.ModuleList()
        for number in range(cell.num_layers):
            layer = nn.LSTM(cell.input_size if number == 0 else cell.hidden_size, cell.hidden_size)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                setattr(layer, f"{name}_l0", getattr(cell, f"{name}_l{number}"))
            self.layers.append(layer)

    def features(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        last = []
        for number, layer in enumerate(self.layers):
            x, end = layer(x, None if state is None else state[number])
            last.append(end)
        return x, last


def train(model: str, seed: int) -> Trained:
    """Make the updates of one network."""
    cfg = plan.build([*COMMON, *MODELS[model], f"seed={seed}"])
    updates = Updates(cfg)
    updates.data.setup()
    outputs: dict[int, Tensor] = {}
    for number, layer in enumerate(layers(updates.task.network)):
        layer.register_forward_hook(partial(keep, outputs, number))
    losses, norms, targets = [], [], Counter()
    for number in range(UPDATES):
        batch = updates.data.train_batch(number)
        losses.append(updates.make(batch) / math.log(2))
        targets.update(batch[1].flatten().tolist())
        if number in (0, UPDATES - 1):
            norms.append([h.grad.double().norm().item() for h in outputs.values()])
    signature, parameters = record.signature(record.signed(cfg)), sum(p.numel() for p in updates.parameters)
    return Trained(model, seed, signature, parameters, losses, *norms, entropy(targets))


def layers(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, IndRNNUnit | nn.LSTM)]


def keep(outputs: dict[int, Tensor], number: int, layer: nn.Module, inputs: Any, result: tuple[Tensor, Any]) -> None:
    """A forward hook that puts the output of layer ``number`` into ``outputs`` and asks for its gradient."""
    result[0].retain_grad()
    outputs[number] = result[0]


def entropy(counts: Counter) -> float:
    """Bits a token of the distribution that the counts are."""
    total = counts.total()
    return -math.fsum(n / total * math.log2(n / total) for n in counts.values())
