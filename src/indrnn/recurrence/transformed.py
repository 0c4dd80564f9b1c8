"""The recurrence for torch.func: grad, vmap, jvp and what is made of them, such as hessian, in any order.

Two Functions with ``setup_context``, the states and their gradients: the numbers come from the backends as always, and
vmap folds its dimension into the batch or, where u differs along it, into the neurons. In forward mode the reference
computes, step by step: torch loses the tangents of a Function's own tangents, so two jvp in each other would be wrong.

Shapes: T time, B batch, N neurons, V what vmap maps over; x, h and their gradients (T, B, N), u (N,), h0 (B, N).
"""

import torch
from torch import Tensor

from indrnn.eager import forward_mode
from indrnn.recurrence import reference
from indrnn.recurrence.choice import compute


def states(x: Tensor, u: Tensor, h0: Tensor | None, activation: str, negative_slope: float, backend: str) -> Tensor:
    if forward_mode():
        return compute("forward", "reference", (x, u, h0), activation, negative_slope)
    return _States.apply(x, u, reference.state_or_zeros(h0, x), (activation, negative_slope, backend))


class _States(torch.autograd.Function):
    @staticmethod
    def forward(x, u, h0, options):
        activation, negative_slope, backend = options
        return compute("forward", backend, (x, u, h0), activation, negative_slope)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, u, h0, ctx.options = inputs
        ctx.dtypes = x.dtype, u.dtype, h0.dtype
        ctx.save_for_backward(output, u, h0)

    @staticmethod
    def backward(ctx, dh):
        h, u, h0 = ctx.saved_tensors
        found = _Gradients.apply(dh, h, u.to(h.dtype), h0.to(h.dtype), ctx.options)
        return *(d.to(dtype) for d, dtype in zip(found, ctx.dtypes, strict=True)), None

    @staticmethod
    def vmap(info, in_dims, x, u, h0, options):
        fold = _Fold(info.batch_size, in_dims[1] is not None)
        h = _States.apply(fold(x, in_dims[0]), fold.neurons(u, in_dims[1]), fold(h0, in_dims[2]), options)
        return fold.back(h), 0


class _Gradients(torch.autograd.Function):
    """dx, du, dh0 of ``reference.backward``; every tensor in the dtype of h."""

    @staticmethod
    def forward(dh, h, u, h0, options):
        activation, negative_slope, backend = options
        return compute("backward", backend, (dh, h, u, h0), activation, negative_slope, None)

    @staticmethod
    def setup_context(ctx, inputs, output):
        dh, h, u, h0, ctx.options = inputs
        ctx.save_for_backward(dh, h, u, h0, output[0])

    @staticmethod
    def backward(ctx, *of_gradients):
        dh, h, u, h0, dz = ctx.saved_tensors
        activation, negative_slope, _ = ctx.options
        found = reference.second_backward(*of_gradients, dh, h, u, h0, dz, activation, negative_slope)
        return *found, None

    @staticmethod
    def vmap(info, in_dims, dh, h, u, h0, options):
        # du is one sum for each of V: neurons carry it, whether u differs or not
        fold = _Fold(info.batch_size, True)
        dims = in_dims[:2]
        folded = (fold(a, d) for a, d in zip((dh, h), dims, strict=True))
        dx, du, dh0 = _Gradients.apply(*folded, fold.neurons(u, in_dims[2]), fold(h0, in_dims[3]), options)
        return (fold.back(dx), du.unflatten(0, (info.batch_size, -1)), fold.back(dh0)), (0, 0, 0)


class _Fold:
    """V into the batch, (…, V·B, N), or into the neurons, (…, B, V·N), and back."""

    def __init__(self, size: int, into_neurons: bool):
        self.size, self.into_neurons = size, into_neurons

    def __call__(self, a: Tensor, dim: int | None) -> Tensor:
        """(…, B, N), with V at ``dim`` or the same for all of V."""
        a = a[None].expand(self.size, *a.shape) if dim is None else a.movedim(dim, 0)
        place = -2 if self.into_neurons else -3
        return a.movedim(0, place).flatten(place, place + 1)

    def neurons(self, u: Tensor, dim: int | None) -> Tensor:
        if not self.into_neurons:
            return u
        return (u[None].expand(self.size, *u.shape) if dim is None else u.movedim(dim, 0)).flatten()

    def back(self, a: Tensor) -> Tensor:
        """V first."""
        place = -1 if self.into_neurons else -2
        return a.unflatten(place, (self.size, -1)).movedim(place - 1, 0)
