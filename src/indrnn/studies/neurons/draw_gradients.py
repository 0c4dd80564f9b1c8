"""Gradients over layers and time steps as png."""

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from indrnn import style
from indrnn.studies.neurons.over_time import SMALLEST, Gradients
from indrnn.studies.summary import geometric


def gradients(found: dict[str, list[Gradients]], path: Path) -> None:
    """A column a model, before training above, after it below; layers from light to dark; geometric means of seeds."""
    page = style.figure(10.6, 6.6)
    grid = page.subplots(2, len(found), squeeze=False, sharex=True, sharey=True)
    means = {
        (row, column): mean_over_seeds([run.end if row else run.start for run in runs])
        for column, runs in enumerate(found.values())
        for row in (0, 1)
    }
    drawn = [value for norms in means.values() for steps in norms for value in steps if value > 0]
    bottom = 10.0 ** (math.floor(math.log10(min(drawn))) - 2)
    for (row, column), norms in means.items():
        panel(grid[row, column], norms, bottom)
    grid[0, 0].set_yscale("log")
    grid[0, 0].set_ylim(bottom / 3, 30 * max(drawn))
    for axes, model in zip(grid[0], found, strict=True):
        axes.set_title(f"{model}\nbefore training", fontsize=10)
    for axes, runs in zip(grid[1], found.values(), strict=True):
        axes.set_title(f"after {runs[0].updates:,} updates", fontsize=10)
        axes.set_xlabel("time t (steps)")
    page.supylabel("norm of the gradient of the state after step t (nats)", fontsize=10)
    layers = style.layers(len(means[0, 0]))
    style.legend(page, {f"layer {number}": look for number, look in enumerate(layers, 1)}, markers=False)
    style.save(page, path)


def mean_over_seeds(seeds: list[list[list[float]]]) -> np.ndarray:
    """Geometric means by layer and step; 0 where a seed has 0."""
    return np.array(
        [[geometric(list(values)) for values in zip(*layer, strict=True)] for layer in zip(*seeds, strict=True)]
    )


def panel(axes: Axes, norms: np.ndarray, bottom: float) -> None:
    """Lines over the steps; a gradient that is exactly 0 stands as a cross at the bottom."""
    steps = np.arange(1, norms.shape[1] + 1)
    for line, look in zip(norms, style.layers(len(norms)), strict=True):
        axes.plot(steps, np.where(line > 0, line, np.nan), **look.line(1.8, marker=".", markevery=[-1]))
    gone = [f"{number}" for number, line in enumerate(norms, 1) if (line == 0).any()]
    nothing = steps[(norms == 0).any(0)]
    axes.plot(nothing, np.full(len(nothing), bottom), linestyle="", marker="x", markersize=3, color="black")
    if gone:
        words = f"x: exactly 0 in layer{'s' * (len(gone) > 1)} {', '.join(gone)}"
        axes.text(0.03, 0.1, words, transform=axes.transAxes, fontsize=8)
    if bottom < SMALLEST:
        axes.axhline(SMALLEST, color="black", linestyle=":", linewidth=1)
        axes.text(0.03, SMALLEST, "below: 0 in float32", transform=axes.get_yaxis_transform(), fontsize=8, va="top")
    style.grid(axes)
