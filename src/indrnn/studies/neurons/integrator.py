"""P18 Figure 4 as an experiment: does one neuron of the second layer solve the adding problem alone?

The neurons are ranked by how well the last state of each predicts the target on training sequences; the best of them is
the integrator. The second layer is cut down to one neuron, the first layer stays as trained, and of the output unit,
a h + c, weight and bias are found again in closed form on other training sequences. Only what comes out of that looks
at the test sequences. The median and the worst neuron show what such a test says of neurons that do not integrate.

T time, B batch, N neurons, S sequences.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from indrnn.adding_numbers import SOLVED
from indrnn.data import TEST, Data
from indrnn.layers import IndRNNLayer
from indrnn.networks import PlainIndRNN
from indrnn.studies import summary
from indrnn.studies.neurons.trained import Trained

SEQUENCES = 2048  # for the search, and as many others for the output unit
KINDS = ("best", "median", "worst")


@dataclass(frozen=True)
class Neuron:
    """Neuron number ``number`` of the second layer, alone: test mse of the cut network ``before`` and ``after``.

    ``residual``: what is left of the target on training sequences when its last state predicts it by least squares.
    """

    kind: str
    number: int
    u: float
    residual: float
    before: float
    after: float


@dataclass(frozen=True)
class Cut:
    """One trained network: test mse of the ``full`` one, and of the neurons alone.

    ``alive``: neurons whose last state is not the same for all sequences; the others are not ranked.
    """

    seed: int
    updates: int
    signature: str
    full: float
    alive: int
    neurons: list[Neuron]

    def neuron(self, kind: str) -> Neuron:
        return next(neuron for neuron in self.neurons if neuron.kind == kind)


def cut_down(trained: Trained) -> Cut:
    """Cut a trained network of two layers down to the best, the median and the worst neuron of the second one."""
    residuals, order = rank(trained)
    neurons = []
    for kind, number in zip(KINDS, (order[0], order[len(order) // 2], order[-1]), strict=True):
        alone = only(trained.network, number)
        before = mse(alone, test_batches(trained.data))
        retrain_(alone, unseen(trained, 1))
        u, after = alone.layers[1].u.item(), mse(alone, test_batches(trained.data))
        neurons.append(Neuron(kind, number, u, residuals[number].item(), before, after))
    full = mse(trained.network, test_batches(trained.data))
    return Cut(trained.cfg.seed, trained.updates, trained.signature, full, len(order), neurons)


def rank(trained: Trained) -> tuple[Tensor, list[int]]:
    """Residuals of all neurons of the second layer (N,), and those whose states vary from the best to the worst."""
    residuals, varies = predict(*last_states(trained.network, unseen(trained, 0)))
    return residuals, [number for number in residuals.argsort().tolist() if varies[number]]


def unseen(trained: Trained, part: int) -> list[tuple[Tensor, Tensor]]:
    """Training batches that come after the last update, so that no update has seen them: 2,048 sequences a part."""
    count = max(1, SEQUENCES // trained.data.batch_size)
    first = trained.cfg.trainer.max_updates + part * count
    return [trained.data.train_batch(number) for number in range(first, first + count)]


def test_batches(data: Data) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(*(part.split(data.batch_size) for part in data.examples(TEST)), strict=True)


def predict(h: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """How well each neuron's last state predicts the target: the residual of least squares.

        r_n = min over a, c of the mean over sequences of (a h_n + c - y)² = var(y) - cov(h_n, y)² / var(h_n)

    Args:
        h, y: last states (S, N) and targets (S, 1), float64.

    Returns:
        r (N,), and which states vary at all (N,).
    """
    h, y = h - h.mean(0), y - y.mean()
    variance, covariance = h.square().mean(0), (h * y).mean(0)
    varies = variance > 0
    explained = torch.where(varies, covariance.square() / variance.where(varies, torch.ones_like(variance)), 0.0)
    return y.square().mean() - explained, varies


def only(network: PlainIndRNN, number: int) -> PlainIndRNN:
    """A copy whose second and last layer is neuron ``number`` alone; the output unit keeps its weight and its bias."""
    alone, old = copy.deepcopy(network), network.layers[1]
    layer = IndRNNLayer(old.input_size, 1, old.bound, old.u_range, old.activation)
    alone.layers[1], alone.head = layer, nn.Linear(1, 1)
    with torch.no_grad():
        for name in ("weight_ih", "bias", "u"):
            getattr(layer, name).copy_(getattr(old, name)[number : number + 1])
        alone.head.weight.copy_(network.head.weight[:, number : number + 1])
        alone.head.bias.copy_(network.head.bias)
    return alone


@torch.no_grad()
def retrain_(alone: PlainIndRNN, sequences: list[tuple[Tensor, Tensor]]) -> None:
    """Weight and bias of the output unit by least squares: a = cov(h, y) / var(h), c = mean(y) - a mean(h)."""
    h, y = last_states(alone, sequences)
    centred = h - h.mean()
    variance = centred.square().mean()
    a = (centred * y).mean() / variance if variance > 0 else torch.zeros_like(variance)
    alone.head.weight.fill_(a.item())
    alone.head.bias.fill_((y.mean() - a * h.mean()).item())


@torch.no_grad()
def last_states(network: PlainIndRNN, sequences: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """States of the last layer after the last step (S, N), targets (S, 1), float64."""
    h = torch.cat([network.features(x.transpose(0, 1).contiguous())[0][-1] for x, _ in sequences])
    return h.double(), torch.cat([y for _, y in sequences]).double()


@torch.no_grad()
def mse(network: PlainIndRNN, sequences: Iterator[tuple[Tensor, Tensor]]) -> float:
    """Mean squared error of the answers after the last step."""
    errors = []
    for x, y in sequences:
        h, _ = network.features(x.transpose(0, 1).contiguous())
        errors.append((network.head(h[-1]) - y).double().square())
    return torch.cat(errors).mean().item()


def judge(cuts: list[Cut], kind: str) -> str:
    """Of "one neuron still solves the task": its mse is below 0.01 after its output unit is found again."""
    return summary.verdict([cut.neuron(kind).after < SOLVED for cut in cuts])
