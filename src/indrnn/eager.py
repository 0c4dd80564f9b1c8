"""Whether torch computes a call as it is written, or somebody looks on who has to see functions that torch knows.

Compilers, exports, torch.func, forward mode, fake tensors and dispatch modes look on.
"""

import torch
from torch import Tensor
from torch.autograd import forward_ad

_PLAIN = {Tensor, torch.nn.Parameter, type(None)}


def is_eager(*tensors: Tensor | None) -> bool:
    """Whether these are plain tensors with numbers in them, and nothing traces or transforms the call."""
    return not (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack()
        or transforming()
        or torch._C._functorch.is_legacy_batchedtensor(tensors[0])  # torch.autograd.grad(..., is_grads_batched=True)
        or torch._C._get_tracing_state()
        or tensors[0].is_meta
        or not _PLAIN.issuperset(map(type, tensors))
    )


def transforming() -> bool:
    """Whether a transform of torch.func, or forward mode without one, is at work; no compiler looks then."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._are_functorch_transforms_active() or forward_mode()


def forward_mode() -> bool:
    return forward_ad._current_level >= 0
