"""The figures: Figure 2 as the paper draws it, mse over updates, one panel per T; and a test metric over an axis."""

import math
import textwrap
from functools import reduce
from operator import getitem
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Transform

from indrnn import record
from indrnn.splits import TEST, VAL
from indrnn.tables import chance
from indrnn.tables.judged import Report, Result

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
    """Draw one panel per column: seeds thin, their mean thick, the chance level of its validation set marked.

    No words lie inside a panel, where curves may go anywhere.

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
        results = list(report.columns[key].values())
        panel(axes, results, metric, folder)
        axes.set_title(report.table.columns[key].label, loc="left")
        axes.set_title(reasons(results), loc="right", fontsize=7.5)
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
    """One length T: all rows that have curves."""
    for result, (color, dash) in zip(results, STYLES, strict=False):
        there = [curve(folder / run.signature, f"val/{metric}") for run in result.runs]
        there = [one for one in there if one]
        for one in there:
            axes.plot(np.array(list(one)) / 1000, list(one.values()), color=color, linewidth=0.6, alpha=0.5)
        if common := sorted(set.intersection(*map(set, there))) if there else []:
            mean = [math.fsum(one[update] for one in there) / len(there) for update in common]
            axes.plot(np.array(common) / 1000, mean, color=color, linestyle=dash, linewidth=2)
    for level in chance.levels(results, VAL).values():
        mark(axes, level, f"chance {level:#.3g}")
    axes.set_xlabel("updates (thousands)")
    axes.set_xlim(left=0)
    axes.set_ylim(0, TOP)


def mark(axes: Axes, level: float, words: str) -> None:
    """A horizontal line over the whole width, named beside its right end: inside, curves would cross the words."""
    axes.axhline(level, color="black", linewidth=0.7, zorder=1)
    outside(axes, words.replace(" ", "\n", 1), (1, level), axes.get_yaxis_transform(), 3, ha="left")


def reasons(results: list[Result]) -> str:
    """Why cells have no number, one line per reason."""
    rows: dict[str, list[str]] = {}
    for result in results:
        if result.ours.reason:
            rows.setdefault(result.ours.reason, []).append(result.row.label)
    lines = [f"{', '.join(labels)}: {reason}" for reason, labels in rows.items()]
    return "\n".join(part for line in lines for part in textwrap.wrap(line, 60))


def curve(folder: Path, name: str) -> dict[int, float]:
    """What a run measured under ``name``, by update."""
    return {row["update"]: row[name] for row in record.curve(folder) if name in row}


def over_axis(report: Report, path: Path) -> None:
    """Draw the test metric over the table's axis: seeds as dots, their means as lines, failed cells as crosses above.

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
    missing, ticks = 0, []
    failed = [key for key in table.rows if any(column[key].ours.failed for column in report.columns.values())]
    above = {key: 1.03 + 0.045 * line for line, key in enumerate(reversed(failed))}
    for key, height in above.items():
        outside(axes, table.rows[key].label, (1, height), axes.transAxes, 3, ha="left")
    styles = list(zip(STYLES, MARKERS, strict=True))[-len(table.rows) :]  # the last row, IndRNN, always looks the same
    for key, ((color, dash), marker) in zip(table.rows, styles, strict=True):
        results = [column[key] for column in report.columns.values() if column[key].runs]
        places = [reduce(getitem, table.axis.config.split("."), result.runs[0].config) for result in results]
        for place, result in zip(places, results, strict=True):
            seeds = [entry["metrics"].get(result.metric, math.nan) for entry in result.made]
            axes.plot([place] * len(seeds), seeds, linestyle="", marker=".", color=color, markersize=5, alpha=0.6)
            if result.ours.failed:
                fail(axes, place, above[key], color, result.ours.reason.removeprefix("failed "))
            elif result.ours.reason:
                missing += 1
        means = [result.ours.mean for result in results]  # NaN, hence a gap, where a cell failed
        style = {"color": color, "linestyle": dash, "marker": marker, "markersize": 5.5, "linewidth": 1.8}
        axes.plot(places, means, label=table.rows[key].label, **style)
        ticks = places
    everywhere = [result for column in report.columns.values() for result in column.values()]
    at_chance = {f"chance {level:#.3g}": level for level in chance.levels(everywhere, TEST).values()}
    for label, level in (at_chance | table.axis.marks).items():
        mark(axes, level, label)
    axes.margins(y=0.08)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(table.axis.long)
    axes.set_ylabel(f"test {table.metric} ({table.unit})")
    if not table.axis.log:
        axes.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=len(table.rows), handlelength=3.5, frameon=False)
    note = f"Profile {report.profile}: {budget(report)}; seeds as dots, lines through their means"
    note += "; a cross with k/n: k of n seeds diverged" * bool(failed)
    note += f"; points incomplete: {missing}" * bool(missing)
    figure.supxlabel("\n".join(textwrap.wrap(f"{note}.", 120)), fontsize=7.5, x=0.02, ha="left")
    figure.savefig(path, format="png", metadata={"Software": None})


def fail(axes: Axes, place: float, height: float, color: str, words: str) -> None:
    """A cross over ``place`` at a height above 1, outside the axes, with words to its left."""
    top = axes.get_xaxis_transform()
    axes.plot([place], [height], linestyle="", marker="x", color=color, markersize=6, transform=top, clip_on=False)
    outside(axes, words, (place, height), top, -5, ha="right")


def outside(axes: Axes, words: str, place: tuple[float, float], transform: Transform, points: int, ha: str) -> None:
    """Small words ``points`` to the right of a place outside the axes."""
    beside = {"xytext": (points, 0), "textcoords": "offset points", "ha": ha, "va": "center", "fontsize": 7.5}
    axes.annotate(words, place, xycoords=transform, annotation_clip=False, **beside)
