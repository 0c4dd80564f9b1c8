"""A judged table as parts of the report page: the text of the rendered tables, each number linked to its record."""

import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from indrnn.tables import changes, paired, render, schema, table_text
from indrnn.tables.judged import Report, Result
from indrnn.tables.verdict import shown

ENDS = ("md", "csv", "tex", "png")
GOOD = ("holds", "reproduced", "better")
BAD = ("does not hold", "worse", "failed")


@dataclass(frozen=True)
class Place:
    """Where reports come from: in words, the folder of their runs, and that of <profile>/<table>.md."""

    name: str
    runs: Path
    tables: Path


PUBLISHED, HERE = "published", "this machine"


@dataclass(frozen=True)
class Link:
    """``words`` that lead to ``href``; ``title`` says more."""

    words: str
    href: str
    title: str = ""


@dataclass(frozen=True)
class Cell:
    """Text, the runs behind it, and the kind of its verdict: good, bad, open, or none."""

    text: str
    runs: tuple[Link, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class Block:
    """A titled table of cells; ``task`` names the experiments that it is about."""

    title: str
    task: str
    heads: list[str]
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Part:
    """A table at a profile, from one place."""

    anchor: str
    report: Report
    place: Place
    blocks: list[Block]
    claims: list[list[Cell]]
    by_example: list[list[str]]
    notes: list[str]
    provenance: list[str]
    files: list[Link]

    @property
    def tasks(self) -> str:
        return " ".join(dict.fromkeys(self.report.table.columns[key].experiment for key in self.report.columns))

    @property
    def done(self) -> str:
        """Such as ``3 of 36 runs``."""
        return f"{len(self.report.made)} of {self.report.planned} runs"


def part(report: Report, place: Place, out: Path) -> Part:
    """What a page in the folder ``out`` says of a report."""
    folder, name = place.tables / report.profile, report.table.name
    links = os.path.relpath(place.runs, out)
    written = [folder / f"{name}.{end}" for end in ENDS if end != "png" or report.table.figure]
    there = [path for path in written if place.name == PUBLISHED or path.exists()]  # publishing writes all of them
    return Part(
        anchor=anchor(report, place),
        report=report,
        place=place,
        blocks=blocks(report, links),
        claims=[[Cell(text), Cell(x.verdict, (), kind(x.verdict)), Cell(x.evidence)] for text, x in report.claims],
        by_example=paired.compared_all(report, place.runs),
        notes=render.headline(report),
        provenance=[*render.footer(report), *(moved(x, folder, out) for x in changes.sentences(folder, name))],
        files=[Link(path.suffix[1:], os.path.relpath(path, out)) for path in there],
    )


def moved(text: str, folder: Path, out: Path) -> str:
    """Markdown of a page in ``folder`` with its relative links as seen from ``out``."""
    return re.sub(r"\]\((?!https?:|#)([^)]+)\)", lambda link: f"]({os.path.relpath(folder / link[1], out)})", text)


def anchor(report: Report, place: Place) -> str:
    here = "here-" if place.name == HERE else ""
    return f"{here}{report.profile}-{report.table.name}"


def blocks(report: Report, links: str) -> list[Block]:
    """The blocks of ``table_text`` with links to single runs; ``links``: path to the runs' folder from the page."""
    table = report.table
    if table.axis:
        tasks = " ".join(dict.fromkeys(table.columns[key].experiment for key in report.columns))
        rows = [
            [Cell(table.columns[key].label), *(of_grid(x, table.number, links) for x in results.values())]
            for key, results in report.columns.items()
        ]
        heads = [table.axis.label, *(row.label for row in table.rows.values())]
        return [Block(f"Test {table.metric}", tasks, heads, rows)] if rows else []
    model, parameters, *judged = table_text.HEADS
    heads = [model, *judged, "each seed", parameters, "cost of a run"]
    return [
        Block(
            table.columns[key].label,
            table.columns[key].experiment,
            heads,
            [of_row(result, table.number, links) for result in results.values()],
        )
        for key, results in report.columns.items()
    ]


def of_grid(result: Result, number: str, links: str) -> Cell:
    return Cell(table_text.value(result, number), runs(result, number, links), kind(result.ours.reason))


def of_row(result: Result, number: str, links: str) -> list[Cell]:
    """The texts of ``table_text.cells``, every seed's value, their cost; what is judged first, as a phone is narrow."""
    model, parameters, *texts, verdict = table_text.cells(result, number, brief=False)
    seeds = runs(result, number, links)
    return [
        *map(Cell, [model, *texts]),
        Cell(verdict, (), kind(verdict)),
        Cell("" if seeds else "-", seeds),
        *map(Cell, [parameters, table_text.cost(result)]),
    ]


def runs(result: Result, number: str, links: str) -> tuple[Link, ...]:
    """The value of every run that has a record, or what became of it, linked to the record."""
    found = []
    for run, entry in zip(result.runs, result.records, strict=True):
        if entry:
            value = entry["metrics"].get(result.metric)
            measured = entry["status"] == "finished" and value is not None and math.isfinite(value)
            words = shown(value, number) if measured else entry["status"].replace("_", " ")
            title = f"seed {run.seed}: the record of run {run.signature}"
            found.append(Link(words, f"{links}/{run.signature}/run.json", title))
    return tuple(found)


def kind(verdict: str) -> str:
    """How a verdict is coloured; its words say it, too."""
    if not verdict:
        return ""
    for name, words in (("good", GOOD), ("bad", BAD)):
        if verdict.startswith(words):
            return name
    return "open"


def in_order(parts: Iterable[Part]) -> dict[str, list[Part]]:
    """The parts by table: the papers' tables first, then our own; paper, fast, quick, of each this machine first."""

    def rank(part: Part) -> tuple[bool, str, int, bool]:
        table, profile = part.report.table, part.report.profile
        return not table.default, table.name, -list(schema.PROFILES).index(profile), part.place.name != HERE

    found: dict[str, list[Part]] = {}
    for one in sorted(parts, key=rank):
        found.setdefault(one.report.table.name, []).append(one)
    return found
