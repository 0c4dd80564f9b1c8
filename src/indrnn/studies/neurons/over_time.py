"""How large the gradient of a state is, over layers and time steps, when only the last step's output has a loss.

The state of layer l after step t is h_t, and for an LSTM h_t and its cell c_t together. Its gradient holds all ways to
the loss: through the later steps of its own layer and through the layers above. A forward pass over the whole sequence
shows only what comes from above, so the network is run step by step.

T time, B batch, M input, N neurons.
"""

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from indrnn.layers import IndRNNUnit
from indrnn.layers.norm_dropout import recompute_batch_norm
from indrnn.studies import layer_by_layer
from indrnn.studies.neurons.trained import Trained
from indrnn.tasks import CALIBRATION_EXAMPLES

Parts = list[tuple[Tensor, ...]]  # of one layer's state; tensors that are the same numbers stand together
# Training computes in float32 with denormals flushed to 0: below this it has no gradient at all.
SMALLEST = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Gradients:
    """Norms by layer and time step, and the loss, before the first update (``start``) and after the last (``end``)."""

    model: str
    seed: int
    signature: str
    updates: int
    data: str
    start_loss: float
    start: list[list[float]]
    end_loss: float
    end: list[list[float]]


def measure(model: str, trained: Trained) -> Gradients:
    """Norms of a classifier on one batch of training sequences that comes after the last update."""
    x, y = trained.data.train_batch(trained.cfg.trainer.max_updates)
    found = []
    for network in (trained.start, trained.network):
        batches = trained.data.calibration_batches(CALIBRATION_EXAMPLES)
        recompute_batch_norm(network, (x.transpose(0, 1).contiguous() for x, *_ in batches))
        found += norms(network, x, y)
    return Gradients(model, trained.cfg.seed, trained.signature, trained.updates, trained.of_data, *found)


def norms(network: nn.Module, x: Tensor, y: Tensor) -> tuple[float, list[list[float]]]:
    """Norm of dL/d(state of layer l after step t), L the mean cross-entropy of the last step's output.

    In float64, dropout off and the statistics of batch norm constants: with those of the batch, each step's state would
    reach the loss through them.

    Args:
        network: with the usual ``features`` and ``head``; left as it is.
        x, y: (B, T, M), (B,).

    Returns:
        L in nats, and for each layer, the first one first, the norms of all T steps.
    """
    network = copy.deepcopy(network).double().eval()
    layer_by_layer.take_apart_(network)
    found = [watch(layer) for layer in layer_by_layer.layers(network)]
    state = None
    for step in x.double().transpose(0, 1):
        h, state = network.features(step[None], state)
    loss = F.cross_entropy(network.head(h[-1]), y)
    loss.backward()
    return loss.item(), [[norm(parts) for parts in steps] for steps in found]


def watch(layer: nn.Module) -> list[Parts]:
    """A list to which the layer will add its state at every call, each of which is one step."""
    steps: list[Parts] = []
    if isinstance(layer, IndRNNUnit):  # what reads the state of this very step
        reader = layer.norm if layer.batch_norm == "after" else layer.dropout
        reader.register_forward_pre_hook(lambda module, inputs: keep(steps, [inputs[:1]]))
    else:
        layer.register_forward_hook(partial(keep_end, steps))
    return steps


def keep_end(steps: list[Parts], layer: nn.Module, inputs: Any, result: tuple[Tensor, Any]) -> None:
    """torch's layers hand h_t out twice: the layer above gets the one, the next step the other."""
    h, end = result
    end_h, *cell = end if isinstance(end, tuple) else (end,)
    keep(steps, [(h, end_h), *((c,) for c in cell)])


def keep(steps: list[Parts], parts: Parts) -> None:
    for part in parts:
        for tensor in part:
            tensor.retain_grad()
    steps.append(parts)


def norm(parts: Parts) -> float:
    """Of the gradient of one state, scaled: squares of numbers below 1e-154 are 0."""
    gradients = [torch.stack([grad_of(tensor) for tensor in part]).sum(0).flatten() for part in parts]
    gradient = torch.cat(gradients)
    largest = gradient.abs().max()
    return (largest * (gradient / largest).norm()).item() if largest > 0 else 0.0


def grad_of(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
