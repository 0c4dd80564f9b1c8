"""Validation and states over training as png: a column per task, a line per activation."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from indrnn import style
from indrnn.studies.ablations.state_curves import OFF, Course, course
from indrnn.tables.judged import Report

QUESTION = "activation"
WORDS = {
    "off_share": "states that are off (%)",
    "off_steps": "off in a row (steps)",
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
    page = style.figure(4.2 * len(tasks), 10.4, dpi=130)
    grid = page.subplots(4, len(tasks), squeeze=False)
    labels = list(dict.fromkeys(report.table.rows[row].label for report in reports for row in rows(report)))
    looks = dict(zip(labels, style.steps(len(labels)), strict=True))
    for (report, key), column in zip(tasks, grid.T, strict=True):
        metric = report.table.metric
        for row in rows(report):
            if seen := course(report.columns[key][row], metric, folder):
                for axes, name in zip(column, (metric, *OFF), strict=True):
                    lines(axes, seen, name, looks[report.table.rows[row].label])
        column[0].set_title(report.table.columns[key].label)
        column[0].set_ylabel(f"validation {metric} ({report.table.unit.split(' of ')[0]})")
        if report.table.pairs_as == "ratio":
            column[0].set_yscale("log")
        for axes, name in zip(column[1:], OFF, strict=True):
            axes.set_ylabel(WORDS[name])
            axes.set_ylim(bottom=0)
        for axes in column:
            axes.set_xlabel("updates (optimizer steps)")
    style.legend(page, looks, columns=len(looks) if len(tasks) > 1 else 1, markers=False)
    style.save(page, path)


def rows(report: Report) -> list[str]:
    """The keys of the rows that the question compares, what they are compared with first."""
    asked = [pair for pair in report.table.pairs if pair.question == QUESTION]
    return list(dict.fromkeys([pair.against for pair in asked] + [pair.row for pair in asked]))


def lines(axes: Axes, seen: Course, name: str, look: style.Look) -> None:
    for seed in seen.seeds[name]:
        axes.plot(seen.updates, seed, **look.line(0.7, alpha=0.45))
    axes.plot(seen.updates, np.asarray(seen.mean(name)), **look.line(2.2))
    style.grid(axes)
