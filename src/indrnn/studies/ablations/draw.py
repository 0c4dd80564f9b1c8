"""Validation and states over training as png: a column per task, a line per activation."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from indrnn.studies.ablations.state_curves import OFF, Course, course
from indrnn.tables.judged import Report

QUESTION = "activation"
STYLES = (("#00366f", "-"), ("#e0a100", "-."), ("#d1495b", "--"), ("#8c8c8c", ":"))
WORDS = {
    "off_share": "states that are off (%)",
    "off_steps": "steps off in a row",
    "off_neurons": "silent neurons (%)",
}


def courses(reports: list[Report], folder: Path, path: Path) -> None:
    """Seeds thin, their mean thick.

    Args:
        reports: of tables with pairs; the rows of the question "activation" are drawn.
        folder: of the runs.
        path: of the png.
    """
    tasks = [(report, key) for report in reports for key in report.columns]
    figure = Figure(figsize=(4.2 * len(tasks), 10.4), dpi=130, layout="constrained")
    grid = figure.subplots(4, len(tasks), squeeze=False)
    labels: dict[str, tuple[str, str]] = {}
    for (report, key), column in zip(tasks, grid.T, strict=True):
        metric = report.table.metric
        for row, style in zip(rows(report), STYLES, strict=False):
            labels.setdefault(report.table.rows[row].label, style)
            if seen := course(report.columns[key][row], metric, folder):
                for axes, name in zip(column, (metric, *OFF), strict=True):
                    lines(axes, seen, name, style)
        column[0].set_title(report.table.columns[key].label)
        column[0].set_ylabel(f"validation {metric}")
        if report.table.pairs_as == "ratio":
            column[0].set_yscale("log")
        for axes, name in zip(column[1:], OFF, strict=True):
            axes.set_ylabel(WORDS[name])
            axes.set_ylim(bottom=0)
        column[3].set_xlabel("updates")
    handles = [Line2D([], [], color=color, linestyle=dash, linewidth=2) for color, dash in labels.values()]
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), handlelength=3.5, frameon=False)
    figure.savefig(path, format="png", metadata={"Software": None})


def rows(report: Report) -> list[str]:
    """The keys of the rows that the question compares, what they are compared with first."""
    asked = [pair for pair in report.table.pairs if pair.question == QUESTION]
    return list(dict.fromkeys([pair.against for pair in asked] + [pair.row for pair in asked]))


def lines(axes: Axes, seen: Course, name: str, style: tuple[str, str]) -> None:
    color, dash = style
    for seed in seen.seeds[name]:
        axes.plot(seen.updates, seed, color=color, linestyle=dash, linewidth=0.7, alpha=0.45)
    axes.plot(seen.updates, np.asarray(seen.mean(name)), color=color, linestyle=dash, linewidth=2.2)
    axes.grid(alpha=0.3)
