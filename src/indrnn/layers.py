"""The IndRNN layer, P18 Section 3 and P19 Section 3. Shapes: T time, B batch, M input, N neurons; time first.

A layer maps (T, B, M) and a state to the outputs of all steps (T, B, N) and the state after the last one (B, N).
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from indrnn.errors import UserError, positive
from indrnn.recurrence import normed, recurrence

BATCH_NORM = ("before", "after", None)


def bound_of(gamma: float, seq_len: int) -> float:
    """γ^(1/T): with abs(u) at most this, the gain over T steps is at most γ (P18 Section 3.1).

    Raises:
        UserError: gamma is not above 0.
    """
    if not gamma > 0:
        raise UserError(f"gamma must be above 0, not {gamma}.")
    positive(seq_len=seq_len)
    return math.exp(math.log(gamma) / seq_len)


class IndRNNUnit(nn.Module):
    """h_t = σ(z_t + u ⊙ h_{t-1}) with batch norm and dropout: an IndRNN layer without its input weights.

    This is the unit that residual and dense networks are built from (P18 Fig. 1b, P19 Fig. 3c).

    Args:
        hidden_size: N.
        bound: the largest abs(u); ``constrain_`` clips to it.
        u_range: u is drawn from the uniform distribution between these two.
        activation: relu, leaky_relu, tanh or identity.
        batch_norm: ``before`` the recurrence (P19 Fig. 3), ``after`` it (the authors' MNIST and NTU code), or none;
            statistics are taken over batch and time.
        dropout: probability dropped of the unit's outputs, one mask for all steps.
        backend: of ``indrnn.recurrence.recurrence``.
    """

    def __init__(
        self,
        hidden_size: int,
        bound: float,
        u_range: tuple[float, float],
        activation: str = "relu",
        batch_norm: str | None = None,
        dropout: float = 0.0,
        backend: str = "auto",
    ):
        super().__init__()
        positive(hidden_size=hidden_size)
        if batch_norm not in BATCH_NORM:
            raise UserError(f"batch_norm must be one of {BATCH_NORM}, not {batch_norm!r}.")
        self.hidden_size, self.bound, self.u_range = hidden_size, bound, u_range
        self.activation, self.batch_norm, self.backend = activation, batch_norm, backend
        self.u = nn.Parameter(torch.empty(hidden_size))
        self.norm = SequenceBatchNorm(hidden_size) if batch_norm else None
        self.dropout = SharedMaskDropout(dropout)
        nn.init.uniform_(self.u, *u_range)

    def forward(self, z: Tensor, h0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z (T, B, N), h0 (B, N) -> outputs (T, B, N), last h (B, N)."""
        return self._run(z, None, None, h0)

    def _run(self, x: Tensor, W: Tensor | None, b: Tensor | None, h0: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.batch_norm == "after" and self.norm.training and normed.serves(x, self.activation, self.backend):
            scale = self.dropout.mask(x.shape[1], self.u)
            y, h, *statistics = normed.normed_recurrence(
                x, W, b, self.u, h0, self.norm.weight, self.norm.bias, self.norm.eps, scale
            )
            self.norm.track_(*statistics, count=x.shape[0] * x.shape[1])
            return y, h[-1]
        z = x if W is None else F.linear(x, W, b)
        if self.batch_norm == "before":
            z = self.norm(z)
        h = recurrence(z, self.u, h0, activation=self.activation, backend=self.backend)
        last = h[-1] if len(h) else (torch.zeros_like(h.sum(0)) if h0 is None else h0)
        return self.dropout(self.norm(h) if self.batch_norm == "after" else h), last

    @torch.no_grad()
    def constrain_(self) -> None:
        """Clip u to [-bound, bound]; both papers bound abs(u). To be called after every update."""
        self.u.clamp_(-self.bound, self.bound)

    def extra_repr(self) -> str:
        return f"{self.hidden_size}, {self.activation}, bound={self.bound:.6g}, batch_norm={self.batch_norm}"


class IndRNNLayer(IndRNNUnit):
    """h_t = σ(W x_t + u ⊙ h_{t-1} + b), P18 Eq. (2), with batch norm.

    Args:
        input_size: M.
        init_std: W is drawn from N(0, init_std); if none, uniform within sqrt(6 / ((1 + 8²) M)) (Kaiming with
            a = 8, as in the authors' PyTorch code). The bias starts at 0.
        others: as for IndRNNUnit.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bound: float,
        u_range: tuple[float, float],
        activation: str = "relu",
        batch_norm: str | None = None,
        init_std: float | None = None,
        dropout: float = 0.0,
        backend: str = "auto",
    ):
        super().__init__(hidden_size, bound, u_range, activation, batch_norm, dropout, backend)
        positive(input_size=input_size)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size))
        init_weight_(self.weight_ih, init_std)

    def forward(self, x: Tensor, h0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (T, B, M), h0 (B, N) -> outputs (T, B, N), last h (B, N)."""
        return self._run(x, self.weight_ih, self.bias, h0)


def init_weight_(weight: Tensor, init_std: float | None) -> None:
    """Draw W; see IndRNNLayer."""
    if init_std is None:
        nn.init.kaiming_uniform_(weight, a=8)
    else:
        nn.init.normal_(weight, std=init_std)


class SequenceBatchNorm(nn.BatchNorm1d):
    """Batch norm of (T, B, N) with one mean and variance a neuron, over batch and time (P19 Section 3.2)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).view_as(x)

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


@torch.no_grad()
def recompute_batch_norm(network: nn.Module, inputs: Iterable[Tensor]) -> None:
    """Set the running statistics of every batch norm to their mean over ``inputs``, with dropout off.

    Momentum averages lag behind the weights and have a heavy tail over long ReLU recurrences, so evaluation with
    them collapses on permuted MNIST (23% instead of 53% in one trial). Training data only are to be given here.
    Leaves the network in eval mode.
    """
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
        norm.train()
    for x in inputs:
        network.features(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
