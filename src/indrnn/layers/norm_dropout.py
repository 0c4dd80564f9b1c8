"""What stands around a recurrence: batch norm and dropout of whole sequences. Shapes: T time, B batch, N neurons."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from indrnn.errors import UserError


class SequenceBatchNorm(nn.BatchNorm1d):
    """Batch norm of (T, B, N) with one mean and variance a neuron, over batch and time (P19 Section 3.2)."""

    def forward(self, x: Tensor, valid: Tensor | None = None, start: int = 0) -> Tensor:
        """x (T, B, N) -> (T, B, N); in training the statistics are those of the valid (T, B) steps, all if omitted.

        ``start`` is for FrameBatchNorm, which takes its place.
        """
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
        self.num_batches_tracked.add_(1)  # not +=, which torch.compile does not take inside a checkpoint
        share = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(var * (count / (count - 1)), share)


class FrameBatchNorm(nn.BatchNorm1d):
    """Batch norm of (T, B, N) with a mean and a variance for every time step; scale and shift are shared by all.

    A step is known by its position, the number of steps since the state was last zeros. Positions from ``positions`` on
    share their statistics. (P18 Section 5.3: "frame-wise"; the authors' code has it before the recurrence.)

    In training the statistics are those of the batch, and no averages are kept: ``recompute_batch_norm`` takes those
    that evaluation uses. Saves its input and no other (T, B, N) for the backward pass.

    Args:
        num_features: N.
        positions: steps with statistics of their own.
    """

    def __init__(self, num_features: int, positions: int):
        super().__init__(num_features)
        shape = (positions + 1, num_features)
        self.register_buffer("running_mean", torch.zeros(shape))
        self.register_buffer("running_var", torch.ones(shape))
        self.register_buffer("num_batches_tracked", torch.zeros(positions + 1, dtype=torch.long))

    def forward(self, x: Tensor, valid: Tensor | None = None, start: int = 0) -> Tensor:
        """x (T, B, N), whose first step has position ``start`` -> (T, B, N).

        In training the statistics are those of the valid (T, B) steps, all if omitted.

        Raises:
            UserError: B is 1 in training.
        """
        if not self.training:
            at = (start + torch.arange(len(x), device=x.device)).clamp_(max=len(self.running_mean) - 1)
            scale = self.weight * torch.rsqrt(self.running_var[at] + self.eps)
            return torch.addcmul((self.bias - self.running_mean[at] * scale)[:, None], x, scale[:, None])
        if x.shape[1] < 2:
            raise UserError("Frame-wise batch norm takes statistics over the columns: data.batch_size must be above 1.")
        if valid is not None:
            return self._masked(x, valid, start)
        y, mean, var = _FrameNorm.apply(x, self.weight, self.bias, self.eps)
        if self.momentum is None:
            self.track_(mean, var * (x.shape[1] / max(1, x.shape[1] - 1)), start)
        return y

    def _masked(self, x: Tensor, valid: Tensor, start: int) -> Tensor:
        """For the few batches whose columns end at different steps."""
        x = in_float32(x)
        there, count = valid[..., None], valid.sum(1).clamp(min=1)[:, None]
        mean = torch.where(there, x, 0.0).sum(1) / count
        from_mean = torch.where(there, x - mean[:, None], 0.0)
        var = from_mean.square().sum(1) / count
        if self.momentum is None:
            steps = int((valid.sum(1) > 1).cumprod(0).sum())  # a column alone has no variance
            self.track_(mean[:steps], (var * (count / (count - 1)))[:steps], start)
        return from_mean * torch.rsqrt(var + self.eps)[:, None] * self.weight + self.bias

    @torch.no_grad()
    def track_(self, mean: Tensor, var: Tensor, start: int) -> None:
        """Take mean and variance, (T, N), of one more batch into the plain averages of all batches since a reset."""
        last = len(self.running_mean) - 1
        own = max(0, min(len(mean), last - start))  # steps with statistics of their own
        places = [(slice(start, start + own), slice(0, own))]
        if own < len(mean):  # the others make one entry, their mean
            mean, var = (torch.cat([a[:own], a[own:].mean(0, keepdim=True)]) for a in (mean, var))
            places.append((slice(last, last + 1), slice(own, own + 1)))
        for at, new in places:
            self.num_batches_tracked[at] += 1
            share = (1 / self.num_batches_tracked[at].to(mean.dtype))[:, None]
            self.running_mean[at] += share * (mean[new] - self.running_mean[at])
            self.running_var[at] += share * (var[new] - self.running_var[at])


def sequence_norm(num_features: int, positions: int | None) -> nn.BatchNorm1d:
    """Batch norm over batch and time, or, with ``positions``, frame-wise."""
    return SequenceBatchNorm(num_features) if positions is None else FrameBatchNorm(num_features, positions)


def in_float32(x: Tensor) -> Tensor:
    """Statistics of what autocast made narrow are taken in float32."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class _FrameNorm(torch.autograd.Function):
    """y = γ (x - mean) / sqrt(var + ε) + β with mean and var (T, N) over B; under autocast in float32."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        a = in_float32(x)
        mean = a.mean(1)
        from_mean = a - mean[:, None]
        var = from_mean.square().mean(1)  # torch.var_mean takes four times as long on a CPU
        rstd = torch.rsqrt(var + eps)
        ctx.save_for_backward(x, weight, mean, rstd)
        ctx.mark_non_differentiable(mean, var)
        y = from_mean.mul_((weight * rstd)[:, None])
        # Torch 2.11 loses, without a word, the gradients of a compiled function that returns what it changed in place.
        return y + bias if torch.compiler.is_compiling() else y.add_(bias), mean, var

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, rstd = ctx.saved_tensors
        a = x.to(dy.dtype)
        sums, products = dy.sum(1), (dy * a).sum(1)
        products = (products - mean * sums) * rstd  # sums of dy x̂
        scale, slope = weight * rstd, products * rstd / x.shape[1]
        dx = (
            torch.addcmul((mean * slope - sums / x.shape[1])[:, None], a, -slope[:, None]).add_(dy).mul_(scale[:, None])
        )
        return dx.to(x.dtype), products.sum(0), sums.sum(0), None


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
def recompute_batch_norm(
    network: nn.Module, inputs: Iterable[Tensor | tuple[Tensor, Tensor]], carry: bool = False
) -> None:
    """Set the running statistics of every batch norm to their mean over ``inputs``, with dropout off.

    Args:
        network: has ``features(x, state, lengths)``, which calls each batch norm once.
        inputs: batches x (T, B, M), or pairs of x and lengths (B,) where batches are padded.
        carry: each batch goes on from the state after the one before it, instead of from zeros.

    Momentum averages lag behind the weights and have a heavy tail over long ReLU recurrences, so evaluation with
    them collapses on permuted MNIST (23% instead of 53% in one trial). Training data only are to be given here.
    Leaves the network in eval mode. Waits for no number of the device, unless batches are padded.
    """
    network.eval()
    norms = batch_norms(network)
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average over the batches
            norm.train()
        state = None
        by_batch = [norm for norm in norms if not isinstance(norm, FrameBatchNorm)]  # which counts by position
        for number, batch in enumerate(inputs if norms else (), 1):
            for norm in by_batch:
                norm.momentum = 1 / number  # what None comes to, for which torch reads its count and waits for a GPU
            x, lengths = batch if isinstance(batch, tuple) else (batch, None)
            _, end = network.features(x, state, lengths)
            state = end if carry else None
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def batch_norms(network: nn.Module) -> list[nn.Module]:
    """Those of a network, of all kinds."""
    return [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
