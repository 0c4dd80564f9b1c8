"""What is done in a sequence that is seen in crops. Shapes: T time, B batch, K crops, M input; batch first here."""

from torch import Tensor
from torch.nn import functional as F

from indrnn.data.ntu.geometry import with_distances
from indrnn.networks import Network
from indrnn.tasks import LastStep
from indrnn.tasks.metrics import error
from indrnn.tasks.schedules import Constant


class Recognition(LastStep):
    """Cross-entropy of the last output, judged by the accuracy in percent: skeleton actions, P18 Section 5.4.

    Where x is (B, K, T, M), K crops of each sequence, the mean of their log-probabilities answers. (The authors sum the
    logits of random crops, which chooses the same label.)

    Args:
        geometry: the network also reads the distances of joints from lines (P19 Section 5.4), before the coordinates.
        others: as for Task.
    """

    metric, right = "accuracy", "label"
    lower_is_better = False

    def __init__(
        self,
        network: Network,
        schedule: Constant,
        seed: int,
        max_updates: int,
        val_every: int,
        weight_decay: float = 0.0,
        geometry: bool = False,
    ):
        super().__init__(network, schedule, seed, max_updates, val_every, weight_decay)
        self.geometry = geometry

    def time_first(self, x: Tensor) -> Tensor:
        """(B, T, 150) -> (T, B, M)."""
        x = super().time_first(x)
        return with_distances(x) if self.geometry else x

    def scores(self, x: Tensor) -> Tensor:
        """x (B, T, M) or (B, K, T, M) -> log-probabilities, for each class."""
        crops = x if x.dim() == 4 else x[:, None]
        logits = self.answer(crops.flatten(0, 1))
        return logits.log_softmax(-1).unflatten(0, crops.shape[:2]).mean(1)

    def judged(self, scores: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return F.nll_loss(scores, y), 100 - error(scores.detach(), y)
