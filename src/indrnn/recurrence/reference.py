"""The recurrence by its definition, one step of time after the other: P18 Eq. (2) after the input weights.

    h_t = σ(x_t + u ⊙ h_{t-1}),   t = 1 … T

Every other backend is tested against this file. `forward` is differentiable by autograd to any order;
`backward` and `second_backward` write the first two derivatives out, so that no backend saves more than h.

Shapes: T time, B batch, N neurons; x, h and their gradients (T, B, N), u (N,), h0 (B, N), None for zeros.
"""

import torch
from torch import Tensor


def serves(device_type: str, activation: str) -> bool:
    return True


def missing(activation: str, dtype: torch.dtype, device: torch.device) -> None:
    return None


def forward(x: Tensor, u: Tensor, h0: Tensor | None, activation: str, negative_slope: float) -> Tensor:
    h0 = state_or_zeros(h0, x)
    h, steps = h0, []
    for x_t in x.unbind(0):
        h = activate(x_t + u * h, activation, negative_slope)
        steps.append(h)
    # With T = 0 the sum below is empty, and still a function of x, u and h0 to autograd.
    return torch.stack(steps) if steps else activate(x + u * h0, activation, negative_slope)


def backward(
    dh: Tensor, h: Tensor, u: Tensor, h0: Tensor | None, activation: str, negative_slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    """dz_t = σ'_t ⊙ (dh_t + u ⊙ dz_{t+1}); returns dx = dz, du = Σ dz_t ⊙ h_{t-1}, dh0 = u ⊙ dz_1."""
    h0 = state_or_zeros(h0, h)
    dz, du = torch.zeros_like(h0), torch.zeros_like(h0)
    dx = torch.empty_like(h)
    for t in reversed(range(len(h))):
        dz = pull_back(dh[t] + u * dz, h[t], activation, negative_slope)
        dx[t] = dz
        du = du + dz * (h[t - 1] if t > 0 else h0)
    return dx, du.sum(0), u * dz


def second_backward(
    gdx: Tensor, gdu: Tensor, gdh0: Tensor,
    dh: Tensor, h: Tensor, u: Tensor, h0: Tensor, dz: Tensor,
    activation: str, negative_slope: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of dh, h, u, h0 from those of what `backward` returned; differentiable by autograd.

    The adjoint of dz runs forward in time: q_t = σ'_t ⊙ (gdx_t + gdu ⊙ h_{t-1} + u ⊙ q_{t-1}), q_0 = gdh0.
    """
    v = gdx + gdu * _earlier(h, h0)
    q, steps = gdh0, []
    for v_t, h_t in zip(v.unbind(0), h.unbind(0), strict=True):
        q = pull_back(v_t + u * q, h_t, activation, negative_slope)
        steps.append(q)
    q = torch.stack(steps) if steps else v
    q_before = _earlier(q, gdh0)

    gu = (q_before * dz).sum((0, 1))
    through_du = gdu * dz
    gh, gh0 = _later(through_du), through_du[:1].sum(0)
    if activation == "tanh":  # the only σ' that changes with h: (1 - h²)' = -2h
        gh = gh - 2 * h * (v + u * q_before) * (dh + u * _later(dz))
    return q, gh, gu, gh0


def state_or_zeros(h0: Tensor | None, like: Tensor) -> Tensor:
    return like.new_zeros(like.shape[1:]) if h0 is None else h0


def activate(z: Tensor, activation: str, negative_slope: float) -> Tensor:
    if activation == "relu":
        return torch.relu(z)
    if activation == "leaky_relu":
        return torch.nn.functional.leaky_relu(z, negative_slope)
    if activation == "tanh":
        return torch.tanh(z)
    return z


def pull_back(g: Tensor, h: Tensor, activation: str, negative_slope: float) -> Tensor:
    """σ'(z) ⊙ g with h = σ(z). Selected, not multiplied: a dead ReLU stops even an infinite gradient."""
    if activation == "relu":
        return g.masked_fill(h <= 0, 0)
    if activation == "leaky_relu":
        return torch.where(h > 0, g, negative_slope * g)
    if activation == "tanh":
        return g * (1 - h * h)
    return g


def _earlier(a: Tensor, first: Tensor) -> Tensor:
    """a_{t-1} at t, with `first` at t = 1."""
    return torch.cat([first[None], a])[: len(a)]


def _later(a: Tensor) -> Tensor:
    """a_{t+1} at t, with zeros at t = T."""
    return torch.cat([a, torch.zeros_like(a[:1])])[1:]
