"""P19 Figure 5 and Table 1: the recurrent weights of a trained network, and for how many steps they remember."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from indrnn.studies import layer_by_layer
from indrnn.studies.memory_length import memory_length
from indrnn.studies.neurons.trained import Trained

EPS = 0.01  # share of a state that still counts as memory


@dataclass(frozen=True)
class Weights:
    """u of every recurrent layer, the first one first, before the first update (``start``) and after the last."""

    signature: str
    updates: int
    data: str
    seq_len: int
    gamma: float
    bound: float
    start: list[list[float]]
    end: list[list[float]]


def collect(trained: Trained) -> Weights:
    """The recurrent weights of a trained IndRNN."""
    cfg = trained.cfg
    return Weights(
        trained.signature,
        trained.updates,
        trained.of_data,
        cfg.data.seq_len,
        cfg.recipe.gamma,
        layer_by_layer.layers(trained.network)[0].bound,
        of_layers(trained.start),
        of_layers(trained.network),
    )


def of_layers(network: nn.Module) -> list[list[float]]:
    return [layer.u.tolist() for layer in layer_by_layer.layers(network)]


def at_bound(u: list[float], bound: float) -> float:
    """Share of abs(u) at the bound, to float32."""
    return share(torch.tensor(u).abs() >= bound * (1 - 1e-6))


def remember(u: list[float], steps: int) -> float:
    """Share of neurons that keep at least ``EPS`` of a state over so many steps."""
    return share(memory_length(torch.tensor(u, dtype=torch.float64), EPS) >= steps)


def share(which: Tensor) -> float:
    return which.double().mean().item()
