"""Made-up series as csv files, on which the recipe of ``experiment=csv`` was chosen. Shapes: n sequences, T time.

Three kinds, because what serves one of them can fail on another:

- plain: two sines under noise; the answer is the next value. The last thirty steps tell.
- slow: a straight line under noise as large as its rise; the answer is the line ten steps on. All steps tell a little.
- long: noise, of whose first twenty values one is marked in a second column; the answer is that value. One step tells.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from indrnn import files

T, COUNTS = 100, {"train": 1000, "val": 200, "test": 400}


def plain(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """x (n, T, 1), y (n,)."""
    steps = np.arange(T + 1)
    periods, phases, sizes = rng.uniform(6, 30, (2, n, 1)), rng.uniform(0, 2 * np.pi, (2, n, 1)), rng.random((2, n, 1))
    clean = (sizes * np.sin(2 * np.pi * steps / periods + phases)).sum(0)
    return (clean[:, :T] + rng.normal(0, 0.1, (n, T)))[..., None], clean[:, T]


def slow(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """x (n, T, 1), y (n,)."""
    level, rise = rng.normal(size=(2, n, 1))
    line = level + rise * np.arange(T) / T
    return (line + rng.normal(0, 1, (n, T)))[..., None], (level + rise * (T + 9) / T)[:, 0]


def long(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """x (n, T, 2), y (n,)."""
    x, marked, row = rng.normal(size=(n, T, 2)), rng.integers(20, size=n), np.arange(n)
    x[..., 1] = 0
    x[row, marked, 1] = 1
    return x, x[row, marked, 0]


KINDS: dict[str, Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]] = {
    "plain": plain,
    "slow": slow,
    "long": long,
}


def write(folder: Path) -> str:
    """Write one csv file a kind, always the same: columns id, split, x (and mark), y; y is in the last row of each."""
    for number, (kind, make) in enumerate(KINDS.items()):
        x, y = make(np.random.default_rng([number, T]), sum(COUNTS.values()))
        splits = [split for split, count in COUNTS.items() for _ in range(count)]
        lines = [",".join(["id", "split", "x", "mark"][: 2 + x.shape[2]] + ["y"])]
        for name, (steps, answer, split) in enumerate(zip(x, y, splits, strict=True)):
            for t, step in enumerate(steps):
                said = f"{answer:.4f}" if t == T - 1 else ""
                lines.append(",".join([str(name), split, *(f"{value:.4g}" for value in step), said]))
        files.write_whole(folder / f"{kind}.csv", "\n".join(lines) + "\n")
    return f"{', '.join(f'{kind}.csv' for kind in KINDS)} in {folder}"
