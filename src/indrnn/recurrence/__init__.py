"""h_t = σ(x_t + u ⊙ h_{t-1}): one function, several backends that compute the same.

Shapes: T time, B batch, N neurons; x, h and their gradients (T, B, N), u (N,), h0 (B, N).

A backend is a module of this folder with four functions: `forward`, `backward`, `serves` (does it compute
this at all) and `missing` (what a device lacks for it). It is handed checked tensors, by way of `one_dtype.py` of
float32 or float64 alone, and h0 or None. `choice.py` chooses one; `operators.py` is what autograd and compilers see.
"""

import math
from types import ModuleType

import torch
from torch import Tensor

from indrnn.recurrence.choice import BACKENDS
from indrnn.recurrence.operators import states

__all__ = ["available_backends", "recurrence"]

_SINGLE, _DOUBLE = (torch.float32, torch.bfloat16, torch.float16), (torch.float64,)
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
    _check_tensors(x, u, h0)
    _check_options(activation, negative_slope, backend)
    return states(x, u, h0, activation, float(negative_slope), backend)


def available_backends(device_type: str | None = None) -> tuple[str, ...]:
    """Names of the backends that run here on tensors of ``device_type`` ("cpu", "cuda"), or of either if omitted.

    The first call may compile.
    """
    here = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    devices = [torch.device(name) for name in (here if device_type is None else [device_type])]
    return tuple(name for name, module in BACKENDS.items() if any(_runs(module, device) for device in devices))


def _runs(module: ModuleType, device: torch.device) -> bool:
    return module.serves(device.type, "relu") and module.missing("relu", torch.float32, device) is None


def _check_tensors(x: Tensor, u: Tensor, h0: Tensor | None) -> None:
    if not isinstance(x, Tensor) or x.dim() != 3:
        raise ValueError(f"x: expected a tensor of shape (T, B, N), got {_describe(x)}")
    _, B, N = x.shape
    if not isinstance(u, Tensor) or u.shape != (N,):
        raise ValueError(f"u: expected a tensor of shape (N,) = ({N},), got {_describe(u)}")
    if h0 is not None and (not isinstance(h0, Tensor) or h0.shape != (B, N)):
        raise ValueError(f"h0: expected a tensor of shape (B, N) = ({B}, {N}), got {_describe(h0)}")

    double = x.dtype == torch.float64
    allowed = _DOUBLE if double else _SINGLE
    for name, a in (("x", x), ("u", u)) if h0 is None else (("x", x), ("u", u), ("h0", h0)):
        if a.dtype not in allowed:
            what = "float64 like x" if double else "float32, bfloat16 or float16 (or float64 for all)"
            raise ValueError(f"{name}: expected {what}, got {a.dtype}")
        if a.device != x.device:
            raise ValueError(f"{name}: expected to be on {x.device} like x, got {a.device}")


def _describe(a: object) -> str:
    return f"shape {tuple(a.shape)}" if isinstance(a, Tensor) else type(a).__name__


def _check_options(activation: str, negative_slope: float, backend: str) -> None:
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(_ACTIVATIONS)}, got {activation!r}")
    if activation == "leaky_relu" and not 0 < negative_slope < math.inf:
        raise ValueError(f"negative_slope: expected a finite number > 0 for leaky_relu, got {negative_slope}")
    if backend != "auto" and backend not in BACKENDS:
        raise ValueError(f"backend: expected auto or one of {', '.join(BACKENDS)}, got {backend!r}")
