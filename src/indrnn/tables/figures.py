"""The figures: Figure 2 as the paper draws it, mse over updates, one panel per T; and a test metric over an axis."""

import math
import re
import textwrap
from collections.abc import Sequence
from functools import reduce
from operator import getitem
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from indrnn import record, style
from indrnn.splits import TEST, VAL
from indrnn.style import Look
from indrnn.tables import chance
from indrnn.tables.judged import Report, Result

TOP = 0.25  # of the axis; before the first validation the mse is above 1


def draw(report: Report, folder: Path, path: Path) -> None:
    """Draw the figure that the table names into the file ``path``; ``folder`` is that of the runs."""
    if report.table.figure == "curves":
        curves(report, folder, path)
    else:
        over_axis(report, path)


def looks(report: Report) -> dict[str, Look]:
    """The look of each row, by its label."""
    labels = [row.label for row in report.table.rows.values()]
    return dict(zip(labels, style.looks(labels), strict=True))


def curves(report: Report, folder: Path, path: Path) -> None:
    """Draw one panel per column that has a curve: seeds thin, their mean thick, the chance level marked.

    A star is where the paper's curve comes down to 0, or the level that it keeps. No words lie inside a panel, where
    curves may go anywhere; columns without a curve are named below.

    Args:
        report: of a table whose columns differ in T.
        folder: of the runs, whose curve.csv is drawn.
        path: of the png.
    """
    metric, starred = report.table.metric, False
    of_columns = {key: list(results.values()) for key, results in report.columns.items()}
    seen = {
        key: {x.row.label: [curve(folder / run.signature, f"val/{metric}") for run in x.runs] for x in results}
        for key, results in of_columns.items()
    }
    keys = [key for key in of_columns if any(one for there in seen[key].values() for one in there)]
    across = min(2, max(1, len(keys)))
    down = math.ceil(len(keys) / across)
    page = style.figure(5.0 * across if across > 1 else 7.0, 3.1 * down + 1.2)
    for place, key in enumerate(keys):
        axes = page.add_subplot(down, across, place + 1)
        panel(axes, seen[key], looks(report))
        for level in chance.levels(of_columns[key], VAL).values():
            style.mark(axes, level, f"chance {level:#.3g}")
        starred = stars(axes, of_columns[key], looks(report)) or starred
        axes.set_title(report.table.columns[key].label, loc="left")
        axes.set_title(reasons(of_columns[key]), loc="right", fontsize=style.SMALL)
        axes.set_ylabel(f"validation {metric} ({report.table.unit})")
    if keys:
        style.legend(page, looks(report), markers=False)
    text = f"{report.table.source}, profile {report.profile}: {budget(report)}; seeds thin, their means thick."
    text += " Stars: where the paper's curve, of its own recipe, comes down to 0, or the level that it keeps." * starred
    if missing := [report.table.columns[key].label for key in of_columns if key not in keys]:
        text += f" No curve yet: {', '.join(missing)}."
    style.note(page, text, 60 * across if across > 1 else 85)
    style.save(page, path)


def budget(report: Report) -> str:
    """What each run got, in updates and sequences."""
    runs = [run for results in report.columns.values() for result in results.values() for run in result.runs]
    texts = {(run.config["trainer"]["max_updates"], run.config["data"]["batch_size"]) for run in runs}
    return ", ".join(f"{updates:,} updates of {batch} sequences" for updates, batch in sorted(texts))


def panel(axes: Axes, seen: dict[str, list[dict[int, float]]], looks: dict[str, Look]) -> None:
    """One length T: the curves of all rows that have some, by their labels."""
    for label, curves in seen.items():
        there = list(filter(None, curves))
        for one in there:
            axes.plot(
                np.array(list(one)) / 1000, list(one.values()), **looks[label].line(0.6, linestyle="-", alpha=0.5)
            )
        if mean := mean_curve(there):
            axes.plot(np.array(list(mean)) / 1000, list(mean.values()), **looks[label].line())
    axes.set_xlabel("updates (thousands)")
    axes.set_xlim(left=0)
    axes.set_ylim(0, TOP)


def stars(axes: Axes, results: list[Result], looks: dict[str, Look]) -> bool:
    """Mark what the paper's words say, as far as a panel reaches; whether there was any."""
    right = axes.get_xlim()[1]
    places = {x.row.label: place for x in results if (place := star(x.paper, 0.97 * right)) and place[0] <= right}
    taken: list[tuple[float, float]] = []
    for label, (updates, level) in places.items():
        size = 15 - 6 * taken.count((updates, level))  # rows that share a place lie inside each other
        taken.append((updates, level))
        points = style.PAPER.points(size, color=looks[label].color, markeredgecolor="black", markeredgewidth=0.7)
        axes.plot([updates], [level], **points, clip_on=False, zorder=5)
    return bool(places)


def star(words: object, right: float) -> tuple[float, float] | None:
    """Thousands of updates and mse of what the paper's words about a curve say; a level stands at the ``right`` end.

    Such as ``≈ 0 by 5-10k updates`` (the middle), ``plateau ≈ 0.035``, ``near 0.167``; None where there are none.
    """
    if not isinstance(words, str):
        return None
    if solved := re.fullmatch(r"≈ 0 by ([\d.]+)(?:-([\d.]+))?k updates", words):
        return (float(solved[1]) + float(solved[2] or solved[1])) / 2, 0.0
    level = re.search(r"[\d.]+$", words)
    return (right, float(level[0])) if level else None


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


def mean_curve(curves: Sequence[dict[int, float]]) -> dict[int, float]:
    """The mean of some seeds' curves at the updates that all of them have."""
    common = sorted(set.intersection(*map(set, curves))) if curves else []
    return {update: math.fsum(one[update] for one in curves) / len(curves) for update in common}


def over_axis(report: Report, path: Path) -> None:
    """Draw the test metric over the table's axis: seeds as dots, their means as lines, failed cells as crosses above.

    Args:
        report: of a table with an axis.
        path: of the png.
    """
    table = report.table
    page = style.figure(7.0, 4.8)
    axes = page.subplots()
    if table.axis.log:
        axes.set_xscale("log")
        axes.set_yscale("log")
    missing, ticks = 0, []
    failed = [key for key in table.rows if any(column[key].ours.failed for column in report.columns.values())]
    above = {key: 1.03 + 0.045 * line for line, key in enumerate(reversed(failed))}
    for key, height in above.items():
        style.outside(axes, table.rows[key].label, (1, height), axes.transAxes, 3, ha="left")
    for (key, row), look in zip(table.rows.items(), looks(report).values(), strict=True):
        results = [column[key] for column in report.columns.values() if column[key].runs]
        places = [reduce(getitem, table.axis.config.split("."), result.runs[0].config) for result in results]
        for place, result in zip(places, results, strict=True):
            seeds = [entry["metrics"].get(result.metric, math.nan) for entry in result.made]
            axes.plot([place] * len(seeds), seeds, **look.points(5, marker=".", alpha=0.6))
            if result.ours.failed:
                fail(axes, place, above[key], look.color, result.ours.reason.removeprefix("failed "))
            elif result.ours.reason:
                missing += 1
        means = [result.ours.mean for result in results]  # NaN, hence a gap, where a cell failed
        axes.plot(places, means, label=row.label, **look.both())
        ticks = places
    everywhere = [result for column in report.columns.values() for result in column.values()]
    at_chance = {f"chance {level:#.3g}": level for level in chance.levels(everywhere, TEST).values()}
    for label, level in (at_chance | table.axis.marks).items():
        style.mark(axes, level, label)
    axes.margins(y=0.08)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(table.axis.long)
    axes.set_ylabel(f"test {table.metric} ({table.unit})")
    if not table.axis.log:
        axes.set_ylim(bottom=0)
    style.legend(page, looks(report))
    note = f"Profile {report.profile}: {budget(report)}; seeds as dots, lines through their means"
    note += "; a cross with k/n: k of n seeds diverged" * bool(failed)
    note += f"; points incomplete: {missing}" * bool(missing)
    style.note(page, f"{note}.")
    style.save(page, path)


def fail(axes: Axes, place: float, height: float, color: str, words: str) -> None:
    """A cross over ``place`` at a height above 1, outside the axes, with words to its left."""
    top = axes.get_xaxis_transform()
    axes.plot([place], [height], linestyle="", marker="x", color=color, markersize=6, transform=top, clip_on=False)
    style.outside(axes, words, (place, height), top, -5, ha="right")
