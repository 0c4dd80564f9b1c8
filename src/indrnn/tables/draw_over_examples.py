"""Validation over training examples as png: a panel per row and column that has an authors' log."""

import math
from pathlib import Path

from matplotlib.axes import Axes

from indrnn import style
from indrnn.style import Look
from indrnn.tables.milestones import UNITS, Course
from indrnn.tables.over_examples import Panel

LOG = "the authors' log"
MARKERS = 8  # of a curve


def draw(found: list[Panel], path: Path) -> None:
    """Draw the panels of one table: the log black, our seeds in the model's colour, the paper's test value marked."""
    across = min(2, len(found))
    down = math.ceil(len(found) / across)
    page = style.figure(5.2 * across if across > 1 else 7.0, 3.0 * down + 1.2)
    shown = {LOG: style.PAPER}
    for place, one in enumerate(found, 1):
        axes = page.add_subplot(down, across, place)
        for label, look, courses in of_ours(one):
            shown[label] = look
            for course in courses:
                every = max(1, len(course.best) // MARKERS)
                line = look.both(1.3, 4, markevery=every)
                axes.plot(list(course.best), list(course.best.values()), **line)
        panel(axes, one)
    style.legend(page, shown, columns=min(3, len(shown)))
    missing = [one.title for one in found if not one.ours]
    text = "Every seed has a line, also of runs that are not finished. Horizontal: the paper's test value."
    text += f" Without a run of ours yet: {'; '.join(missing)}." * bool(missing)
    style.note(page, text, 125 if across > 1 else 85)
    style.save(page, path)


def of_ours(one: Panel) -> list[tuple[str, Look, list[Course]]]:
    """Our runs of a panel by profile: a label, its look, and their courses."""
    model = style.model_of(one.row)
    looks = style.looks([model] * len(one.ours))
    return [
        (f"{model}, profile {profile}", look, courses)
        for (profile, courses), look in zip(one.ours.items(), looks, strict=True)
    ]


def panel(axes: Axes, one: Panel) -> None:
    """The log, the paper's value, the axes."""
    axes.plot(list(one.log.by_examples), list(one.log.by_examples.values()), **style.PAPER.both(1.4, 7))
    drawn = [*one.log.by_examples.values(), *(y for some in one.ours.values() for x in some for y in x.best.values())]
    axes.set_xscale("log")
    if one.rising:
        style.accuracies(axes, [*drawn, *([one.paper] if one.paper is not None else [])])
    if one.paper is not None:
        style.mark(axes, one.paper, f"paper {one.paper:.4g}")
    axes.set_title(one.title, loc="left", fontsize=10)
    axes.set_xlabel("training examples (sequences)")
    unit = "accuracy so far (%)" if one.rising else f"{one.table.metric} so far ({UNITS[one.table.metric]})"
    axes.set_ylabel(f"best validation {unit}", fontsize=8.5)
    style.grid(axes)
