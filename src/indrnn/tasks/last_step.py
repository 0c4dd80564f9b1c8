"""Tasks answered by the last step. Shapes: T time, B batch, M input, K outputs; batch first at this door."""

from torch import Tensor
from torch.nn import functional as F

from indrnn.tasks.metrics import error
from indrnn.tasks.task import Task


class LastStep(Task):
    """A task whose answer is read from the network's output after the last step."""

    def answer(self, x: Tensor) -> Tensor:
        """x (B, T, M) -> (B, K); the head reads one step only."""
        h, _ = self.network.features(self.time_first(x))
        return self.network.head(h[-1])


class Regression(LastStep):
    """Mean squared error of the last output: the adding problem, P18 Section 5.1."""

    metric = "mse"

    def measure(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        x, y = batch
        loss = F.mse_loss(self.answer(x), y)
        return loss, loss.detach()


class Classification(LastStep):
    """Cross-entropy of the last output, judged by the error in percent: sequential MNIST, P18 Section 5.2."""

    metric = "error"

    def measure(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        x, y = batch
        logits = self.answer(x)
        return F.cross_entropy(logits, y), error(logits.detach(), y)
