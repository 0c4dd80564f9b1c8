"""A ReLU layer, then batch norm over batch and time, then a dropout mask: one function, for speed alone.

    h_t = relu(W x_t + b + u ⊙ h_{t-1}),   y = scale ⊙ (weight (h - mean) / sqrt(var + eps) + bias)

with mean and biased variance of each neuron over all steps and sequences. The layer computes the same from its parts
wherever ``serves`` says no, and the tests hold the two against each other.

Shapes: T time, B batch, M input, N neurons; x (T, B, M), h, y (T, B, N), u, weight, bias, mean, var (N,), h0, scale
(B, N).
"""

import functools

import torch
from torch import Tensor

from indrnn.recurrence import cpu_batch_normed
from indrnn.recurrence.operators import gradients as recurrence_gradients
from indrnn.recurrence.operators import register


def serves(x: Tensor, activation: str, backend: str) -> bool:
    """Whether ``normed_recurrence`` computes this on this machine."""
    return (
        activation == "relu"
        and backend in ("auto", "cpu")
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and x.dim() == 3
        and x.shape[0] * x.shape[1] > 1
        and _compiles(x.dtype)
    )


@torch.compiler.assume_constant_result  # torch.compile must not look into another compiler
def _compiles(dtype: torch.dtype) -> bool:
    return _missing(dtype) is None  # where numba fails, the plain recurrence says so


_missing = functools.cache(cpu_batch_normed.missing)


def normed_recurrence(
    x: Tensor, W: Tensor | None, b: Tensor | None, u: Tensor, h0: Tensor | None,
    weight: Tensor, bias: Tensor, eps: float, scale: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """-> y, h, mean, var as above; differentiable twice in all but ``scale``, through y and h.

    Args:
        x: (T, B, M) with W (N, M) and b (N,); (T, B, N) where both are None.
        u, h0: as for ``recurrence``, all of one dtype.
        weight, bias, eps: of the batch norm.
        scale: dropout mask divided by 1 - p; ones if omitted.
    """
    h0 = _first_state(x, u, h0)
    scale = torch.ones_like(h0) if scale is None else scale
    return torch.ops.indrnn.normed_recurrence.default(x, W, b, u, h0, weight, bias, eps, scale)


def layer(x: Tensor, W: Tensor, b: Tensor, u: Tensor, h0: Tensor | None) -> Tensor:
    """-> h of the above, without batch norm and mask; differentiable twice."""
    h0 = _first_state(x, u, h0)
    return torch.ops.indrnn.normed_recurrence.default(x, W, b, u, h0, None, None, 0.0, torch.ones_like(h0))[1]


def _first_state(x: Tensor, u: Tensor, h0: Tensor | None) -> Tensor:
    """h0, or zeros; ValueError where its shape or dtype does not fit, as in ``recurrence``."""
    shape = (x.shape[1], len(u))
    if h0 is None:
        return x.new_zeros(shape)
    if h0.shape != shape:
        raise ValueError(f"h0: expected a tensor of shape (B, N) = {shape}, got shape {tuple(h0.shape)}")
    if h0.dtype != x.dtype and torch.float64 in (h0.dtype, x.dtype):
        raise ValueError(f"h0: expected {x.dtype} like x, got {h0.dtype}")
    return h0.to(x.dtype)


def _fake_forward(x, W, b, u, h0, weight, bias, eps, scale):
    states = x.new_empty(len(x), *h0.shape)
    if weight is None:
        return x.new_empty(0), states, x.new_empty(0), x.new_empty(0)
    return states, torch.empty_like(states), torch.empty_like(u), torch.empty_like(u)


def _fake_backward(dy, x, W, h, u, h0, weight, mean, var, eps, scale):
    dW = x.new_empty(0, 0) if W is None else torch.empty_like(W)
    of_norm = x.new_empty(0) if weight is None else weight
    return x.new_empty(x.shape), dW, *(torch.empty_like(a) for a in (u, u, h0, of_norm, of_norm))


def _save_for_backward(ctx, inputs, output):
    x, W, _, u, h0, weight, _, ctx.eps, scale = inputs
    _, h, mean, var = output
    ctx.mark_non_differentiable(mean, var)
    ctx.set_materialize_grads(False)  # h is rarely asked for, and zeros in its place would cost a pass
    ctx.save_for_backward(x, W, h, u, h0, weight, mean, var, scale)


def _differentiate(ctx, dy, dh, *_):
    x, W, h, u, h0, weight, mean, var, scale = ctx.saved_tensors
    if (dh is None and dy is not None) or weight is None:
        dy = dh if weight is None else dy
        given = dy, x, W, h, u, h0, weight, mean, var, ctx.eps, scale
        dx, dW, db, du, dh0, dweight, dbias = torch.ops.indrnn.normed_recurrence_backward.default(*given)
    else:  # somebody asked for the states, too
        dx, dW, db, du, dh0, dweight, dbias = _step_by_step(dy, dh, x, W, h, u, h0, weight, ctx.eps, scale)
    if W is None:
        dW = db = None
    if weight is None:
        dweight = dbias = None
    return dx, dW, db, du, dh0, dweight, dbias, None, None


def _step_by_step(dy, dh, x, W, h, u, h0, weight, eps, scale):
    """The gradients of all inputs from those of y and h, one of which may be None, in functions that autograd knows."""
    dweight = dbias = None
    if dy is not None:
        r = (h.var((0, 1), unbiased=False) + eps).rsqrt()
        standard = (h - h.mean((0, 1))) * r
        g = dy * scale
        dweight, dbias = (g * standard).sum((0, 1)), g.sum((0, 1))
        through_norm = weight * r * (g - g.mean((0, 1)) - standard * (g * standard).mean((0, 1)))
        dh = through_norm if dh is None else dh + through_norm
    dz, du, dh0 = recurrence_gradients(dh, h, u, h0, "relu", 0.0, "auto")
    if W is None:
        return dz, None, None, du, dh0, dweight, dbias
    return dz @ W, dz.flatten(0, 1).t() @ x.flatten(0, 1), dz.sum((0, 1)), du, dh0, dweight, dbias


def _save_for_second_backward(ctx, inputs, output):
    dy, x, W, h, u, h0, weight, _, _, ctx.eps, scale = inputs
    ctx.save_for_backward(dy, x, W, h, u, h0, weight, scale)


def _differentiate_backward(ctx, *gradients):
    *tensors, scale = ctx.saved_tensors
    with torch.enable_grad():
        inputs = [None if a is None else a.detach().requires_grad_() for a in tensors]
        dy, x, W, h, u, h0, weight = inputs
        of_y_and_h = (None, dy) if weight is None else (dy, None)
        outputs = _step_by_step(*of_y_and_h, x, W, h, u, h0, weight, ctx.eps, scale)
        outputs, gradients = zip(
            *((a, g) for a, g in zip(outputs, gradients, strict=True) if a is not None), strict=True
        )
        given = [a for a in inputs if a is not None]
        found = iter(torch.autograd.grad(outputs, given, gradients, allow_unused=True))
    dy, x, W, h, u, h0, weight = (None if a is None else next(found) for a in inputs)
    return dy, x, W, h, u, h0, weight, None, None, None, None


register(
    "indrnn::normed_recurrence(Tensor x, Tensor? W, Tensor? b, Tensor u, Tensor h0, "
    "Tensor? weight, Tensor? bias, float eps, Tensor scale) -> (Tensor, Tensor, Tensor, Tensor)",
    cpu_batch_normed.forward, _fake_forward, _differentiate, _save_for_backward,
)  # fmt: skip
register(
    "indrnn::normed_recurrence_backward(Tensor dy, Tensor x, Tensor? W, Tensor h, Tensor u, Tensor h0, "
    "Tensor? weight, Tensor mean, Tensor var, float eps, Tensor scale)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    cpu_batch_normed.backward, _fake_backward, _differentiate_backward, _save_for_second_backward,
)  # fmt: skip
