"""Dynamic evaluation: a model that goes on learning from the text it is tested on (Krause et al. 2018, as P19 uses it).

    θ ← θ - η g / (r + ε) + λ d ⊙ (θ₀ - θ),   d = min(r / mean(r), 1 / λ)

after every segment, with its gradient g, the trained weights θ₀ and r, the root of the mean square of every weight's
gradient over training text, in batches of as many steps as a segment has. mean(r) is over tensors, large or small: the
mean of the mean of each. Every element of a gradient is clipped, in both passes. All three are as in the authors' code;
P19's text says nothing of them. The loss of a segment is taken before the model learns from it.
"""

import itertools
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from indrnn.data.text import Batch
from indrnn.errors import UserError, above, positive


class Dynamic:
    """Dynamic evaluation with RMS-scaled steps and decay towards the trained weights.

    Args:
        learning_rate: η; 0 is static evaluation.
        decay: λ.
        epsilon: ε.
        segment: steps between two updates.
        clip: the largest element of a gradient.
        batches: of training text that r is taken from, ``segment`` steps in every column; all if none.
    """

    def __init__(
        self,
        learning_rate: float,
        decay: float,
        epsilon: float,
        segment: int,
        clip: float,
        batches: int | None = None,
    ):
        positive(segment=segment, batches=1 if batches is None else batches)
        above(0, **{"dynamic.clip": clip})
        for name, value in (("learning_rate", learning_rate), ("decay", decay)):
            if not value >= 0:
                raise UserError(f"dynamic.{name} must be at least 0, not {value}.")
        if not epsilon > 0:
            raise UserError(f"dynamic.epsilon must be above 0, not {epsilon}.")
        self.learning_rate, self.decay, self.epsilon = learning_rate, decay, epsilon
        self.segment, self.clip, self.batches = segment, clip, batches

    def evaluate(
        self,
        network: nn.Module,
        measure: Callable[[Batch], tuple[Tensor, Tensor]],
        training: Iterable[Batch],
        test: Iterable[Batch],
    ) -> float:
        """Mean nll of ``test`` in nats per token; the weights are afterwards what they were.

        Args:
            network: in evaluation mode; has ``constrain_``.
            measure: mean nll and number of tokens of a batch; carries the state.
            training: batches of ``segment`` steps, of whose first ``batches`` the gradients give r.
            test: batches of ``segment`` steps.
        """
        weights = [p for p in network.parameters() if p.requires_grad]
        trained = [p.detach().clone() for p in weights]
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # cuDNN's RNNs: no backward in evaluation
            roots = self._roots(weights, measure, training)
            mean = torch.stack([r.mean() for r in roots]).mean()
            pulls = [(self.decay * r / mean).clamp_(max=1.0) for r in roots]  # λ d
            total = count = 0.0
            try:
                for batch in test:
                    nll, tokens = measure(batch)
                    gradients = self._gradients(nll, weights)
                    total, count = total + nll.detach().double() * tokens, count + tokens
                    with torch.no_grad():
                        for p, p0, g, r, pull in zip(weights, trained, gradients, roots, pulls, strict=True):
                            p += pull * (p0 - p) - self.learning_rate * g / (r + self.epsilon)
                        network.constrain_()
            finally:
                with torch.no_grad():
                    for p, p0 in zip(weights, trained, strict=True):
                        p.copy_(p0)
        return (total / count).item()

    def _roots(
        self, weights: list[Tensor], measure: Callable[[Batch], tuple[Tensor, Tensor]], training: Iterable[Batch]
    ) -> list[Tensor]:
        """r of every weight."""
        squares, count = [torch.zeros_like(p) for p in weights], 0
        for batch in itertools.islice(training, self.batches):
            gradients = self._gradients(measure(batch)[0], weights)
            for square, g in zip(squares, gradients, strict=True):
                square.addcmul_(g, g)
            count += 1
        return [(square / count).sqrt_() for square in squares]

    def _gradients(self, nll: Tensor, weights: list[Tensor]) -> list[Tensor]:
        return [g.clamp(-self.clip, self.clip) for g in torch.autograd.grad(nll, weights, materialize_grads=True)]
