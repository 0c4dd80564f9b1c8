"""Which text stands where in a rendered table: one block per column, or one grid of columns and rows."""

from collections.abc import Callable
from dataclasses import dataclass

from indrnn import record
from indrnn.tables.judged import Report, Result
from indrnn.tables.verdict import Sample, shown

HEADS = ("model", "parameters", "paper", "ours (n)", "gap", "verdict")
ALIGNMENT = "lrllrl"


@dataclass(frozen=True)
class Block:
    """A titled table of text."""

    title: str
    heads: list[str]
    rows: list[list[str]]


def blocks(report: Report, links: str | None) -> list[Block]:
    """The table as blocks with the same heads; none where the profile runs no column.

    Args:
        links: path to the runs' folder as seen from the file; None for no links.
    """
    table = report.table
    if table.axis:
        found = [grid(report, f"Test {table.metric}", lambda result: value(result, table.number))]
        if links is not None:
            found.append(grid(report, "Runs", lambda result: run_links(result, links)))
        return found if report.columns else []
    heads = [*HEADS, *["cost of a run", "runs"] * (links is not None)]
    found = []
    for key, results in report.columns.items():
        rows = [cells(result, table.number, links is None) for result in results.values()]
        if links is not None:
            rows = [[*row, cost(x), run_links(x, links)] for row, x in zip(rows, results.values(), strict=True)]
        found.append(Block(table.columns[key].label, heads, rows))
    return found


def grid(report: Report, title: str, show: Callable[[Result], str]) -> Block:
    """One line per column and one field per row of the table file: models stand side by side, their numbers fit."""
    table = report.table
    rows = [
        [table.columns[key].label, *(show(result) for result in results.values())]
        for key, results in report.columns.items()
    ]
    return Block(title, [table.axis.label, *(row.label for row in table.rows.values())], rows)


def value(result: Result, number: str) -> str:
    """A cell of a grid: the measured value, or why it is not there or not complete."""
    return result.ours.reason or measured(result.ours, number)


def measured(ours: Sample, number: str) -> str:
    """mean ± std (n); empty where no seed has a value."""
    if not ours.values:
        return ""
    spread = f" ± {shown(ours.std, number)}" if len(ours.values) > 1 else ""
    return f"{shown(ours.mean, number)}{spread} ({len(ours.values)})"


def parameters(report: Report) -> str:
    """Every row's number of parameters, such as ``LSTM 68,362 to 2,710,282``."""
    texts = []
    for key, row in report.table.rows.items():
        counts = [results[key].parameters for results in report.columns.values() if results[key].parameters]
        if counts:
            texts.append(f"{row.label} " + " to ".join(f"{n:,}" for n in dict.fromkeys((min(counts), max(counts)))))
    return "; ".join(texts)


def cells(result: Result, number: str, brief: bool = True) -> list[str]:
    """The six columns of a row; a value that is not there is a dash, and the verdict says why.

    Args:
        brief: for a terminal of 120 columns: a gap without its interval, and long verdicts in fewer words.
    """
    row = result.row
    source = f" ({row.source})" if row.source.startswith("P") and result.paper not in (None, "-") else ""
    parameters = f"{result.parameters:,}" if result.parameters else "-"
    if row.paper_parameters:
        parameters += f" (paper {row.paper_parameters})"
    return [
        row.label,
        parameters,
        f"{'-' if result.paper is None else result.paper}{source}",
        measured(result.ours, number) or "-",
        gap(result, number, brief),
        (brief and result.brief) or result.verdict,
    ]


def gap(result: Result, number: str, brief: bool) -> str:
    """Our mean minus the paper's value, with its 90% interval over seeds where there are several."""
    if result.gap is None:
        return "-"
    ends = None if brief else result.gap_interval
    between = f" [{shown(ends[0], number, '+')}, {shown(ends[1], number, '+')}]" if ends else ""
    return f"{shown(result.gap, number, '+')}{between}"


def cost(result: Result) -> str:
    """What a run of a cell took, on average: updates, examples, minutes on its device; peak memory where known."""
    made = [entry for entry in result.made if entry["updates"]]
    if not made:
        return "-"

    def mean(key: str) -> float:
        return sum(entry[key] for entry in made) / len(made)

    texts = [f"{mean('updates'):,.0f} updates", f"{mean('examples') / 1e6:.3g}M examples"]
    texts.append(f"{mean('wall_seconds') / 60:.3g} min")
    if peak := record.peak_bytes(made):
        texts.append(f"{peak / 1e9:.2g} GB")
    return ", ".join(texts)


def run_links(result: Result, links: str) -> str:
    """First four digits of every signature, linked to its record where there is one."""
    texts = [
        f"[{run.signature[:4]}]({links}/{run.signature}/run.json)" if entry else run.signature[:4]
        for run, entry in zip(result.runs, result.records, strict=True)
    ]
    return " ".join(texts) or "-"
