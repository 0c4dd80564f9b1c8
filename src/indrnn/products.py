"""Products of float32 matrices on a CPU, by the faster of the two libraries that come with torch.

torch's own mm calls MKL, which keeps to vectors of 256 bits on processors that are not Intel's. oneDNN, which torch
calls for LSTMs, uses 512 where a processor has them: on an AMD with AVX-512 (a Zen 5) the same product, in full
float32, takes half the time. Elsewhere, for small products and for whatever else looks at them (torch.compile,
torch.func, autocast), they are torch's.

A processor always takes the same way for the same sizes. ``torch.backends.mkldnn.enabled = False`` leaves all to torch.
"""

import contextlib
import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from indrnn.eager import is_eager

LEAST = 1 << 21  # multiplications: below, asking oneDNN takes longer than it saves
NARROWEST = 32  # rows or columns


def library() -> str:
    """Whose products large matrices get in this process."""
    return "oneDNN" if _faster() and torch.backends.mkldnn.enabled else "torch"


def mm(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """a b of matrices, into ``out`` if there is one; not differentiable."""
    if not _served(a, b.shape[1]):
        return torch.mm(a, b, out=out)
    found = _onednn(a, b.t(), None)
    return found if out is None else out.copy_(found)


def addmm_(to: Tensor, a: Tensor, b: Tensor) -> None:
    """to += a b of matrices; not differentiable."""
    if _served(a, b.shape[1]):
        to += _onednn(a, b.t(), None)
    else:
        to.addmm_(a, b)


def linear(x: Tensor, W: Tensor, b: Tensor | None = None) -> Tensor:
    """W x + b of x (…, M), W (N, M), b (N,) -> (…, N): ``F.linear``, differentiable as often."""
    # Sizes are looked at last: an export would take the look for a limit.
    ours = is_eager(x, W, b) and not torch.is_autocast_enabled("cpu") and _served(x, len(W))
    return _Linear.apply(x, W, b) if ours else F.linear(x, W, b)


class Linear(nn.Linear):
    """``nn.Linear`` by ``linear``."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, W: Tensor, b: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, W)
        return _onednn(x, W, b)

    @staticmethod
    def backward(ctx, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, W = ctx.saved_tensors
        of_x, of_W, of_b = ctx.needs_input_grad
        rows, dy_rows = (a.reshape(-1, a.shape[-1]) for a in (x, dy))  # autograd's own vmap knows no flatten
        dx = linear(dy_rows, W.t()).reshape(x.shape) if of_x else None
        dW = linear(dy_rows.t(), rows.t()) if of_W else None
        return dx, dW, dy_rows.sum(0) if of_b else None


def _onednn(x: Tensor, W: Tensor, b: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise.default(x, W, b, "none", [], "")


def _served(x: Tensor, N: int) -> bool:
    """Whether oneDNN multiplies x (…, M) with something of N columns."""
    M = x.shape[-1]
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() * N >= LEAST
        and min(M, N, x.numel() // M) >= NARROWEST
        and _faster()
        and torch.backends.mkldnn.enabled
    )


@functools.cache
def _faster() -> bool:
    """Whether this machine is one where oneDNN is faster, and gives the same up to rounding."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or _vendor() != "AuthenticAMD":
        return False
    a, b = torch.linspace(-1, 1, 3 * 64).view(3, 64).sin(), torch.linspace(-2, 2, 64 * 5).view(64, 5).cos()
    try:
        return torch.allclose(_onednn(a, b.t(), None), a @ b, atol=1e-4)
    except (AttributeError, RuntimeError):  # a torch without oneDNN, or with another signature: the operator is its own
        return False


def _vendor() -> str:
    """Of the processor, as it calls itself; nothing where nobody says."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("vendor_id")), "")
    return ""
