"""Milestones as png: best validation so far over examples, or the best of each run over what the runs differ in."""

import re
from functools import reduce
from operator import getitem
from pathlib import Path

from matplotlib.axes import Axes

from indrnn import style
from indrnn.tables.milestones import Course, Milestones

LOG = "the authors' log"
MARKERS = 8  # of a curve: more would hide each other


def draw(what: Milestones, found: list[Course], path: Path) -> None:
    """Draw a page of milestones; the runs of several seeds look alike."""
    names = list(dict.fromkeys(map(name_of, found)))
    page = style.figure(6.8, 4.4 + 0.17 * len(names))
    axes = page.subplots()
    if what.axis:
        lines = {name.rpartition(", ")[0]: None for name in names}
        looks = dict(zip(lines, style.looks(lines), strict=True))
        over_axis(axes, what, found, looks)
    else:
        several = len(set(map(style.model_of, names)) - {""}) > 1
        looks = dict(zip(names, style.looks(names) if several else style.steps(len(names)), strict=True))
        over_examples(axes, what, found, looks)
        looks = {LOG: style.PAPER} | looks if what.official else looks
    axes.set_ylabel(f"best {what.what}")
    style.grid(axes)
    style.legend(page, {words(name, found): look for name, look in looks.items()}, columns=1, below=True)
    style.save(page, path)


def name_of(course: Course) -> str:
    """A run's label without its seed."""
    return re.sub(r", seed \d+$", "", course.label)


def words(name: str, found: list[Course]) -> str:
    """A name of the legend, with what became of runs that are not finished."""
    some = [course.record["status"] for course in found if name_of(course) == name]
    seeds = f", {len(some)} seeds" * (len(some) > 1)
    left = [f"{some.count(status)} {status}" if len(some) > 1 else status for status in sorted({*some} - {"finished"})]
    return f"{name}{seeds}" + f" ({', '.join(left)})" * bool(left)


def over_examples(axes: Axes, what: Milestones, found: list[Course], looks: dict[str, style.Look]) -> None:
    """The authors' log, where there is one, in full; a line per run."""
    if what.official:
        axes.plot(list(what.official), list(what.official.values()), **style.PAPER.both(1.4, 7))
    for course in found:
        every = max(1, len(course.best) // MARKERS)
        look = looks[name_of(course)].both(1.5, 4.5, markevery=every)
        axes.plot(list(course.best), list(course.best.values()), **look)
    axes.set_xscale("log")
    axes.set_xlabel("training examples (sequences)")
    if what.metric == "error":
        style.accuracies(axes, [*what.official.values(), *(value for x in found for value in x.best.values())])
    elif what.metric == "mse":
        axes.set_yscale("log")


def over_axis(axes: Axes, what: Milestones, found: list[Course], looks: dict[str, style.Look]) -> None:
    """A line per name, which is a label but for its last part; a point per run at its end."""
    for name, look in looks.items():
        some = [course for course in found if name_of(course).rpartition(", ")[0] == name and course.best]
        values = {reduce(getitem, what.axis.config.split("."), x.record["config"]): x for x in some}
        places = sorted(values)
        axes.plot(places, [values[place].best[max(values[place].best)] for place in places], **look.both())
    if what.axis.log:
        axes.set_xscale("log", base=2)
    there = sorted({reduce(getitem, what.axis.config.split("."), x.record["config"]) for x in found})
    axes.set_xticks(there, [f"{value:g}" for value in there])
    axes.minorticks_off()
    axes.set_xlabel(what.axis.long)
