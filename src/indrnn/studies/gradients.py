"""Which networks of 21 layers train, and how large gradients are in their layers, on characters (P18 Section 5.3.1).

All make the same number of updates on the same batches. The gradient of a layer is that of the loss with respect to the
layer's outputs of all steps, after dropout: what reaches the layer from above. It is comparable between networks whose
weights are not (a residual block has two Linears and no input weights; an LSTM has four of each).
"""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from indrnn import aloud, configs
from indrnn.studies import layer_by_layer, summary
from indrnn.training import run

# The small network of the quick profile, half as wide, at a constant rate that all share. There, u starts from
# N(0.4, 0.2) as in P18's word model; the last but one shows what it would do from U(0, 1), as in P18's character model.
COMMON = ("experiment=quick/ptb_char", "recipe.hidden_size=64")
COMMON += ("schedule@recipe.schedule=constant", "recipe.learning_rate=1e-2")
MODELS = {
    "res-IndRNN": ("model=res_indrnn", "model.num_layers=21"),
    "IndRNN": ("model=indrnn", "model.num_layers=21"),
    "res-IndRNN, u in [0, 1]": ("model=res_indrnn", "model.num_layers=21", "task.u_normal=null"),
    "LSTM": ("model=lstm", "model.num_layers=21"),
}
OURS, THEIRS = "res-IndRNN", "LSTM"  # that the claim is about
SEEDS = (0, 1, 2)
MARKS = (1, 50, 150)  # updates at which gradients are taken; the last is the budget
SOON = MARKS[1]
LAST = 5  # updates up to a mark whose mean is the loss there, but for the first: the loss of one batch is noisy
PART = 0.9  # of the loss that the tokens' frequencies alone give: below it, something else was learnt
FACTOR = 100  # that gradient norms are to stay within


@dataclass(frozen=True)
class Trained:
    """One network after its updates.

    ``losses``: bpc before every update. ``norms``: of the gradient by layer, at the marks. ``frequencies``: bpc of who
    knows nothing but how often each token is a target in these batches; what the decoder's bias alone can reach.
    """

    model: str
    seed: int
    signature: str
    parameters: int
    losses: list[float]
    norms: list[list[float]]
    frequencies: float

    def loss(self, mark: int) -> float:
        return statistics.fmean(self.losses[max(0, mark - LAST) : mark]) if mark > 1 else self.losses[0]

    def ratio(self, mark: int) -> float:
        """Gradient norm of the first layer by that of the last."""
        norms = self.norms[MARKS.index(mark)]
        return norms[0] / norms[-1]

    def spread(self, mark: int) -> float:
        """The largest gradient norm of a layer by the smallest; infinite where a layer has none at all."""
        norms = self.norms[MARKS.index(mark)]
        return max(norms) / min(norms) if min(norms) > 0 else math.inf


CLAIMS: dict[str, Callable[[Trained], bool]] = {
    f"within {SOON} updates the loss falls": lambda x: x.loss(SOON) < x.loss(1),
    f"within {SOON} updates it falls below {PART} times that of the tokens' frequencies": (
        lambda x: x.loss(SOON) < PART * x.frequencies
    ),
    f"within {MARKS[-1]} updates it does": lambda x: x.loss(MARKS[-1]) < PART * x.frequencies,
    f"at updates 1 and {SOON} the gradient norms of the first and the last layer are within a factor of {FACTOR}": (
        lambda x: all(1 / FACTOR <= x.ratio(mark) <= FACTOR for mark in (1, SOON))
    ),
    f"at updates 1 and {SOON} those of all layers are": lambda x: all(x.spread(mark) <= FACTOR for mark in (1, SOON)),
}


def train(model: str, seed: int) -> Trained:
    """Make the updates of one network."""
    cfg = configs.build([*COMMON, *MODELS[model], f"seed={seed}"])
    data, task = run.build(cfg)
    data.setup()
    network = task.network
    layer_by_layer.take_apart_(network)
    outputs: dict[int, Tensor] = {}
    for number, layer in enumerate(layer_by_layer.layers(network)):
        layer.register_forward_hook(partial(keep, outputs, number))
    losses, norms, targets = [], [], Counter()
    for number in aloud.counted(range(MARKS[-1]), f"{model}, seed {seed}: {MARKS[-1]} updates"):
        batch = data.train_batch(number)
        losses.append(task.make_update(batch)[0].item() / math.log(2))
        targets.update(batch[1].flatten().tolist())
        if number + 1 in MARKS:
            norms.append([h.grad.double().norm().item() for h in outputs.values()])
    signature = configs.signature(configs.signed(cfg))
    parameters = sum(p.numel() for p in network.parameters())
    return Trained(model, seed, signature, parameters, losses, norms, entropy(targets))


def clipped(model: str) -> str:
    """How gradients of weights are clipped: torch's networks choose another way, conf/clip."""
    trainer = configs.build([*COMMON, *MODELS[model]]).trainer
    return f"{model} by {trainer.clip_by} at {trainer.clip:g}"


def keep(outputs: dict[int, Tensor], number: int, layer: nn.Module, inputs: Any, result: tuple[Tensor, Any]) -> None:
    """A forward hook that puts the outputs of layer ``number`` into ``outputs`` and asks for their gradient."""
    result[0].retain_grad()
    outputs[number] = result[0]


def entropy(counts: Counter) -> float:
    """Bits per token."""
    total = counts.total()
    return -math.fsum(n / total * math.log2(n / total) for n in counts.values())


def judge(claim: str, runs: Iterable[Trained]) -> str:
    """A threshold is decided when every seed is on one side of it."""
    return summary.verdict([CLAIMS[claim](run) for run in runs])


def contrast(verdicts: dict[str, str]) -> str:
    """Whether something is true of ours and not of theirs."""
    pair = verdicts[OURS], verdicts[THEIRS]
    if pair == ("holds", "does not hold"):
        return "holds"
    return "undecided" if "undecided" in pair else "does not hold"
