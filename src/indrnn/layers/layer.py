"""The IndRNN layer, P18 Section 3 and P19 Section 3. Shapes: T time, B batch, M input, N neurons; time first.

A layer maps (T, B, M) and a state to the outputs of all steps (T, B, N) and the state after the last one (B, N).

``lengths`` (B,) says how many steps of each sequence there are; what comes after them is padding (``layers.padding``).
It changes neither outputs, states, statistics nor gradients; outputs there are 0, and the state is the one after the
last valid step (where there is none: the state given, or zeros).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from indrnn.errors import UserError, positive
from indrnn.layers.norm_dropout import FrameBatchNorm, SequenceBatchNorm, SharedMaskDropout, sequence_norm
from indrnn.layers.padding import at, blank, valid_steps
from indrnn.recurrence import batch_normed, recurrence

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
        positions: if given, batch norm is frame-wise with statistics of their own for so many steps (FrameBatchNorm).
            The state is then a pair: h, (B, N), and the number of steps since it was zeros.
        backend: of ``indrnn.recurrence.recurrence``.
        negative_slope: of leaky_relu.

    ``watch``, set from outside, is called with the states h of all steps, (T, B, N), before batch norm and dropout; not
    for padded batches.
    """

    watch: Callable[[Tensor], None] | None = None

    def __init__(
        self,
        hidden_size: int,
        bound: float,
        u_range: tuple[float, float],
        activation: str = "relu",
        batch_norm: str | None = None,
        dropout: float = 0.0,
        backend: str = "auto",
        positions: int | None = None,
        negative_slope: float = 0.01,
    ):
        super().__init__()
        positive(hidden_size=hidden_size)
        if batch_norm not in BATCH_NORM:
            raise UserError(f"batch_norm must be one of {BATCH_NORM}, not {batch_norm!r}.")
        self.hidden_size, self.bound, self.u_range = hidden_size, bound, u_range
        self.activation, self.batch_norm, self.backend = activation, batch_norm, backend
        self.negative_slope = negative_slope
        self.u = nn.Parameter(torch.empty(hidden_size))
        self.norm = sequence_norm(hidden_size, positions) if batch_norm else None
        self.dropout = SharedMaskDropout(dropout)
        nn.init.uniform_(self.u, *u_range)

    def forward(self, z: Tensor, h0: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """z (T, B, N), h0 (B, N) or the pair above, lengths (B,) -> outputs (T, B, N), the state after the last."""
        return self._run(z, None, None, h0, lengths)

    def _run(
        self, x: Tensor, W: Tensor | None, b: Tensor | None, h0: Any, lengths: Tensor | None
    ) -> tuple[Tensor, Any]:
        if not isinstance(self.norm, FrameBatchNorm):
            return self._run_from(0, x, W, b, h0, lengths)
        h0, start = (None, 0) if h0 is None else h0
        y, last = self._run_from(start, x, W, b, h0, lengths)
        return y, (last, start + len(x))

    def _run_from(
        self, start: int, x: Tensor, W: Tensor | None, b: Tensor | None, h0: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if lengths is not None:
            return self._run_padded(start, x, W, b, h0, lengths)
        u = self._used_u()
        if self._in_few_passes(x):
            scale = self.dropout.mask(x.shape[1], u)
            y, h, *statistics = batch_normed.normed_recurrence(
                x, W, b, u, h0, self.norm.weight, self.norm.bias, self.norm.eps, scale
            )
            self.norm.track_(*statistics, count=x.shape[0] * x.shape[1])
            self._show(h)
            return y, last_of(h)
        if self._alone_in_few_passes(x, W):
            h = batch_normed.layer(x, W, b, u, h0)
            self._show(h)
            return self.dropout(h), last_of(h)
        z = x if W is None else F.linear(x, W, b)
        if self.batch_norm == "before":
            z = self.norm(z, None, start)
        h = self._states(z, u, h0)
        self._show(h)
        last = last_of(h) if h.shape[0] else (torch.zeros_like(h.sum(0)) if h0 is None else h0)
        return self.dropout(self.norm(h, None, start) if self.batch_norm == "after" else h), last

    def _in_few_passes(self, x: Tensor) -> bool:
        """Whether ``batch_normed`` serves: ReLU, then batch norm that takes its statistics from this batch alone."""
        taken = self.batch_norm == "after" and self.norm.training and type(self.norm) is SequenceBatchNorm
        return taken and batch_normed.serves(x, self.activation, self.backend)

    def _alone_in_few_passes(self, x: Tensor, W: Tensor | None) -> bool:
        """Whether ``batch_normed`` serves: ReLU with input weights, no batch norm. Compiled, the parts are seen."""
        taken = self.batch_norm is None and W is not None and not torch.compiler.is_compiling()
        return taken and batch_normed.serves(x, self.activation, self.backend)

    def _run_padded(
        self, start: int, x: Tensor, W: Tensor | None, b: Tensor | None, h0: Tensor | None, lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        valid = valid_steps(lengths, x)
        x = blank(x, valid)  # before W: what a NaN is multiplied with is a NaN, in the gradient of W, too
        z = x if W is None else F.linear(x, W, b)
        if self.batch_norm == "before":
            z = self.norm(z, valid, start)
        # A ReLU is silent in the padding. The others go on as without input; at abs(u) above 1 they may grow there.
        z = blank(z, valid, -math.inf if self.activation == "relu" else 0.0)
        h = self._states(z, self._used_u(), h0)
        last = at(torch.cat([h.new_zeros(h[:1].shape) if h0 is None else h0[None], h]), lengths.long())
        y = self.norm(h, valid, start) if self.batch_norm == "after" else h
        return blank(self.dropout(y), valid), last

    def _states(self, z: Tensor, u: Tensor, h0: Tensor | None) -> Tensor:
        return recurrence(z, u, h0, self.activation, self.negative_slope, self.backend)

    def _show(self, h: Tensor) -> None:
        if self.watch is not None:
            self.watch(h.detach())

    def _used_u(self) -> Tensor:
        """u as the recurrence reads it: a subclass may bound it here."""
        return self.u

    @torch.no_grad()
    def constrain_(self) -> None:
        """Clip u to [-bound, bound]; both papers bound abs(u). To be called after every update."""
        self.u.clamp_(-self.bound, self.bound)

    def extra_repr(self) -> str:
        return f"{self.hidden_size}, {self.activation}, bound={self.bound:.6g}, batch_norm={self.batch_norm}"


class IndRNNLayer(IndRNNUnit):
    """h_t = σ(W x_t + u ⊙ h_{t-1} + b), P18 Eq. (2), with batch norm.

    With ``kernel_size`` k above 1, W is a causal convolution over time (P18 Section 4.1):
    h_t = σ(Σ_j W_j x_{t-j} + u ⊙ h_{t-1} + b) with j = 0 ... k-1, and no input before the start. Its state is a pair:
    h, (B, N), and the last k-1 inputs, (k-1, B, M), so that chunks in a row give what one long sequence gives.

    Args:
        input_size: M.
        init_std: W is drawn from N(0, init_std); if none, uniform within sqrt(6 / ((1 + 8²) k M)) (Kaiming with
            a = 8, as in the authors' PyTorch code). The bias starts at 0.
        kernel_size: k; ``weight_ih`` is (N, k M), with W_j in columns j M to (j + 1) M.
        bias: without it, b = 0.
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
        kernel_size: int = 1,
        bias: bool = True,
        positions: int | None = None,
        negative_slope: float = 0.01,
    ):
        common = (activation, batch_norm, dropout, backend, positions, negative_slope)
        super().__init__(hidden_size, bound, u_range, *common)
        positive(input_size=input_size, kernel_size=kernel_size)
        self.input_size, self.kernel_size = input_size, kernel_size
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, kernel_size * input_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size)) if bias else None
        init_weight_(self.weight_ih, init_std)

    def forward(self, x: Tensor, h0: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """x (T, B, M), h0 (B, N) or the pair above, lengths (B,) -> outputs (T, B, N), the state after the last step.

        Raises:
            UserError: with kernel_size above 1, h0 is not such a pair.
        """
        bias = self.u.new_zeros(self.hidden_size) if self.bias is None else self.bias
        if self.kernel_size == 1:
            return self._run(x, self.weight_ih, bias, h0, lengths)
        before = self.kernel_size - 1
        h0, tail = (None, x.new_zeros(before, *x.shape[1:])) if h0 is None else self._pair(h0, x)
        T, inputs = x.shape[0], torch.cat([tail, x])  # x_t is inputs[t + k - 1]
        windows = torch.cat([inputs[before - j : before - j + T] for j in range(self.kernel_size)], dim=2)
        y, h = self._run(windows, self.weight_ih, bias, h0, lengths)
        if lengths is None:
            return y, (h, inputs[T:])
        return y, (h, torch.stack([at(inputs, lengths.long() + i) for i in range(before)]))

    def _pair(self, state: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = (self.kernel_size - 1, *x.shape[1:])
        if not isinstance(state, tuple) or len(state) != 2 or state[1].shape != shape:
            raise UserError(f"With kernel_size {self.kernel_size}, a state is (h, the last inputs of shape {shape}).")
        return state


def last_of(h: Tensor) -> Tensor:
    """The state after the last step as a tensor of its own: who carries a view on h keeps all steps in memory."""
    return h[-1].clone()


def init_weight_(weight: Tensor, init_std: float | None) -> None:
    """Draw W; see IndRNNLayer."""
    if init_std is None:
        nn.init.kaiming_uniform_(weight, a=8)
    else:
        nn.init.normal_(weight, std=init_std)
