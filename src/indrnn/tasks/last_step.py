"""Tasks answered by the last step. Shapes: T time, B batch, M input, K outputs; batch first at this door.

A batch is (x, y), or (x, y, lengths) where sequences are padded (``indrnn.layers.padding``).
"""

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from indrnn.layers.padding import at
from indrnn.tasks.metrics import error
from indrnn.tasks.task import Task


class LastStep(Task):
    """A task whose answer is read from the network's output after the last step.

    A subclass gives ``right``, what an answer is compared with: a ``label`` (a class), or a ``value``; ``scores``, if
    the loss is of something else; and ``judged``.
    """

    right: str
    tested: list[tuple[Tensor, Tensor]] | None = None  # answers and what is right, batch by batch, once tested

    def answer(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """x (B, T, M), lengths (B,) -> (B, K); the head reads one step only, the last that a sequence has."""
        if lengths is None:
            h, _ = self.network.features(self.time_first(x))
            return self.network.head(h[-1])
        h, _ = self.network.features(self.time_first(x), lengths=lengths)
        return self.network.head(at(h, lengths - 1))

    def scores(self, x: Tensor, *lengths: Tensor) -> Tensor:
        """x (B, T, M), perhaps lengths (B,) -> what the loss is of, (B, K)."""
        return self.answer(x, *lengths)

    def judged(self, scores: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and metric of a batch."""
        raise NotImplementedError

    def measure(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        x, y, *lengths = batch
        scores = self.scores(x, *lengths)
        if self.tested is not None:
            said = scores.argmax(-1) if self.right == "label" else scores.float().squeeze(-1)
            self.tested.append((said.cpu(), y.reshape(said.shape).cpu()))
        return self.judged(scores, y)

    def calibrating(self, batch: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, Tensor]:
        x, _, *lengths = (t.to(self.device) for t in batch)
        return (self.time_first(x), *lengths) if lengths else self.time_first(x)

    def on_test_start(self) -> None:
        super().on_test_start()
        self.tested = []

    def predictions(self) -> dict[str, np.ndarray] | None:
        if not self.tested:
            return None
        answers, right = (np.concatenate([t.numpy() for t in batches]) for batches in zip(*self.tested, strict=True))
        return {"answer": answers, self.right: right}


class Regression(LastStep):
    """Mean squared error of the last output: the adding problem, P18 Section 5.1."""

    metric, right = "mse", "value"

    def judged(self, scores: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        loss = F.mse_loss(scores, y)
        return loss, loss.detach()


class Classification(LastStep):
    """Cross-entropy of the last output, judged by the error in percent: sequential MNIST, P18 Section 5.2."""

    metric, right = "error", "label"

    def judged(self, scores: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return F.cross_entropy(scores, y), error(scores.detach(), y)
