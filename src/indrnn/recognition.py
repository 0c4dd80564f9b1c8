"""What is done in a sequence that is seen in crops. Shapes: T time, B batch, K crops, M input; batch first here."""

from torch import Tensor
from torch.nn import functional as F

from indrnn.metrics import error
from indrnn.tasks import LastStep


class Recognition(LastStep):
    """Cross-entropy of the last output, judged by the accuracy in percent: skeleton actions, P18 Section 5.4.

    Where x is (B, K, T, M), K crops of each sequence, the mean of their log-probabilities answers. (The authors sum the
    logits of random crops, which chooses the same label.)
    """

    metric = "accuracy"
    lower_is_better = False

    def measure(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        x, y = batch
        crops = x if x.dim() == 4 else x[:, None]
        logits = self.answer(crops.flatten(0, 1))
        scores = logits.log_softmax(-1).unflatten(0, crops.shape[:2]).mean(1)
        return F.nll_loss(scores, y), 100 - error(scores.detach(), y)
