"""Figure 2 as the paper draws it: mse over updates, one panel per T."""

import csv
import math
import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from indrnn.tables import Report, Result

CHANCE = 1 / 6  # mse of who always answers 1
TOP = 0.25  # of the axis; before the first validation the mse is above 1
STYLES = (("#8c8c8c", ":"), ("#d1495b", "--"), ("#e0a100", "-."), ("#00366f", "-"))


def curves(report: Report, folder: Path, path: Path) -> None:
    """Draw one panel per column: seeds thin, their mean thick, the chance level 1/6 marked.

    Args:
        report: of a table whose columns differ in T, with at most four rows.
        folder: of the runs, whose curve.csv is drawn.
        path: of the png.
    """
    keys = list(report.columns)
    across = min(2, len(keys))
    down = math.ceil(len(keys) / across)
    height = 3.1 * down + 1.1
    figure = Figure(figsize=(5.0 * across, height), dpi=150, layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharey=True).flat
    metric = report.table.metric
    for axes, key in zip(grid, keys, strict=False):
        panel(axes, list(report.columns[key].values()), metric, folder)
        axes.set_title(report.table.columns[key].label)
    for axes in grid[len(keys) :]:
        axes.set_visible(False)
    for axes in grid[::across]:
        axes.set_ylabel(f"validation {metric} (squared units)")
    names = [row.label for row in report.table.rows.values()]
    lines = [Line2D([], [], color=color, linestyle=dash, linewidth=2) for color, dash in STYLES]
    figure.legend(lines, names, loc="outside upper center", ncols=len(names), handlelength=3.5, frameon=False)
    note = f"{report.table.source}, profile {report.profile}: {budget(report)}; seeds thin, their means thick."
    figure.supxlabel("\n".join(textwrap.wrap(note, 60 * across)), fontsize=7.5, x=0.02, ha="left")
    figure.savefig(path, format="png", metadata={"Software": None})


def budget(report: Report) -> str:
    """What each run got, in updates and sequences."""
    runs = [run for results in report.columns.values() for result in results.values() for run in result.runs]
    texts = {(run.config["trainer"]["max_updates"], run.config["data"]["batch_size"]) for run in runs}
    return ", ".join(f"{updates:,} updates of {batch} sequences" for updates, batch in sorted(texts))


def panel(axes: Axes, results: list[Result], metric: str, folder: Path) -> None:
    """One length T: all rows that have curves, and in words those that miss some."""
    missing = []
    for result, (color, dash) in zip(results, STYLES, strict=False):
        if result.ours.reason:
            missing.append(f"{result.row.label}: {result.ours.reason}")
        there = [curve(folder / run.signature / "curve.csv", f"val/{metric}") for run in result.runs]
        there = [one for one in there if one]
        for one in there:
            axes.plot(np.array(list(one)) / 1000, list(one.values()), color=color, linewidth=0.6, alpha=0.5)
        if common := sorted(set.intersection(*map(set, there))) if there else []:
            mean = [math.fsum(one[update] for one in there) / len(there) for update in common]
            axes.plot(np.array(common) / 1000, mean, color=color, linestyle=dash, linewidth=2)
    axes.axhline(CHANCE, color="black", linewidth=0.7, zorder=1)
    place = axes.get_yaxis_transform()  # below its line, because models that learn nothing lie just above it
    axes.text(0.99, CHANCE - 0.003, "chance 1/6", transform=place, ha="right", va="top", fontsize=8)
    axes.text(0.99, 0.98, "\n".join(missing), transform=axes.transAxes, ha="right", va="top", fontsize=7.5)
    axes.set_xlabel("updates (thousands)")
    axes.set_xlim(left=0)
    axes.set_ylim(0, TOP)


def curve(path: Path, name: str) -> dict[int, float]:
    """What a run measured under ``name``, by update; empty where there is no such file or column."""
    if not path.exists():
        return {}
    with open(path, newline="") as file:
        rows = [(row.get("update"), row.get(name)) for row in csv.DictReader(file)]
    return {int(float(update)): float(value) for update, value in rows if update and value}
