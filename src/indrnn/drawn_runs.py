"""The validation curves of groups of runs in one picture: seeds thin, their means thick; a panel for each metric."""

import math
import textwrap
from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from indrnn import record, style
from indrnn.run_groups import Group, common, words

WIDTH = 90  # characters of a line under or over a panel
UNITS = {"mse": "squared units", "error": "%", "accuracy": "%", "bpc": "bits per character", "ppl": "exp(nats)"}


def curves(sections: list[list[Group]]) -> Figure | None:
    """None where no run has a curve.

    Args:
        sections: the groups of every metric.
    """
    drawn = [(groups, found) for groups in sections if any(found := [of_group(group) for group in groups])]
    if not drawn:
        return None
    labels = [
        label(group, groups, len(some)) for groups, found in drawn for group, some in zip(groups, found, strict=True)
    ]
    below = math.fsum(0.24 + 0.16 * text.count("\n") for text in labels)  # inches
    page = style.figure(6.4 * len(drawn), 4.0 + below, dpi=130)
    looks = zip(style.steps(len(labels)), labels, strict=True)
    for axes, (groups, found) in zip(page.subplots(1, len(drawn), squeeze=False).flat, drawn, strict=True):
        panel(axes, groups, found, looks)
    page.legend(loc="outside lower left", fontsize=8, frameon=False, handlelength=4)
    return page


def label(group: Group, groups: list[Group], seeds: int) -> str:
    text = f"{group.letter}: {words(group, common(groups))} ({seeds} seed{'s' * (seeds != 1)})"
    return "\n    ".join(textwrap.wrap(text, WIDTH))


def of_group(group: Group) -> list[dict[int, float]]:
    """The validation metric by update of every run that has a curve."""
    name = f"val/{group.metric}"
    found = [{row["update"]: row[name] for row in record.curve(run.folder) if name in row} for run in group.runs]
    return [curve for curve in found if curve]


def panel(axes: Axes, groups: list[Group], found: list[list[dict[int, float]]], looks: Iterator) -> None:
    """One metric; ``looks`` gives look and label of the next group."""
    for some, (look, text) in zip(found, looks, strict=False):
        for curve in some if len(some) > 1 else []:
            axes.plot(list(curve), list(curve.values()), **look.line(0.6, linestyle="-", alpha=0.5))
        updates = sorted(set.intersection(*map(set, some))) if some else []
        means = [math.fsum(curve[update] for curve in some) / len(some) for update in updates]
        axes.plot(updates, means, **(look.both(2) if len(updates) == 1 else look.line()), label=text)
    metric = groups[0].metric
    if metric == "mse":
        axes.set_yscale("log")
    unit = f" ({UNITS[metric]})" if metric in UNITS else ""
    axes.set_xlabel("updates (optimizer steps)")
    axes.set_ylabel(f"validation {metric}{unit}")
    axes.set_xlim(left=0)
    style.grid(axes)
    title = f"{' '.join(common(groups))}; seeds thin, means thick".lstrip("; ")
    axes.set_title("\n".join(textwrap.wrap(title, WIDTH)), fontsize=9, loc="left")
