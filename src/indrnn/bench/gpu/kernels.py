"""How times are taken on a GPU, and how fast the recurrence is there: as a fraction of the bandwidth of a copy.

Shapes: T time, B batch, N neurons; x, h and their gradients (T, B, N), u (N,), h0 (B, N). Times in ms.
"""

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from indrnn import configs
from indrnn.bench.cpu.layers import best
from indrnn.bench.gpu.sizes import Sizes
from indrnn.errors import UserError
from indrnn.machine import matrix_products
from indrnn.recurrence import recurrence
from indrnn.tables import schema

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}  # of x and dx; h and dh are float32
PASSES = ("forward", "backward")
WARM_UP = 3
FLUSH = 2**31  # bytes; writing them takes a GPU longer than Python takes to launch what is timed
SLOPE = 0.01


def device_ms(call: Callable[[], Any], device: torch.device, rounds: int, flush: bool = True) -> float:
    """The median time of a call between two CUDA events, after calls that do not count; on a CPU the least time.

    Args:
        rounds: calls that count.
        flush: overwrite the L2 cache before every call, as triton.testing.do_bench does, but with more bytes: while
            they are written Python gets ahead, so that a gap before the first kernel is not counted. Without it, calls
            follow each other as in training, and gaps count.
    """
    if device.type != "cuda":
        return best({"": call}, rounds)[""]
    cold = torch.empty(FLUSH if flush else 0, dtype=torch.int8, device=device)
    for _ in range(WARM_UP):
        call()
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(rounds)]
    for start, end in events:
        cold.zero_()
        start.record()
        call()
        end.record()
    torch.cuda.synchronize(device)
    return statistics.median(start.elapsed_time(end) for start, end in events)


def attempt(row: dict[str, Any], measure: Callable[[], dict[str, Any]], until: float = math.inf) -> dict[str, Any]:
    """The row with what ``measure`` gives, or with the reason under ``skipped``: one failure must not cost the rest.

    Args:
        until: of time.monotonic(); later than that nothing is begun.
    """
    if time.monotonic() > until:
        return row | {"skipped": "not begun: the time was over"}
    try:
        return row | measure()
    except torch.OutOfMemoryError:
        return row | {"skipped": "out of memory"}
    except UserError as error:
        return row | {"skipped": str(error)}
    except Exception as error:  # whatever a driver, triton or inductor raise: the reason is reported
        return row | {"skipped": f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"}


@contextlib.contextmanager
def matmuls(precision: str) -> Iterator[None]:
    """Matrix products of float32, torch's own and those of cuDNN's networks: in TF32 if ``tf32``, otherwise in full."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    matrix_products(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def shapes() -> list[dict[str, Any]]:
    """T, B, N of the papers' experiments at the paper profile, for every column of their tables, each shape once."""
    tables = [schema.load_table(name) for name in schema.default_tables()]
    columns = [column for table in tables for column in table.columns.values() if "paper" in column.profiles]
    found: dict[tuple[int, int, int], list[str]] = {}
    for name in sorted({column.experiment for column in columns}):
        for overrides in [column.overrides for column in columns if column.experiment == name]:
            cfg = configs.build([f"experiment={name}", "model=indrnn", *overrides])
            names = found.setdefault((cfg.data.seq_len, cfg.data.batch_size, cfg.recipe.hidden_size), [])
            if name not in names:
                names.append(name)
    return [{"experiments": names, "T": T, "B": B, "N": N} for (T, B, N), names in found.items()]


def bytes_moved(what: str, T: int, B: int, N: int, dtype: torch.dtype) -> int:
    """What a pass cannot do without: forward reads x and writes h, backward reads dh and h and writes dx.

    The small arrays count too: u and h0, and backward du and dh0. h and dh are float32, x and dx of ``dtype``.
    """
    x, h, small = T * B * N * dtype.itemsize, T * B * N * 4, (B * N + N) * 4
    return x + h + small if what == "forward" else x + 2 * h + 2 * small


def of_copy(moved: int, ms: float, copied: int, copy_ms: float) -> float:
    """The bandwidth of ``moved`` bytes in ``ms`` as a fraction of that of ``copied`` bytes in ``copy_ms``."""
    return (moved / ms) / (copied / copy_ms)


def recurrences(device: torch.device, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Both passes at every shape and dtype against a copy of as many bytes in the same minute."""
    for shape in sizes.shapes or shapes():
        for dtype in DTYPES:
            for what in PASSES:
                given = shape["T"], shape["B"], shape["N"], DTYPES[dtype], device, l2_bytes(device), sizes.rounds
                row = shape | {"what": what, "dtype": dtype}
                yield attempt(row, partial(against_copy, what, *given), sizes.until)


def l2_bytes(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).L2_cache_size if device.type == "cuda" else 0


def against_copy(
    what: str, T: int, B: int, N: int, dtype: torch.dtype, device: torch.device, cached: int, rounds: int
) -> dict[str, Any]:
    """Args: ``cached``, bytes of the L2 cache; the row says whether it holds what the pass moves."""
    moved = bytes_moved(what, T, B, N, dtype)
    ms = device_ms(one_pass(what, T, B, N, device, dtype), device, rounds)
    source, target = (torch.empty(moved // 2, dtype=torch.int8, device=device) for _ in range(2))
    copied = 2 * source.numel()  # each byte is moved twice
    copy_ms = device_ms(partial(target.copy_, source), device, rounds)
    found = {"bytes": moved, "ms": ms, "copy_ms": copy_ms, "of_copy": of_copy(moved, ms, copied, copy_ms)}
    return found | {"in_l2": moved <= cached}


def one_pass(
    what: str, T: int, B: int, N: int, device: torch.device,
    dtype: torch.dtype = torch.float32, backend: str = "auto",
) -> Callable[[], Any]:  # fmt: skip
    """A call of the operator that autograd calls, on random numbers.

    Raises:
        ValueError: the backend cannot compute this here, or there is no such backend.
    """
    x, u = torch.randn(T, B, N, dtype=dtype, device=device), torch.rand(N, device=device)
    if what == "forward":
        return partial(recurrence, x, u, backend=backend)
    h, h0 = recurrence(x, u, backend=backend), torch.zeros(B, N, device=device)
    del x  # backward does not read it, and the largest shapes need the memory
    dh = torch.randn_like(h)

    def backward() -> torch.Tensor:
        return torch.ops.indrnn.recurrence_backward(dh, h, u, h0, "relu", SLOPE, backend, dtype)[0]

    return backward
