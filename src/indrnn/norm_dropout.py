"""What stands around a recurrence: batch norm and dropout of whole sequences. Shapes: T time, B batch, N neurons."""

import torch
from torch import Tensor, nn

from indrnn.errors import UserError


class SequenceBatchNorm(nn.BatchNorm1d):
    """Batch norm of (T, B, N) with one mean and variance a neuron, over batch and time (P19 Section 3.2)."""

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """x (T, B, N) -> (T, B, N); in training the statistics are those of the valid (T, B) steps, all if omitted."""
        if valid is None or not self.training:
            return super().forward(x.flatten(0, 1)).view_as(x)
        y = torch.zeros_like(x)
        y[valid] = super().forward(x[valid])
        return y

    @torch.no_grad()
    def track_(self, mean: Tensor, var: Tensor, count: int) -> None:
        """Take statistics of ``count`` entries a neuron into the running ones, as a forward pass in training does.

        Args:
            mean, var: (N,), the variance biased.
        """
        self.num_batches_tracked += 1
        share = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(var * (count / (count - 1)), share)


class SharedMaskDropout(nn.Module):
    """Dropout with one mask for all time steps: what is dropped is dropped for the whole sequence.

    Args:
        p: the probability of being dropped, 0 <= p < 1.
    """

    def __init__(self, p: float):
        super().__init__()
        if not 0 <= p < 1:
            raise UserError(f"dropout must be at least 0 and below 1, not {p}.")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """x (T, B, N) -> (T, B, N), scaled by 1 / (1 - p) where kept."""
        mask = self.mask(x.shape[1], x)
        return x if mask is None else x * mask

    def mask(self, batch_size: int, like: Tensor) -> Tensor | None:
        """(B, N): 0 for what is to be dropped, else 1 / (1 - p); None where all is kept as it is.

        Args:
            like: (..., N), of the dtype and on the device wanted.
        """
        if not self.training or self.p == 0:
            return None
        return like.new_empty(batch_size, like.shape[-1]).bernoulli_(1 - self.p).div_(1 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"
