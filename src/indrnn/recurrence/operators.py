"""The recurrence as two operators of torch, `indrnn::recurrence` and its backward, and what eager autograd calls.

An operator is what compilers, fake tensors, exported programs and functorch see as one node. In eager mode none of them
looks, and calling through the dispatcher twice takes longer than a small layer: there a plain autograd Function
calls the backend directly. Both have the same two derivatives.

Shapes: T time, B batch, N neurons; x, h and their gradients (T, B, N), u (N,), h0 (B, N) or None for zeros.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from indrnn.eager import is_eager, transforming
from indrnn.recurrence import onnx, reference, transformed
from indrnn.recurrence.choice import compute
from indrnn.recurrence.one_dtype import computed_in


def states(x: Tensor, u: Tensor, h0: Tensor | None, activation: str, negative_slope: float, backend: str) -> Tensor:
    if is_eager(x, u, h0):
        return _apply_states(x, u, h0, (activation, negative_slope, backend))
    if transforming():
        return transformed.states(x, u, h0, activation, negative_slope, backend)
    if onnx.exporting():
        return onnx.states(x, u, h0, activation, negative_slope)
    return torch.ops.indrnn.recurrence.default(x, u, h0, activation, negative_slope, backend)


def gradients(
    dh: Tensor, h: Tensor, u: Tensor, h0: Tensor | None, activation: str, negative_slope: float, backend: str,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """dx in ``dtype``, du and dh0 in the dtypes of u and h0; without h0, dh0 belongs to the zeros in its place."""
    options = activation, negative_slope, backend, dtype
    if not is_eager(dh, h, u, h0):
        return torch.ops.indrnn.recurrence_backward.default(dh, h, u, h0, *options)
    if torch.is_grad_enabled():
        return _Gradients.apply(dh, h, u, h0, options)
    return _compute_gradients(dh, h, u, h0, *options)


# The backend is chosen inside the operators, where torch.compile and fake tensors do not look.
def _compute_states(x, u, h0, activation, negative_slope, backend):
    return compute("forward", backend, (x, u, h0), activation, negative_slope)


def _compute_gradients(dh, h, u, h0, activation, negative_slope, backend, dtype=None):
    return compute("backward", backend, (dh, h, u, h0), activation, negative_slope, dtype)


def _fake_states(x, u, h0, activation, negative_slope, backend):
    return x.new_empty(x.shape, dtype=computed_in(x.dtype))


def _fake_gradients(dh, h, u, h0, activation, negative_slope, backend, dtype=None):
    dh0 = h.new_empty(h.shape[1:], dtype=h.dtype if h0 is None else h0.dtype)
    return h.new_empty(h.shape, dtype=dtype or h.dtype), u.new_empty(u.shape), dh0


def _save_states(ctx, inputs: tuple, output: Tensor) -> None:
    x, u, h0, *ctx.options = inputs
    ctx.dtype = x.dtype
    ctx.save_for_backward(output, u, h0)


def _differentiate(ctx, dh: Tensor) -> tuple[Tensor | None, ...]:
    h, u, h0 = ctx.saved_tensors
    dx, du, dh0 = gradients(dh, h, u, h0, *ctx.options, ctx.dtype)
    return dx, du, None if h0 is None else dh0, None, None, None


def _save_gradients(ctx, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
    dh, h, u, h0, *ctx.options, _ = inputs
    ctx.save_for_backward(dh, h, u, h0, output[0])


def _differentiate_gradients(ctx, *of_gradients: Tensor) -> tuple[Tensor | None, ...]:
    dh, h, u, h0, dz = ctx.saved_tensors
    activation, negative_slope, _ = ctx.options
    if dz.dtype != h.dtype:  # narrowed for x
        dz = gradients(dh, h, u, h0, *ctx.options)[0]
    gdx, gdu, gdh0 = (g.to(h.dtype) for g in of_gradients)
    first = reference.state_or_zeros(None if h0 is None else h0.to(h.dtype), h)
    tensors = gdx, gdu, gdh0, dh, h, u.to(h.dtype), first, dz
    gdh, gh, gu, gh0 = reference.second_backward(*tensors, activation, negative_slope)
    return gdh, gh, gu.to(u.dtype), None if h0 is None else gh0.to(h0.dtype), None, None, None, None


class _States(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, u, h0, options):
        activation, negative_slope, backend = options
        h = compute("forward", backend, (x, u, h0), activation, negative_slope)
        ctx.save_for_backward(h, u, h0)
        ctx.options, ctx.dtype = options, x.dtype
        return h

    @staticmethod
    def backward(ctx, dh):
        if torch.is_grad_enabled() or not is_eager(dh):
            return _differentiate(ctx, dh)[:4]
        h, u, h0 = ctx.saved_tensors
        activation, negative_slope, backend = ctx.options
        dx, du, dh0 = compute("backward", backend, (dh, h, u, h0), activation, negative_slope, ctx.dtype)
        return dx, du, None if h0 is None else dh0, None


# Function.apply without what it does for functorch, which is_eager has ruled out.
_apply_states = super(torch.autograd.Function, _States).apply


class _Gradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx, dh, h, u, h0, options):
        output = _compute_gradients(dh, h, u, h0, *options)
        _save_gradients(ctx, (dh, h, u, h0, *options), output)
        return output

    @staticmethod
    def backward(ctx, *of_gradients):
        return _differentiate_gradients(ctx, *of_gradients)[:5]


def register(schema: str, compute: Callable, fake: Callable, backward: Callable, save: Callable) -> None:
    """Make ``compute`` an operator for tensors on any device, with shapes alone from ``fake`` and a derivative.

    What torch.library.custom_op does, without its checks at every call.
    """
    name, parenthesis, rest = schema.partition("(")
    torch.library.define(name, parenthesis + rest, tags=torch.Tag.pt2_compliant_tag)
    torch.library.impl(name, "default", compute)
    torch.library.register_fake(name, fake)
    torch.library.register_autograd(name, backward, setup_context=save)


_OPTIONS = "str activation, float negative_slope, str backend"
register(
    f"indrnn::recurrence(Tensor x, Tensor u, Tensor? h0, {_OPTIONS}) -> Tensor",
    _compute_states, _fake_states, _differentiate, _save_states,
)  # fmt: skip
register(
    f"indrnn::recurrence_backward(Tensor dh, Tensor h, Tensor u, Tensor? h0, {_OPTIONS}, ScalarType? dtype=None)"
    " -> (Tensor, Tensor, Tensor)",
    _compute_gradients, _fake_gradients, _differentiate_gradients, _save_gradients,
)  # fmt: skip
