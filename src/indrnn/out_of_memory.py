"""Memory that was asked for and not there, in whatever words torch, CUDA, its libraries or numpy say it."""

import gc
import re

import torch

SAID = re.compile("out of memory|(can't|cannot|unable to) allocate|CU(DNN|BLAS)_STATUS_ALLOC_FAILED", re.I)
ASKED = re.compile(r"(?:tried|unable) to allocate ([\d.]+) (bytes|[KMGT]iB)", re.I)
GIB = {"bytes": 2.0**-30, "KiB": 2.0**-20, "MiB": 2.0**-10, "GiB": 1.0, "TiB": 2.0**10}


def out_of_memory(error: BaseException | None) -> BaseException | None:
    """The error of ``error`` and its causes that says that memory ran out; None where none does.

    A compiler wraps what it meets, so that the kind of the outer error says nothing.
    """
    if error is None:
        return None
    if inner := out_of_memory(error.__cause__ or getattr(error, "inner_exception", None)):
        return inner
    said = isinstance(error, RuntimeError | OSError) and SAID.search(str(error))
    return error if said or isinstance(error, torch.OutOfMemoryError | MemoryError) else None


def asked_gib(error: BaseException) -> float | None:
    """How many GiB were asked for when memory ran out; None where the message does not say it."""
    found = ASKED.search(str(error))
    return float(found[1]) * GIB[found[2]] if found else None


def size(gib: float) -> str:
    """A number of GiB in words: ``20 GiB``, ``512 MiB``, ``3 KiB``."""
    for unit in ("TiB", "GiB", "MiB"):
        if gib >= GIB[unit]:
            return f"{gib / GIB[unit]:.3g} {unit}"
    return f"{gib / GIB['KiB']:.3g} KiB"


def free() -> None:
    """Give back what nobody holds any more: for what comes next in this process, and for others on the same GPU."""
    torch.compiler.reset()  # CUDA graphs keep memory of their own
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def no_memory(error: Exception) -> tuple[str, dict[str, float]]:
    """What the memory ran out for, in words and as a metric, where it is that; any other error is raised again."""
    reason = out_of_memory(error)
    if reason is None:
        raise error
    asked = asked_gib(reason)
    if asked is None:
        return (str(reason).strip() or type(reason).__name__).splitlines()[0], {}
    return f"asked for {size(asked)}", {"memory/asked_gib": round(asked, 6)}
