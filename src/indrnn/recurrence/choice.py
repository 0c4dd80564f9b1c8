"""Which backend computes: the one that was named, or the first that serves and has not failed before.

Shapes: T time, B batch, N neurons.
"""

import functools
import warnings
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from indrnn.out_of_memory import out_of_memory
from indrnn.recurrence import cpu, one_dtype, reference, scan, walk
from indrnn.recurrence.launches import settings
from indrnn.recurrence.one_dtype import computed_in

BACKENDS = {"cpu": cpu, "triton": walk, "scan": scan, "reference": reference}
IN_ONE_DTYPE = (cpu, reference)  # what one_dtype has to stand in front of
failed: set[str] = set()  # backends that "auto" leaves alone in this process
replaced: set[str] = set()  # these and those that cannot run here at all: a slower one computed in their place


def compute(step: str, backend: str, tensors: tuple[Tensor | None, ...], activation: str, *settings: Any) -> Any:
    """`forward` or `backward` of the chosen backend for ``tensors``, the first of them (T, B, N).

    Triton compiles again for sizes of another kind: what ran in the trial can fail here. "auto" then warns once and
    leaves that backend alone from there on.
    """
    first = tensors[0]
    scan_first = first.is_cuda and scan_is_faster(first)
    module = choose(backend, first.device, activation, first.dtype, scan_first)
    try:
        if module in IN_ONE_DTYPE:
            return getattr(one_dtype, step)(getattr(module, step), *tensors, activation, *settings)
        return getattr(module, step)(*tensors, activation, *settings)
    except Exception as error:
        if backend != "auto" or module is reference or out_of_memory(error):
            raise
        name = next(name for name, other in BACKENDS.items() if other is module)
        failed.add(name)
        replaced.add(name)
        choose.cache_clear()
        T, B, N = first.shape
        warn_about(name, f"{type(error).__name__} at T = {T}, B = {B}, N = {N}: {error}")
    return compute(step, backend, tensors, activation, *settings)


def scan_is_faster(x: Tensor) -> bool:
    """On a GPU, by the table."""
    T, B, N = x.shape
    where = settings("scan", x.device, x.itemsize, T, B * N)
    return T >= where["from_steps"] and B * N <= where["up_to_columns"]


@functools.cache
def choose(backend: str, device: torch.device, activation: str, dtype: torch.dtype, scan_first: bool) -> ModuleType:
    return first_that_runs(candidates(backend, device.type, scan_first), device, activation, computed_in(dtype))


def candidates(backend: str, device_type: str, scan_first: bool) -> tuple[str, ...]:
    """The backends to try: "auto" takes the first that serves and has not failed before."""
    if backend != "auto":
        return (backend,)
    names = ("cpu", "reference")
    if device_type == "cuda":
        names = ("scan", "triton", "reference") if scan_first else ("triton", "scan", "reference")
    return tuple(name for name in names if name not in failed)


@functools.cache
def first_that_runs(names: tuple[str, ...], device: torch.device, activation: str, dtype: torch.dtype) -> ModuleType:
    for name in names:
        module = BACKENDS[name]
        if not module.serves(device.type, activation):
            reason = f"it does not compute {activation} on {device.type} tensors"
        elif (reason := module.missing(activation, dtype, device)) is None:
            return module
        elif len(names) > 1:
            replaced.add(name)
            warn_about(name, reason)
    raise ValueError(f"backend: {names[0]!r} was asked for, but {reason}")


@functools.cache
def warn_about(name: str, reason: str) -> None:
    message = f"indrnn: recurrence backend {name!r} cannot run here ({reason}); a slower one takes over"
    warnings.warn(message, RuntimeWarning, stacklevel=2)
