"""Plan + records -> what a table says; render.py writes it down."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indrnn import record
from indrnn.tables import plan, profile_differences, verdict
from indrnn.tables.schema import Claim, Column, Row, Table, load_table, only
from indrnn.tables.verdict import Finding, Record, Sample


@dataclass(frozen=True)
class Result:
    """One cell: its runs (of the chosen candidate), their records, and what came out."""

    row: Row
    column: Column
    column_key: str
    runs: tuple[plan.Run, ...]
    records: tuple[Record | None, ...]
    ours: Sample
    verdict: str
    metric: str  # as records call it, such as test/mse
    judged: bool = False
    chosen: str = ""

    @property
    def paper(self) -> int | float | str | None:
        return self.row.paper.get(self.column_key)

    @property
    def gap(self) -> float | None:
        """Our mean minus the paper's value, where both are numbers and the profile compares them."""
        if not self.judged or self.paper is None or isinstance(self.paper, str) or not self.ours.values:
            return None
        return self.ours.mean - self.paper

    @property
    def made(self) -> list[Record]:
        return [entry for entry in self.records if entry]

    @property
    def parameters(self) -> int | None:
        return next((entry["parameters"] for entry in self.made), None)


@dataclass(frozen=True)
class Report:
    """Everything that a rendered table shows: results by column and row (keys), claims as sentences with findings."""

    table: Table
    profile: str
    columns: dict[str, dict[str, Result]]
    elsewhere: list[str]
    claims: list[tuple[str, Finding]]
    cuts: dict[str, list[str]]
    stand_ins: list[str]
    made: list[Record]
    planned: int
    command: str

    @property
    def complete(self) -> bool:
        """Every planned run has a final record."""
        return sum(entry["status"] in record.FINAL for entry in self.made) == self.planned

    @property
    def missing(self) -> list[str]:
        """The planned runs without a record: a line per column, their rows with how many of them."""
        lines = []
        for key, results in self.columns.items():
            counts = {x.row.label: sum(entry is None for entry in x.records) for x in results.values()}
            rows = ", ".join(f"{label} {count}" for label, count in counts.items() if count)
            lines += [f"{self.table.columns[key].label}: {rows}"] if rows else []
        return lines


def report(
    name: str,
    profile: str,
    folder: Path,
    seeds: list[int] | None = None,
    extra: Sequence[str] = (),
    smoke: bool = False,
    command: str = "",
    only_columns: list[str] | None = None,
) -> Report:
    """Read the records of a table's planned runs and judge them.

    Args:
        name: of a file in conf/table.
        profile, seeds, extra, smoke: as in ``plan.plan``.
        folder: of the runs, one folder per signature.
        command: that makes these runs, for the footer.
        only_columns: keys of the columns wanted, all if omitted.
    """
    table = load_table(name)
    cells = plan.plan(table, profile, only_columns, seeds=seeds, extra=extra, smoke=smoke)
    found = records([run for cell in cells for run in cell.runs], folder)
    columns: dict[str, dict[str, Result]] = {}
    for cell in cells:
        columns.setdefault(cell.column, {})[cell.row] = result(table, profile, cell, found)
    there = {key: results for key, results in columns.items() if profile in table.columns[key].profiles}
    made = [entry for entry in found.values() if entry]
    return Report(
        table,
        profile,
        there,
        elsewhere(table, [key for key in columns if key not in there]),
        findings(table, profile, columns),
        profile_differences.cuts(table, profile, cells, extra),
        list(dict.fromkeys(str(entry["data"]["stand_in"]) for entry in made if entry["data"].get("stand_in"))),
        made,
        len(found),
        command or f"make reproduce-table TABLE={name} PROFILE={profile}",
    )


def records(runs: Iterable[plan.Run], folder: Path) -> dict[str, Record | None]:
    """The record of every planned run by signature; one that lies in another run's folder counts as none."""
    found = {}
    for signature in dict.fromkeys(run.signature for run in runs):
        entry = record.read(folder / signature)
        found[signature] = entry if entry and entry["signature"] == signature else None
    return found


def result(table: Table, profile: str, cell: plan.Cell, found: dict[str, Record | None]) -> Result:
    """Judge one cell, after validation has chosen among its candidates."""
    row, column = table.rows[cell.row], table.columns[cell.column]
    metric = f"test/{row.metric or table.metric}"
    if not cell.runs:
        return Result(row, column, cell.column, (), (), Sample((), 0, cell.reason), cell.reason, metric)
    candidates: dict[int, list[plan.Run]] = {}
    for run in cell.runs:
        candidates.setdefault(run.candidate, []).append(run)
    entries = [[found[run.signature] for run in runs] for runs in candidates.values()]
    best, chosen = 0, ""
    if len(candidates) > 1:
        best = verdict.best(entries, f"val/{table.metric}", table.lower_is_better)
        if best is None:
            every = tuple(entry for group in entries for entry in group)
            missing = Sample((), len(cell.runs), verdict.pending(every))
            return Result(row, column, cell.column, cell.runs, every, missing, missing.reason, metric)
        chosen = f"best of {len(candidates)} on validation: {', '.join(row.candidates[best])}"
    ours = verdict.sample(entries[best], metric)
    judged = profile in table.judged
    words = ours.reason or f"not judged at {profile}"
    if judged:
        words = verdict.judge(ours, row.paper.get(cell.column), column.tolerance, table.lower_is_better)
    runs, made = tuple(candidates[best]), tuple(entries[best])
    return Result(row, column, cell.column, runs, made, ours, words, metric, judged, chosen)


def elsewhere(table: Table, keys: list[str]) -> list[str]:
    """Columns that other profiles run, one sentence per set of profiles."""
    groups: dict[str, list[str]] = {}
    for key in keys:
        groups.setdefault(only(table.columns[key].profiles), []).append(table.columns[key].label)
    return [f"{', '.join(labels)}: {reason}." for reason, labels in groups.items()]


def findings(table: Table, profile: str, columns: dict[str, dict[str, Result]]) -> list[tuple[str, Finding]]:
    """The claims of this profile with what they came to: each once per column, other row and other column.

    A claim that counts columns comes once per other row. One whose columns are not all there is not judged.
    """
    found = []
    for claim in (claim for claim in table.claims if profile in claim.profiles):
        others = claim.lower_than or claim.higher_than or claim.more_than or [""]
        if claim.more_than is not None:
            places = [(claim.columns, claim.columns)]
        else:
            places = [([key], [other]) for key in claim.columns for other in claim.other_columns or [key]]
        for (here, there), other in itertools.product(places, others):
            if {*here, *there} <= columns.keys():
                ours = [columns[key][claim.row] for key in here]
                theirs = [columns[key][other].ours for key in there] if other else []
                config = ours[0].runs[0].config if ours[0].runs else None
                text = sentence(table, claim, here[0], other, there[0], config)
                found.append((text, finding(claim, [x.ours for x in ours], theirs, table.number)))
    return found


def finding(claim: Claim, ours: list[Sample], theirs: list[Sample], number: str) -> Finding:
    """Judge a claim by its cells: one of each side, unless it counts them."""
    if claim.more_than is not None:
        return verdict.more_below(ours, theirs, claim.below)
    if claim.lower_than is not None:
        return verdict.lower(ours[0], theirs[0], number)
    if claim.higher_than is not None:
        return verdict.higher(ours[0], theirs[0], number)
    if claim.below is not None:
        return verdict.below(ours[0], claim.below, number)
    return verdict.above(ours[0], claim.above, number)


def sentence(
    table: Table, claim: Claim, column: str, other: str, other_column: str, config: dict[str, Any] | None
) -> str:
    """A claim's text with its budget, taken from the config of its own row."""
    return claim.text.format(
        column=table.columns[column].label,
        row=table.rows[claim.row].label,
        other=table.rows[other].label if other else "",
        other_column=table.columns[other_column].label,
        updates=f"{config['trainer']['max_updates']:,}" if config else "?",
        T=config["data"]["seq_len"] if config else "?",
        below=claim.below,
        above=claim.above,
    )
