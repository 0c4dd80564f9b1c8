"""Learning curves as data of the report page: the numbers of curve.csv and of the authors' logs, in the models' looks.

Nothing is computed where the page is read: means over seeds come from here, by the code of the pictures.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from indrnn import style
from indrnn.splits import VAL
from indrnn.style import Look
from indrnn.tables import chance, draw_over_examples, figures, over_examples
from indrnn.tables.judged import Report, Result
from indrnn.tables.milestones import UNITS

MOST = 400  # points of a drawn curve
DECADES = ("mse", "ppl")  # metrics that go over several
PERCENT = ("error", "accuracy")


def of_report(report: Report, folder: Path) -> dict[str, Any] | None:
    """The validations of a table's runs, a panel per column: seeds, and their mean; None where no run has any.

    Args:
        folder: of the runs, with their curve.csv.
    """
    name = f"val/{report.table.metric}"
    seen = {
        key: {x.row.label: curves for x in results.values() if (curves := of_cell(x, folder, name))}
        for key, results in report.columns.items()
    }
    labels = [row.label for row in report.table.rows.values() if any(row.label in there for there in seen.values())]
    panels = []
    for key, there in filter(lambda item: item[1], seen.items()):
        lines = [line for label, curves in there.items() for line in of_row(labels.index(label), curves)]
        levels = chance.levels(report.columns[key].values(), VAL).values()
        panels.append(
            {"title": report.table.columns[key].label, "task": report.table.columns[key].experiment}
            | aligned(lines)
            | {"levels": [{"words": f"chance {level:#.3g}", "y": rounded(level)} for level in levels]}
        )
    if not panels:
        return None
    found = style.looks(labels) if all(map(style.model_of, labels)) else style.steps(len(labels))
    axes = {"x": "updates", "y": f"validation {report.table.metric} ({unit(report.table.metric)})"}
    return (
        axes
        | {"log": report.table.metric in DECADES, "rows": rows(dict(zip(labels, found, strict=True)))}
        | {"panels": panels}
    )


def of_cell(result: Result, folder: Path, name: str) -> dict[int, dict[int, float]]:
    """What the runs of a cell measured under ``name``, by seed and update."""
    curves = {run.seed: figures.curve(folder / run.signature, name) for run in result.runs}
    return {seed: curve for seed, curve in curves.items() if curve}


def of_row(row: int, curves: Mapping[int, dict[int, float]]) -> list[dict[str, Any]]:
    """The lines of a row in a panel: a thin one per seed, then their mean; of one seed its own stands for it."""
    thin = [{"row": row, "thin": True, "points": curve} for curve in curves.values()] if len(curves) > 1 else []
    return [*thin, {"row": row, "points": figures.mean_curve(list(curves.values()))}]


def of_logs(found: Iterable[over_examples.Panel]) -> dict[str, dict[str, Any]]:
    """Best validation so far over training examples, the authors' log beside our runs, by table."""
    return {name: of_table(some) for name, some in over_examples.of_tables(list(found)).items()}


def of_table(some: Sequence[over_examples.Panel]) -> dict[str, Any]:
    shown = {draw_over_examples.LOG: style.PAPER}
    panels = []
    for one in some:
        lines: list[dict[str, Any]] = [{"row": 0, "points": one.log.by_examples}]
        for label, look, courses in draw_over_examples.of_ours(one):
            shown[label] = look
            row = list(shown).index(label)
            lines += [{"row": row, "seed": course.record["seed"], "points": course.best} for course in courses]
        panel = {"title": one.title, "task": one.table.columns[one.log.column].experiment} | aligned(lines)
        paper = [{"words": f"paper {one.paper:.4g}", "y": rounded(one.paper)}] if one.paper is not None else []
        panels.append(panel | {"levels": paper})
    first = some[0]
    label = f"best validation {'accuracy' if first.rising else first.table.metric} so far"
    of = {"x": "training examples", "y": f"{label} ({unit(first.table.metric)})", "logx": True}
    ticks = {"accuracies": list(style.TICKS)} if first.rising else {}
    return of | ticks | {"rows": rows(shown), "panels": panels}


def unit(metric: str) -> str:
    return "%" if metric in PERCENT else UNITS.get(metric, "no unit")


def rows(looks: Mapping[str, Look]) -> list[dict[str, Any]]:
    return [{"label": label} | style.on_screen(look) for label, look in looks.items()]


def aligned(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Lines over one sorted x, with null where a line has no point there."""
    points = [thinned(line.pop("points")) for line in lines]
    x = sorted(set().union(*points))
    for line, there in zip(lines, points, strict=True):
        line["y"] = [rounded(there.get(place)) for place in x]
    return {"x": x, "lines": list(lines)}


def thinned(curve: dict[int, float]) -> dict[int, float]:
    """At most MOST points of a curve: every k-th, and the last."""
    step = math.ceil(len(curve) / MOST)
    places = list(curve)
    return {place: curve[place] for place in [*places[::step][: MOST - 1], *places[-1:]]} if step > 1 else curve


def rounded(value: float | None) -> float | None:
    """Four digits, as many as a screen shows; what is no number is a gap."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")
