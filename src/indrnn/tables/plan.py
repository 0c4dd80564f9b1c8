"""conf/table -> the runs that a table needs: which they are, not whether they have been made.

A config is composed once per cell and candidate; the seeds share it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from indrnn import configs, digests, provenance, record
from indrnn.configs import PROFILES
from indrnn.errors import UserError
from indrnn.tables import candidates, schema
from indrnn.tables.schema import Column, Row, Table, only


@dataclass(frozen=True)
class Run:
    """One planned training. ``overrides`` decide its signature; ``labels`` only name it in W&B."""

    table: str
    metric: str
    row: str
    column: str
    seed: int
    candidate: int
    overrides: tuple[str, ...]
    labels: tuple[str, ...]
    config: dict[str, Any] = field(repr=False)
    signature: str

    @property
    def name(self) -> str:
        return f"{self.row}, {self.column}, seed {self.seed}"


@dataclass(frozen=True)
class Cell:
    """What stands in one row (key) and column (key): runs, or the reason why there are none."""

    row: str
    column: str
    runs: tuple[Run, ...] = ()
    reason: str = ""


def plan(
    table: Table,
    profile: str,
    columns: list[str] | None = None,
    seeds: list[int] | None = None,
    extra: Sequence[str] = (),
    smoke: bool = False,
) -> list[Cell]:
    """All cells of a table, column by column.

    Args:
        profile: one of PROFILES.
        columns: keys of the columns wanted, all if omitted.
        seeds: instead of the table's.
        extra: overrides for every run, such as ``trainer.max_updates=2``.
        smoke: what a smoke test trains: also the rows and columns that only other profiles run; of a table that names
            ``smoke`` columns, these alone.
    """
    if profile not in PROFILES:
        raise UserError(f"There is no profile {profile!r}; there are: {', '.join(PROFILES)}.")
    for key in columns or ():
        if key not in table.columns:
            raise UserError(f"Table {table.name} has no column {key!r}; it has: {', '.join(table.columns)}.")
    cells = []
    for column_key in columns or (smoke and table.smoke) or table.columns:
        column = table.columns[column_key]
        for row_key, row in table.rows.items():
            reason = _reason(row_key, row, column_key, column, profile, smoke)
            runs: list[Run] = []
            if not reason:
                for number, overrides in enumerate(cell_overrides(table, profile, row_key, column_key)):
                    runs += _runs(table, row, column_key, [*overrides, *extra], number, seeds or table.seeds)
            cells.append(Cell(row_key, column_key, tuple(runs), reason))
    return cells


def _reason(key: str, row: Row, column_key: str, column: Column, profile: str, smoke: bool) -> str:
    """Why a cell has no runs; empty where it has."""
    if not row.profiles:
        return "cited"
    if column_key in row.reasons:
        return row.reasons[column_key]
    if column.rows is not None and key not in column.rows:
        return "not run in the paper"
    if profile not in column.profiles and not smoke:
        return only(column.profiles)
    if profile not in row.profiles and not smoke:
        return only(row.profiles)
    return "" if row.overrides is not None else "not built yet"


def cell_overrides(table: Table, profile: str, row: str, column: str) -> list[list[str]]:
    """The overrides of a cell, seed excluded: one list per candidate. The last word on a key holds."""
    the_row, the_column = table.rows[row], table.columns[column]
    experiment = the_column.experiment if profile == "paper" else f"{profile}/{the_column.experiment}"
    base = [f"experiment={experiment}", *the_row.overrides, *the_column.overrides]
    base += [*the_row.column_overrides.get(column, []), *table.profile_overrides.get(profile, [])]
    base += the_row.profile_overrides.get(profile, [])
    base = list({override.partition("=")[0]: override for override in base}.values())
    candidates = the_row.candidates if profile in table.candidates_at else []
    return [[*base, *candidate] for candidate in candidates or [[]]]


def _runs(
    table: Table, row: Row, column_key: str, overrides: list[str], candidate: int, seeds: list[int]
) -> Iterator[Run]:
    column = table.columns[column_key]
    for seed, config in zip(seeds, _signed(tuple(overrides), tuple(seeds), configs.CONF), strict=True):
        name = f"{row.label}, {column.label}, seed {seed}"
        labels = (
            f"logger.group={quoted(table.name)}",
            f"logger.job_type={quoted(column.experiment)}",
            f"logger.name={quoted(name)}",
            f"logger.row={quoted(row.label)}",
            f"logger.column={quoted(column_key)}",
        )
        yield Run(
            table=table.name,
            metric=f"test/{row.metric or table.metric}",
            row=row.label,
            column=column.label,
            seed=seed,
            candidate=candidate,
            overrides=(*overrides, f"seed={seed}"),
            labels=labels,
            config=config,
            signature=configs.signature(config),
        )


@cache
def _signed(overrides: tuple[str, ...], seeds: tuple[int, ...], conf: Path) -> list[dict[str, Any]]:
    """The signed config of each seed; nobody changes them. Composed once, though a plan is made several times."""
    cfg = configs.build(list(overrides))
    configs.refuse_unread(cfg, list(overrides))
    found = []
    for seed in seeds:
        cfg.seed = seed  # the same as the override: nothing is chosen by the seed while composing
        found.append(configs.signed(cfg))
    return found


def quoted(text: str) -> str:
    """A string as a quoted value of Hydra's override grammar."""
    return QuotedString(text=text, quote=Quote.single).with_quotes()


def runs(
    tables: Iterable[str] | None,
    profile: str,
    columns: list[str] | None = None,
    seeds: list[int] | None = None,
    extra: Sequence[str] = (),
    smoke: bool = False,
    folder: Path | None = None,
) -> list[Run]:
    """The runs of several tables (the default ones if omitted), each signature once; the rest as in ``plan``.

    Args:
        folder: of records; given, only what they let a cell with several candidates ask for (``candidates``).
    """
    found: dict[str, Run] = {}
    for table in map(schema.load_table, tables or schema.default_tables()):
        for cell in plan(table, profile, columns, seeds, extra, smoke):
            wanted: Iterable[Run] = cell.runs
            if folder is not None and len({run.candidate for run in cell.runs}) > 1:
                records = {run.signature: record.read(folder / run.signature) for run in cell.runs}
                wanted = candidates.asked_for(table, cell.runs, records)
            for run in wanted:
                found.setdefault(run.signature, run)
    return list(found.values())


def with_weights(profile: str) -> set[str]:
    """The signatures of the runs of a profile whose networks are published with their records."""
    found = set()
    for table in map(schema.load_table, schema.table_names()):
        for kept in (kept for kept in table.weights if kept.profile == profile):
            cells = plan(table, profile, [kept.column], [kept.seed])
            found |= {run.signature for cell in cells if cell.row == kept.row for run in cell.runs}
    return found


def state(run: Run, folder: Path) -> str:
    """A planned run's status in a folder of runs: its record's, ``to do``, or ``other data`` where that has others."""
    found = record.read(folder / run.signature)
    if not found:
        return "to do"
    same = digests.agree(digests.of_record(found), digests.of(run.config["data"]))
    return found["status"] if same else "other data"


def reused(runs: Iterable[Run], folder: Path) -> str:
    """One line on the runs that are done and were made by other code than today's; empty where there are none."""
    today = provenance.source()
    done = [
        entry for run in runs if state(run, folder) in record.FINAL and (entry := record.read(folder / run.signature))
    ]
    other = [entry for entry in done if entry["source"] != today]
    if not other:
        return ""
    since = min(entry["started"] for entry in other)[:10]
    return (
        f"{len(other)} of the {len(done)} runs done before were made by other code, since {since}, and stand; "
        f"`make why RUN={other[0]['signature']}` says what differs, FRESH=1 makes all anew."
    )
