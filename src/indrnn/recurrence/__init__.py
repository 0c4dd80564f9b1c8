"""h_t = σ(x_t + u ⊙ h_{t-1}): one function, several backends that compute the same.

Shapes: T time, B batch, N neurons; x, h and their gradients (T, B, N), u (N,), h0 (B, N).

A backend is a module of this folder with four functions: `forward`, `backward`, `serves` (does it compute
this at all) and `missing` (what a device lacks for it). It is handed checked tensors of one dtype, either
float32 or float64.
"""

import functools
import math
import warnings
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from indrnn.out_of_memory import out_of_memory
from indrnn.recurrence import cpu, reference, scan, walk

__all__ = ["available_backends", "recurrence"]

_BACKENDS = {"cpu": cpu, "triton": walk, "scan": scan, "reference": reference}
# Where a GPU scans instead of walking from step to step: long sequences in few columns (b, n). A walk has as many lanes
# as columns and a GPU wants 100,000 of them, but it reads x once and the scan twice. An estimate.
SCAN_FROM_STEPS = 2048
SCAN_UP_TO_COLUMNS = 16384
_failed: set[str] = set()  # backends that "auto" leaves alone in this process
_ACTIVATIONS = ("relu", "leaky_relu", "tanh", "identity")


def recurrence(
    x: Tensor,
    u: Tensor,
    h0: Tensor | None = None,
    activation: str = "relu",
    negative_slope: float = 0.01,
    backend: str = "auto",
) -> Tensor:
    """Run N independent neurons through time.

        h_t = σ(x_t + u ⊙ h_{t-1}),   t = 1 … T

    Arguments:
        x: pre-activations W x_t + b, (T, B, N), T = 0 allowed, any strides.
        u: recurrent weights, one per neuron, (N,); not bounded here.
        h0: state before the first step, (B, N); zeros if omitted.
        activation: "relu", "leaky_relu", "tanh" or "identity".
        negative_slope: slope of leaky_relu below zero, > 0 so that σ' follows from h; the others ignore it.
        backend: a name from `available_backends()`, or "auto" for the fastest one that serves (on a GPU an estimate).

    Returns h, the states of all steps, (T, B, N), contiguous; the last state is h[-1].

    float64 is computed in float64. float32, bfloat16 and float16 may be mixed, as autocast does, and are
    computed and returned in float32: bfloat16 has no number between 0.996 and 1, where long memories live.

    Differentiable twice in x, u, h0; saves only h. A gradient of u has the same bits every time.

    Raises ValueError for shapes, dtypes, devices or names that do not fit, and for a named backend that
    cannot compute this here. Where "auto" passes over a backend because something is missing or fails, it warns once.

    Source: P18 (arXiv 1803.04831) Eq. (2); the product W x_t + b is left to the caller.
    """
    x, u, h0 = _checked(x, u, h0)
    _check_options(activation, negative_slope, backend)
    return _states(x, u, h0, activation, float(negative_slope), backend)


def available_backends(device_type: str | None = None) -> tuple[str, ...]:
    """Names of the backends that run here on tensors of ``device_type`` ("cpu", "cuda"), or of either if omitted.

    The first call may compile.
    """
    here = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    devices = [torch.device(name) for name in (here if device_type is None else [device_type])]
    return tuple(name for name, module in _BACKENDS.items() if any(_runs(module, device) for device in devices))


def _runs(module: ModuleType, device: torch.device) -> bool:
    return module.serves(device.type, "relu") and module.missing("relu", torch.float32, device) is None


def _checked(x: Tensor, u: Tensor, h0: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    if not isinstance(x, Tensor) or x.dim() != 3:
        raise ValueError(f"x: expected a tensor of shape (T, B, N), got {_describe(x)}")
    _, B, N = x.shape
    if not isinstance(u, Tensor) or u.shape != (N,):
        raise ValueError(f"u: expected a tensor of shape (N,) = ({N},), got {_describe(u)}")
    if h0 is None:
        h0 = x.new_zeros(B, N)
    elif not isinstance(h0, Tensor) or h0.shape != (B, N):
        raise ValueError(f"h0: expected a tensor of shape (B, N) = ({B}, {N}), got {_describe(h0)}")

    double = x.dtype == torch.float64
    allowed = (torch.float64,) if double else (torch.float32, torch.bfloat16, torch.float16)
    for name, a in (("x", x), ("u", u), ("h0", h0)):
        if a.dtype not in allowed:
            what = "float64 like x" if double else "float32, bfloat16 or float16 (or float64 for all)"
            raise ValueError(f"{name}: expected {what}, got {a.dtype}")
        if a.device != x.device:
            raise ValueError(f"{name}: expected to be on {x.device} like x, got {a.device}")
    return (x, u, h0) if double else (x.float(), u.float(), h0.float())


def _describe(a: object) -> str:
    return f"shape {tuple(a.shape)}" if isinstance(a, Tensor) else type(a).__name__


def _check_options(activation: str, negative_slope: float, backend: str) -> None:
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(_ACTIVATIONS)}, got {activation!r}")
    if activation == "leaky_relu" and not 0 < negative_slope < math.inf:
        raise ValueError(f"negative_slope: expected a finite number > 0 for leaky_relu, got {negative_slope}")
    if backend != "auto" and backend not in _BACKENDS:
        raise ValueError(f"backend: expected auto or one of {', '.join(_BACKENDS)}, got {backend!r}")


def _compute(step: str, backend: str, activation: str, *tensors: Tensor, slope: float) -> Any:
    """`forward` or `backward` of the chosen backend for ``tensors``, the first of them (T, B, N).

    Triton compiles again for sizes of another kind: what ran in the trial can fail here. "auto" then warns once and
    leaves that backend alone from there on.
    """
    T, B, N = tensors[0].shape
    device, dtype = tensors[0].device, tensors[0].dtype
    module = _choose(_candidates(backend, device.type, T, B * N), device, activation, dtype)
    try:
        return getattr(module, step)(*tensors, activation, slope)
    except Exception as error:
        if backend != "auto" or module is reference or out_of_memory(error):
            raise
        name = next(name for name, other in _BACKENDS.items() if other is module)
        _failed.add(name)
        _warn_about(name, f"{type(error).__name__} at T = {T}, B = {B}, N = {N}: {error}")
    return _compute(step, backend, activation, *tensors, slope=slope)


def _candidates(backend: str, device_type: str, T: int, columns: int) -> tuple[str, ...]:
    """The backends to try: "auto" takes the first that serves and has not failed before."""
    if backend != "auto":
        return (backend,)
    names = ("cpu", "reference")
    if device_type == "cuda":
        scan_first = T >= SCAN_FROM_STEPS and columns <= SCAN_UP_TO_COLUMNS
        names = ("scan", "triton", "reference") if scan_first else ("triton", "scan", "reference")
    return tuple(name for name in names if name not in _failed)


@functools.cache
def _choose(names: tuple[str, ...], device: torch.device, activation: str, dtype: torch.dtype) -> ModuleType:
    for name in names:
        module = _BACKENDS[name]
        if not module.serves(device.type, activation):
            reason = f"it does not compute {activation} on {device.type} tensors"
        elif (reason := module.missing(activation, dtype, device)) is None:
            return module
        elif len(names) > 1:
            _warn_about(name, reason)
    raise ValueError(f"backend: {names[0]!r} was asked for, but {reason}")


@functools.cache
def _warn_about(name: str, reason: str) -> None:
    message = f"indrnn: recurrence backend {name!r} cannot run here ({reason}); a slower one takes over"
    warnings.warn(message, RuntimeWarning, stacklevel=2)


# The backend is chosen inside the operators, where torch.compile and fake tensors do not look.
@torch.library.custom_op("indrnn::recurrence", mutates_args=())
def _states(x: Tensor, u: Tensor, h0: Tensor, activation: str, negative_slope: float, backend: str) -> Tensor:
    return _compute("forward", backend, activation, x, u, h0, slope=negative_slope)


@torch.library.custom_op("indrnn::recurrence_backward", mutates_args=())
def _backward(
    dh: Tensor, h: Tensor, u: Tensor, h0: Tensor, activation: str, negative_slope: float, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    return _compute("backward", backend, activation, dh, h, u, h0, slope=negative_slope)


@_states.register_fake
def _(x, u, h0, activation, negative_slope, backend):
    return x.new_empty(x.shape)


@_backward.register_fake
def _(dh, h, u, h0, activation, negative_slope, backend):
    return h.new_empty(h.shape), u.new_empty(u.shape), h0.new_empty(h0.shape)


def _save_for_backward(ctx, inputs, output):
    _, u, h0, *ctx.options = inputs
    ctx.save_for_backward(output, u, h0)


def _differentiate(ctx, dh):
    dx, du, dh0 = _backward(dh, *ctx.saved_tensors, *ctx.options)
    return dx, du, dh0, None, None, None


def _save_for_second_backward(ctx, inputs, output):
    dh, h, u, h0, ctx.activation, ctx.negative_slope, _ = inputs
    ctx.save_for_backward(dh, h, u, h0, output[0])


def _differentiate_backward(ctx, gdx, gdu, gdh0):
    grads = reference.second_backward(gdx, gdu, gdh0, *ctx.saved_tensors, ctx.activation, ctx.negative_slope)
    return *grads, None, None, None


_states.register_autograd(_differentiate, setup_context=_save_for_backward)
_backward.register_autograd(_differentiate_backward, setup_context=_save_for_second_backward)
