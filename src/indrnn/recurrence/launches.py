"""How kernels are launched on a GPU, and where it scans: one table, looked up and never timed during a run.

A row says for which devices, versions of Triton and sizes it is, what it sets and where that came from; the first row
that fits is taken. `make bench MACHINE=gpu` measures settings (its parts "launches" and "backends") and says which are
best: their row then names that file of results/benchmarks.

Shapes: T time, columns B·N.
"""

import contextlib
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

Settings = dict[str, int]


@dataclass(frozen=True)
class Row:
    """Settings of ``what``, for everything that the other fields do not leave out.

    what: a kernel, or "scan" for where a GPU scans instead of walking from step to step.
    triton: how its version begins.
    bytes_read: of one number of x or h.
    """

    what: str
    settings: Settings
    source: str
    capability: tuple[int, int] | None = None
    triton: str | None = None
    bytes_read: int | None = None
    up_to_columns: float = math.inf
    up_to_steps: float = math.inf


# AHEAD steps are a round of loads, STAGES - 1 rounds are in flight, BLOCK columns are a program. 32 lanes are one warp:
# 4,096 columns are then 128 programs, about one for each processor of a GPU. A load takes 650 ns and a step forward 12
# instructions, 7 ns, backward 19: about 100 and 60 steps in flight keep a lone warp busy. What is copied without
# waiting has 4 bytes at least, so numbers of 2 bytes go in pairs, 64 columns a warp. A scan has programs enough to hide
# what others wait for; AHEAD divides its chunks, of 8 steps or a multiple.
COUNTED = "estimate: instructions for sm_90 counted (Triton 3.7.1), not measured"
GUESSED = "estimate: not measured"
TABLE = (
    Row("walk", {"AHEAD": 16, "STAGES": 8, "BLOCK": 64, "num_warps": 1}, GUESSED, bytes_read=2),
    Row("walk", {"AHEAD": 16, "STAGES": 8, "BLOCK": 32, "num_warps": 1}, COUNTED),
    Row("walk_back", {"AHEAD": 16, "STAGES": 6, "BLOCK": 32, "num_warps": 1}, COUNTED),
    Row("walk_chunks", {"AHEAD": 8, "STAGES": 3, "BLOCK": 64, "num_warps": 1}, GUESSED, bytes_read=2),
    Row("walk_chunks", {"AHEAD": 8, "STAGES": 3, "BLOCK": 32, "num_warps": 1}, GUESSED),
    Row("walk_chunks_back", {"AHEAD": 8, "STAGES": 3, "BLOCK": 32, "num_warps": 1}, GUESSED),
    Row("chunk_lines", {"AHEAD": 8, "STAGES": 3, "BLOCK": 64, "num_warps": 1}, GUESSED, bytes_read=2),
    Row("chunk_lines", {"AHEAD": 8, "STAGES": 3, "BLOCK": 32, "num_warps": 1}, GUESSED),
    Row("chunk_lines_back", {"AHEAD": 8, "STAGES": 3, "BLOCK": 32, "num_warps": 1}, GUESSED),
    Row("over_chunks", {"STAGES": 8, "BLOCK": 32, "num_warps": 1}, COUNTED),
    Row("over_chunks_back", {"STAGES": 8, "BLOCK": 32, "num_warps": 1}, COUNTED),
    Row("sum_parts", {"ROWS": 128, "WIDTH": 8, "STAGES": 4, "num_warps": 4}, GUESSED),
    # Long sequences in few columns: a walk has as many lanes as columns and a GPU wants 100,000 of them, but it reads x
    # once and the scan twice. Before loads were pipelined, an H200 scanned faster from T = 700 on at 4,096 columns.
    Row("scan", {"from_steps": 2048, "up_to_columns": 16384}, GUESSED),
)
_instead: dict[str, Settings] = {}


def settings(what: str, device: torch.device, bytes_read: int, T: int, columns: int) -> Settings:
    """What the table has for ``what`` on ``device`` at these sizes."""
    return _instead.get(what) or _looked_up(what, device, bytes_read, T, columns)


@contextlib.contextmanager
def instead(**settings: Settings) -> Iterator[None]:
    """Meanwhile these settings stand in the place of the table's: for measurements."""
    before = dict(_instead)
    _instead.update(settings)
    try:
        yield
    finally:
        _instead.clear()
        _instead.update(before)


@functools.lru_cache(maxsize=4096)
def _looked_up(what: str, device: torch.device, bytes_read: int, T: int, columns: int) -> Settings:
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    return next(row.settings for row in TABLE if _fits(row, what, capability, bytes_read, T, columns))


def _fits(row: Row, what: str, capability: tuple[int, int] | None, bytes_read: int, T: int, columns: int) -> bool:
    return (
        row.what == what
        and row.capability in (None, capability)
        and (row.triton is None or _triton_version().startswith(row.triton))
        and row.bytes_read in (None, bytes_read)
        and columns <= row.up_to_columns
        and T <= row.up_to_steps
    )


@functools.cache
def _triton_version() -> str:
    import triton  # takes long: not before a row asks for it

    return triton.__version__
