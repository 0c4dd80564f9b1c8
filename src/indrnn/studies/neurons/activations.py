"""P18 Figure 3: the states of both layers of a trained network over one sequence of the adding problem.

T time, N neurons.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from indrnn.studies.neurons import integrator
from indrnn.studies.neurons.trained import Trained

SHOWN = 3  # neurons of the first layer that stand out


@dataclass(frozen=True)
class Activations:
    """One sequence that no update has seen: values and states by step, where the marks are, who stands out.

    ``integrator`` is the best neuron of ``indrnn.studies.neurons.integrator``; its state answers weight * h + bias, the
    output unit found again for it alone. ``spiking``: neurons of the first layer whose states at both marks lie
    furthest above all their other states.
    """

    values: list[float]
    marks: list[int]
    target: float
    first: Tensor
    second: Tensor
    spiking: list[int]
    integrator: int
    weight: float
    bias: float
    signature: str
    updates: int

    def answer(self, state: float) -> float:
        return self.weight * state + self.bias

    def state(self, answer: float) -> float:
        """The integrator's state that gives an answer."""
        return (answer - self.bias) / self.weight


@torch.no_grad()
def look(trained: Trained) -> Activations:
    """Run a trained network of two layers over the first of the next training sequences."""
    best = integrator.rank(trained)[1][0]
    alone = integrator.only(trained.network, best)
    integrator.retrain_(alone, integrator.unseen(trained, 1))
    x, y = integrator.unseen(trained, 2)[0]
    steps = x[0][:, None]
    first, _ = trained.network.layers[0](steps)
    second, _ = trained.network.layers[1](first)
    first, second = first[:, 0], second[:, 0]
    marked = x[0, :, 1] > 0
    margin = first[marked].amin(0) - first[~marked].amax(0)
    return Activations(
        values=x[0, :, 0].tolist(),
        marks=marked.nonzero().flatten().tolist(),
        target=y[0].item(),
        first=first,
        second=second,
        spiking=margin.topk(min(SHOWN, len(margin))).indices.tolist(),
        integrator=best,
        weight=alone.head.weight.item(),
        bias=alone.head.bias.item(),
        signature=trained.signature,
        updates=trained.updates,
    )
