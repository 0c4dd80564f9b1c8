"""The figures: Figure 2 as the paper draws it, mse over updates, one panel per T; and a test metric over an axis."""

import csv
import math
import textwrap
from functools import reduce
from operator import getitem
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from indrnn.tables import Report, Result

CHANCE = 1 / 6  # mse of who always answers 1
TOP = 0.25  # of the axis; before the first validation the mse is above 1
STYLES = (("#8c8c8c", ":"), ("#d1495b", "--"), ("#e0a100", "-."), ("#00366f", "-"))
MARKERS = "Ds^o"


def draw(report: Report, folder: Path, path: Path) -> None:
    """Draw the figure that the table names into the file ``path``; ``folder`` is that of the runs."""
    if report.table.figure == "curves":
        curves(report, folder, path)
    else:
        over_axis(report, path)


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


def over_axis(report: Report, path: Path) -> None:
    """Draw the test metric over the table's axis: seeds as dots, their means as lines, failed cells as crosses on top.

    Args:
        report: of a table with an axis and at most four rows.
        path: of the png.
    """
    table = report.table
    figure = Figure(figsize=(7.0, 4.8), dpi=150, layout="constrained")
    axes = figure.subplots()
    if table.axis.log:
        axes.set_xscale("log")
        axes.set_yscale("log")
    missing, failed, ticks = 0, 0, []
    styles = list(zip(STYLES, MARKERS, strict=True))[-len(table.rows) :]  # the last row, IndRNN, always looks the same
    for height, (key, ((color, dash), marker)) in enumerate(zip(table.rows, styles, strict=True)):
        results = [column[key] for column in report.columns.values() if column[key].runs]
        places = [reduce(getitem, table.axis.config.split("."), result.runs[0].config) for result in results]
        for place, result in zip(places, results, strict=True):
            seeds = [entry["metrics"].get(f"test/{table.metric}", math.nan) for entry in result.made]
            axes.plot([place] * len(seeds), seeds, linestyle="", marker=".", color=color, markersize=5, alpha=0.6)
            if result.ours.failed:
                words = f"{result.row.label} {result.ours.reason.removeprefix('failed ')}"
                fail(axes, place, 0.97 - 0.045 * height, color, words)
                failed += 1
            elif result.ours.reason:
                missing += 1
        means = [result.ours.mean for result in results]  # NaN, hence a gap, where a cell failed
        style = {"color": color, "linestyle": dash, "marker": marker, "markersize": 5.5, "linewidth": 1.8}
        axes.plot(places, means, label=table.rows[key].label, **style)
        ticks = places
    for label, level in table.axis.marks.items():
        axes.axhline(level, color="black", linewidth=0.7, zorder=1)
        edge = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
        axes.annotate(label, (0.995, level), xytext=(0, 2), ha="right", va="bottom", fontsize=8, **edge)
    axes.margins(y=0.2 if failed else 0.08)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(table.axis.long)
    axes.set_ylabel(f"test {table.metric} ({table.unit.partition(';')[0]})")
    if not table.axis.log:
        axes.set_ylim(0, axes.get_ylim()[1] * (1.08 if failed else 1))  # room for the crosses
    figure.legend(loc="outside upper center", ncols=len(table.rows), handlelength=3.5, frameon=False)
    note = f"Profile {report.profile}: {budget(report)}; seeds as dots, lines through their means"
    note += "; a cross with k/n: k of n seeds diverged" * bool(failed)
    note += f"; points incomplete: {missing}" * bool(missing)
    figure.supxlabel("\n".join(textwrap.wrap(f"{note}.", 120)), fontsize=7.5, x=0.02, ha="left")
    figure.savefig(path, format="png", metadata={"Software": None})


def fail(axes: Axes, place: float, height: float, color: str, words: str) -> None:
    """A cross over ``place`` at a height of 0 to 1 of the axes, with words to its left."""
    top = axes.get_xaxis_transform()
    axes.plot([place], [height], linestyle="", marker="x", color=color, markersize=6, transform=top)
    beside = {"xytext": (-5, 0), "textcoords": "offset points", "ha": "right", "va": "center", "fontsize": 7}
    axes.annotate(words, (place, height), xycoords=top, **beside)
