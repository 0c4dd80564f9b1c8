"""Where u starts, and whether six wide layers learn characters (P18 Section 5.3.1): states, u and gradients on the way.

The state is carried from batch to batch. A neuron whose u is near 1 adds up what it is given, for as long as nothing
resets it: in the first layer a random walk, in the layers above, whose inputs then hardly change any more, a line. Few
such neurons are enough to dominate z of the next layer, and batch norm, which divides by the spread of z over the
columns, then divides the characters away. How many there are is decided by where u starts and by the width.

Shapes: T time, B columns, N neurons.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from indrnn import aloud, configs
from indrnn.data import TRAIN, VAL
from indrnn.data.text import Text
from indrnn.layers.norm_dropout import recompute_batch_norm
from indrnn.studies import gradients, layer_by_layer
from indrnn.tasks.language import LanguageModel
from indrnn.training import run

# The recipe of the profile fast, on one core: 16 columns instead of 128, products in float32.
COMMON = ("experiment=fast/ptb_char", "model=indrnn", "model.num_layers=6", "data.batch_size=16")
COMMON += ("trainer.precision=32-true",)
WIDTHS = {2000: (), 256: ("recipe.hidden_size=256", "recipe.init_std=0.0442")}  # sqrt(1 / (2 x 256)), as for 2,000
UPDATES = {2000: 500, 256: 2000}
SEEDS = {2000: (0,), 256: (0, 1, 2)}
STARTS = {
    "U(0, 1)": ("task.u_normal=null",),  # as published
    "N(0.4, 0.2)": ("task.u_normal=[0.4,0.2]",),  # P18's word model
    "N(0.4, 0.1)": ("task.u_normal=[0.4,0.1]",),
    "N(0.4, 0.2), at most 0.8": ("task.u_normal=[0.4,0.2,0.8]",),
    "N(0.4, 0.2), state reset in one of ten updates": ("task.u_normal=[0.4,0.2]", "data.reset=10"),
}
EVERY = 10  # updates from one look to the next
NEAR_ONE = 0.98  # u from here on keeps a third of a state over a piece of T = 50
LAST = 20  # updates whose mean is the loss at the end
PIECES = 14  # of the validation text's 70: 700 steps of 128 columns; all of it would take a network as long as training
WHAT = ("rms", "largest", "persistent", "near_one", "u_largest", "gradient")


@dataclass(frozen=True)
class Network:
    """What was seen of one network.

    ``looks``: the updates looked at, from 0. ``layers``: per layer, input first, what was seen at every look: ``rms``
    and ``largest`` of the states; ``persistent``, the share of the variance of z over columns that belongs to means
    over the T steps, hence not to single characters; ``near_one``, how many u are at least NEAR_ONE; ``u_largest``;
    ``gradient``, the norm of that of W. ``carried`` and ``zeros``: those norms for one more batch, read with the
    carried state and from zeros. ``validation``: bpc of the first PIECES pieces. ``unigrams``: bpc of who knows how
    often each character stands in the training text.
    """

    start: str
    width: int
    seed: int
    signature: str
    parameters: int
    losses: list[float]
    looks: list[int]
    layers: list[dict[str, list[float]]]
    carried: list[float]
    zeros: list[float]
    validation: float
    unigrams: float

    @property
    def loss(self) -> float:
        """Training loss of the last updates, in bpc."""
        return math.fsum(self.losses[-LAST:]) / LAST

    @property
    def drowned(self) -> bool:
        """Most of what batch norm sees above the first layer persists at the end."""
        shares = [layer["persistent"][-1] for layer in self.layers[1:]]
        return math.fsum(shares) / len(shares) > 0.5

    def near_one(self, look: int) -> int:
        """How many u of all layers are near 1."""
        return int(math.fsum(layer["near_one"][look] for layer in self.layers))


# Each of some networks and said of them; a claim holds where it is true of all that it is about.
CLAIMS: dict[str, tuple[Callable[[Network], bool], Callable[[Network], bool]]] = {
    "where most of z above layer 1 persists, validation is no better than the unigrams": (
        lambda x: x.drowned,
        lambda x: x.validation >= x.unigrams,
    ),
    "where it does not, validation is better": (lambda x: not x.drowned, lambda x: x.validation < x.unigrams),
    "where it does, a state of zeros brings back the gradient of W in layer 1, to ten times and more": (
        lambda x: x.drowned,
        lambda x: x.zeros[0] >= 10 * x.carried[0],
    ),
    f"where no u is at least {NEAR_ONE} at the start, none is at the end, and validation is better than the unigrams": (
        lambda x: not x.near_one(0),
        lambda x: not x.near_one(-1) and x.validation < x.unigrams,
    ),
}


class Seen:
    """Looks at the layers of a network while it computes; ``take`` gives what was seen since the one before."""

    def __init__(self, network: torch.nn.Module):
        self.units = layer_by_layer.layers(network)
        self.now: list[dict[str, float]] = [{} for _ in self.units]
        self.on = False
        for unit, seen in zip(self.units, self.now, strict=True):
            unit.watch = lambda h, seen=seen: self.states(h, seen)
            unit.norm.register_forward_pre_hook(lambda norm, inputs, seen=seen: self.inputs(inputs[0], seen))

    def states(self, h: Tensor, seen: dict[str, float]) -> None:
        """h (T, B, N)."""
        if self.on:
            seen |= {"rms": h.square().mean().sqrt().item(), "largest": h.abs().max().item()}

    def inputs(self, z: Tensor, seen: dict[str, float]) -> None:
        """z (T, B, N), what batch norm is given."""
        if self.on:
            seen["persistent"] = persistent(z.detach())

    def take(self) -> list[dict[str, float]]:
        """After a backward pass."""
        for unit, seen in zip(self.units, self.now, strict=True):
            u = unit.u.detach()
            seen |= {"near_one": float((u >= NEAR_ONE).sum()), "u_largest": u.max().item()}
            seen["gradient"] = unit.weight_ih.grad.norm().item()
        return [dict(seen) for seen in self.now]


def persistent(z: Tensor) -> float:
    """The share of the variance of z, (T, B, N), over columns that belongs to the means over time."""
    from_mean = (z - z.mean(1, keepdim=True)).double()
    total = from_mean.square().mean().item()
    return from_mean.mean(0).square().mean().item() / total if total else 0.0


def train(start: str, width: int, seed: int) -> Network:
    """Make the updates of one network and look at it."""
    cfg = configs.build([*COMMON, *WIDTHS[width], *STARTS[start], f"seed={seed}"])
    data, task = run.build(cfg)
    data.setup()
    seen = Seen(task.network)
    losses, looks, found = [], [], []
    what = f"{width} neurons a layer, u from {start}, seed {seed}: {UPDATES[width]} updates"
    for number in aloud.counted(range(UPDATES[width]), what):
        seen.on = number % EVERY == 0 or number == UPDATES[width] - 1
        losses.append(task.make_update(data.train_batch(number))[0].item() / math.log(2))
        if seen.on:
            looks.append(number)
            found.append(seen.take())
    layers = [{what: [look[layer][what] for look in found] for what in WHAT} for layer in range(len(seen.units))]
    carried, zeros = (norms(data, task, seen, fresh) for fresh in (False, True))
    seen.on = False
    return Network(
        start,
        width,
        seed,
        configs.signature(configs.signed(cfg)),
        sum(p.numel() for p in task.network.parameters()),
        losses,
        looks,
        layers,
        carried,
        zeros,
        validation(data, task),
        gradients.entropy(Counter(data.corpus.splits[TRAIN].tolist())),
    )


def norms(data: Text, task: LanguageModel, seen: Seen, fresh: bool) -> list[float]:
    """Norm of the gradient of every layer's W for the next batch; no update is made and the carried state stays."""
    x, y, lengths, _ = data.train_batch(task.update)
    before = task.carried
    task.adam.zero_grad()
    task.measure((x, y, lengths, fresh))[0].backward()
    task.carried = before
    return [unit.weight_ih.grad.norm().item() for unit in seen.units]


@torch.no_grad()
def validation(data: Text, task: LanguageModel) -> float:
    """bpc of the first PIECES pieces of the validation text, with batch-norm statistics as before every validation."""
    batches: Any = (task.time_first(x) for x, *_ in data.calibration_batches(0))
    recompute_batch_norm(task.network, batches, carry=True)
    total = count = 0.0
    for batch in data.eval_batches(VAL)[:PIECES]:
        nll, tokens = task.measure(batch)
        total, count = total + nll.item() * tokens.item(), count + tokens.item()
    return total / count / math.log(2)
