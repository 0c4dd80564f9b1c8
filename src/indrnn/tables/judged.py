"""Plan + records -> what a table says; render.py writes it down."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from indrnn import digests, record
from indrnn.tables import candidates, claims, plan, profile_differences, verdict
from indrnn.tables.schema import Column, Row, Table, load_table, only
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
    found: dict[str, Record | None] = field(default_factory=dict)  # by signature, those of all candidates
    reached: dict[float, tuple[int | None, ...]] = field(default_factory=dict)  # Table.stays_below -> update per seed
    brief: str = ""  # the verdict in fewer words, where it is long

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
    def gap_interval(self) -> tuple[float, float] | None:
        """The 90% interval of the gap over seeds, where there is a gap and more than one seed."""
        if self.gap is None or self.ours.interval is None:
            return None
        return tuple(end - self.paper for end in self.ours.interval)

    @property
    def made(self) -> list[Record]:
        return [entry for entry in self.records if entry]

    @property
    def parameters(self) -> int | None:
        return next((entry["parameters"] for entry in self.made), None)


@dataclass(frozen=True)
class Report:
    """Everything that a rendered table shows."""

    table: Table
    profile: str
    results: dict[str, dict[str, Result]]  # by column and row (keys), also of columns that only other profiles run
    cuts: dict[str, list[str]]  # what the profile changes, by column label
    command: str  # that makes these runs

    def of(self, keys: Iterable[str]) -> "Report":
        """What it says of some columns alone, in their order; claims that need other columns are left out."""
        labels = [self.table.columns[key].label for key in keys]
        cuts = {label: texts for label, texts in self.cuts.items() if label in labels}
        return replace(self, results={key: self.results[key] for key in keys}, cuts=cuts)

    @property
    def columns(self) -> dict[str, dict[str, Result]]:
        """The results of the columns that this profile runs."""
        return {key: x for key, x in self.results.items() if self.profile in self.table.columns[key].profiles}

    @property
    def elsewhere(self) -> list[str]:
        """Columns that other profiles run, one sentence per set of profiles."""
        groups: dict[str, list[str]] = {}
        for column in (self.table.columns[key] for key in self.results if key not in self.columns):
            groups.setdefault(only(column.profiles), []).append(column.label)
        return [f"{', '.join(labels)}: {reason}." for reason, labels in groups.items()]

    @cached_property
    def judgements(self) -> list[claims.Judgement]:
        return claims.judgements(self.table, self.profile, self.results)

    @property
    def claims(self) -> list[tuple[str, Finding]]:
        return [(judgement.text, judgement.finding) for judgement in self.judgements]

    @cached_property
    def found(self) -> dict[str, Record | None]:
        """The record of every planned run by signature."""
        cells = (cell for results in self.results.values() for cell in results.values())
        return {signature: entry for cell in cells for signature, entry in cell.found.items()}

    @property
    def made(self) -> list[Record]:
        return [entry for entry in self.found.values() if entry]

    @property
    def planned(self) -> int:
        return len(self.found)

    @property
    def stand_ins(self) -> list[str]:
        """What the data that these runs read stand in for, in words."""
        return list(dict.fromkeys(str(x["data"]["stand_in"]) for x in self.made if x["data"].get("stand_in")))

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
) -> Report:
    """Read the records of a table's planned runs and judge them.

    Args:
        name: of a file in conf/table.
        profile, seeds, extra, smoke: as in ``plan.plan``.
        folder: of the runs, one folder per signature.
        command: that makes these runs, for the footer.
    """
    table = load_table(name)
    cells = plan.plan(table, profile, seeds=seeds, extra=extra, smoke=smoke)
    found = records([run for cell in cells for run in cell.runs], folder)
    results: dict[str, dict[str, Result]] = {}
    for cell in cells:
        results.setdefault(cell.column, {})[cell.row] = result(table, profile, cell, found, folder)
    cuts = profile_differences.cuts(table, profile, cells, extra)
    return Report(table, profile, results, cuts, command or f"make reproduce-table TABLE={name} PROFILE={profile}")


def records(runs: Iterable[plan.Run], folder: Path) -> dict[str, Record | None]:
    """The record of every planned run by signature; one that lies in another run's folder counts as none."""
    found = {}
    for signature in dict.fromkeys(run.signature for run in runs):
        entry = record.read(folder / signature)
        found[signature] = entry if entry and entry["signature"] == signature else None
    return found


def result(table: Table, profile: str, cell: plan.Cell, found: dict[str, Record | None], folder: Path) -> Result:
    """Judge one cell, after validation has chosen among its candidates; ``folder`` holds the runs' curves."""
    row, column = table.rows[cell.row], table.columns[cell.column]
    metric = f"test/{row.metric or table.metric}"
    if not cell.runs:
        return Result(row, column, cell.column, (), (), Sample((), 0, cell.reason), cell.reason, metric)
    runs = tuple(candidates.asked_for(table, cell.runs, found))
    planned = {run.signature: found[run.signature] for run in runs}
    every, of_each, chosen = tuple(planned.values()), candidates.groups(runs), ""
    if reason := other_data(every):
        mixed = Sample((), len(runs), reason)
        return Result(row, column, cell.column, runs, every, mixed, reason, metric, found=planned)
    best = candidates.best(table, cell.runs, found)
    if best is None:
        pending = verdict.pending([*every, *[None] * candidates.later(cell.runs)])
        missing = Sample((), len(runs) + candidates.later(cell.runs), pending)
        return Result(row, column, cell.column, runs, every, missing, pending, metric, found=planned)
    if len(of_each) > 1:
        taken = ", ".join(row.candidates[best])
        chosen = f"best of {len(of_each)} on validation with seed {of_each[best][0].seed}: {taken}"
    runs = tuple(of_each[best])
    made = tuple(planned[run.signature] for run in runs)
    ours = verdict.sample(made, metric)
    judged = profile in table.judged
    words = ours.reason or f"not judged at {profile}"
    if judged:
        words = verdict.judge(ours, row.paper.get(cell.column), column.tolerance, table.lower_is_better)
    reached, brief = {}, "within, n too small" if words == verdict.WITHIN else ""
    if table.stays_below and not ours.reason:
        curves = [record.curve(folder / run.signature) for run in runs]
        validated = f"val/{table.metric}"
        reached = {
            bound: tuple(verdict.stays_below(curve, validated, bound) for curve in curves)
            for bound in table.stays_below
        }
        if words == verdict.CURVE:
            budget = runs[0].config["trainer"]["max_updates"]
            words, brief = verdict.when(reached, budget), verdict.when(reached, budget, brief=True)
    return Result(row, column, cell.column, runs, made, ours, words, metric, judged, chosen, planned, reached, brief)


def other_data(entries: Iterable[Record | None]) -> str:
    """Why the records of a cell are not averaged: they are of different data. Empty where they may be of the same."""
    counts = Counter(digest for entry in entries if entry and (digest := digests.of_record(entry)))
    return f"different data ({' and '.join(map(str, counts.values()))} runs)" if len(counts) > 1 else ""
