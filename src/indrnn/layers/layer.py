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

from indrnn.errors import UserError, above, at_least, positive
from indrnn.layers import convolution, few_passes
from indrnn.layers.norm_dropout import FrameBatchNorm, SharedMaskDropout, sequence_norm
from indrnn.layers.padding import blank, last_state, valid_steps
from indrnn.products import linear
from indrnn.recurrence import recurrence

ACTIVATIONS = ("relu", "leaky_relu", "tanh", "identity")  # of indrnn.recurrence
BATCH_NORM = ("before", "after", None)


def bound_of(gamma: float, seq_len: int) -> float:
    """γ^(1/T): with abs(u) at most this, the gain over T steps is at most γ (P18 Section 3.1).

    Raises:
        UserError: gamma is not above 0.
    """
    above(0, gamma=gamma)
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
        if activation not in ACTIVATIONS:
            raise UserError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}.")
        if activation == "leaky_relu":
            above(0, negative_slope=negative_slope)
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
        if lengths is None and few_passes.serve(self, z):
            return few_passes.run(self, z, None, None, h0)
        frame_wise = isinstance(self.norm, FrameBatchNorm)
        h0, start = (h0 or (None, 0)) if frame_wise else (h0, 0)
        valid = None if lengths is None else valid_steps(lengths, z)
        u, σ = self._used_u(), self.activation
        z = blank(z, valid)
        if self.batch_norm == "before":
            z = self.norm(z, valid, start)
        # A ReLU is silent in the padding. The others go on as without input; at abs(u) above 1 they may grow there.
        z = blank(z, valid, -math.inf if σ == "relu" else 0.0)
        h = recurrence(z, u, h0, σ, self.negative_slope, self.backend)  # h_t = σ(z_t + u ⊙ h_{t-1})
        self.show(h, lengths)
        last = last_state(h, h0, lengths)
        y = self.norm(h, valid, start) if self.batch_norm == "after" else h
        return blank(self.dropout(y), valid), (last, start + len(h)) if frame_wise else last

    def show(self, h: Tensor, lengths: Tensor | None = None) -> None:
        if self.watch is not None and lengths is None:
            self.watch(h.detach())

    def _used_u(self) -> Tensor:
        """u as the recurrence reads it: a subclass may bound it here."""
        return self.u

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as at the construction."""
        nn.init.uniform_(self.u, *self.u_range)
        if self.norm is not None:
            self.norm.reset_parameters()

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
        self.input_size, self.kernel_size, self.init_std = input_size, kernel_size, init_std
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, kernel_size * input_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size)) if bias else None
        init_weight_(self.weight_ih, init_std)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        init_weight_(self.weight_ih, self.init_std)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, h0: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """x (T, B, M), h0 (B, N) or the pair above, lengths (B,) -> outputs (T, B, N), the state after the last step.

        Raises:
            UserError: with kernel_size above 1, h0 is not such a pair.
        """
        if self.kernel_size > 1:
            x, h0, inputs = convolution.windows(x, h0, lengths, self.kernel_size)
        W, b = self.weight_ih, self.u.new_zeros(self.hidden_size) if self.bias is None else self.bias
        if lengths is None and few_passes.serve(self, x, W):
            y, h = few_passes.run(self, x, W, b, h0)
        else:
            if lengths is not None:  # what a NaN is multiplied with is a NaN, in the gradient of W, too
                x = blank(x, valid_steps(lengths, x))
            z = linear(x, W, b)  # W x_t + b, of all steps at once
            y, h = super().forward(z, h0, lengths)  # h_t = σ(z_t + u ⊙ h_{t-1})
        return y, h if self.kernel_size == 1 else (h, inputs)


def init_weight_(weight: Tensor, init_std: float | None) -> None:
    """Draw W; see IndRNNLayer."""
    if init_std is None:
        nn.init.kaiming_uniform_(weight, a=8)
    else:
        at_least(0, init_std=init_std)
        nn.init.normal_(weight, std=init_std)
