"""A table of the papers as data: conf/table/<name>.yaml, and what such a file may say.

It is plain data, read as the dataclasses below; a mistyped key is refused.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from indrnn import record
from indrnn.errors import UserError

CONF = record.ROOT / "conf"
PROFILES = {
    "quick": "small enough for two CPU cores in minutes; claims are judged, the paper's decimals are not, because they "
    "are about converged models",
    "fast": "the paper's data, model and protocol with at most a tenth of its updates and examples",
    "paper": "as published",
}


@dataclass
class Column:
    """A task of the table. ``rows``, if given, are the only ones the paper ran there."""

    label: str
    experiment: str
    profiles: list[str]
    overrides: list[str] = field(default_factory=list)
    tolerance: float | None = None
    rows: list[str] | None = None


@dataclass
class Row:
    """A model of the table.

    Without ``profiles`` its numbers are cited; with ``profiles`` but without ``overrides`` its model is not built
    yet. ``paper`` holds the published value per column: a number; words, where the paper prints a curve; "-", where
    it prints none. ``candidates`` are lists of overrides of which validation takes the best, at the table's
    ``candidates_at`` profiles.
    """

    label: str
    source: str = ""
    profiles: list[str] = field(default_factory=list)
    overrides: list[str] | None = None
    column_overrides: dict[str, list[str]] = field(default_factory=dict)
    candidates: list[list[str]] = field(default_factory=list)
    paper: dict[str, int | float | str] = field(default_factory=dict)
    paper_parameters: str = ""


@dataclass
class Claim:
    """A sentence to be judged, once per column and per other row; exactly one of the last four says how.

    ``text`` may hold {column}, {row}, {other}, {updates}, {T}, {below}, {above}: a claim names its budget.
    """

    text: str
    profiles: list[str]
    columns: list[str]
    row: str
    lower_than: list[str] | None = None
    higher_than: list[str] | None = None
    below: float | None = None
    above: float | None = None


@dataclass
class Table:
    """One of the papers' tables as data; the metric is read as test/<metric>, candidates are chosen by val/<metric>."""

    title: str
    source: str
    metric: str
    unit: str
    lower_is_better: bool
    number: str
    seeds: list[int]
    columns: dict[str, Column]
    rows: dict[str, Row]
    judged: list[str]
    candidates_at: list[str] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    quick_note: str = ""
    figure: str | None = None
    name: str = ""


def table_names() -> list[str]:
    return sorted(path.stem for path in (CONF / "table").glob("*.yaml"))


def load_table(name: str) -> Table:
    """Read conf/table/<name>.yaml; UserError where there is none or where it contradicts itself."""
    if name not in table_names():
        raise UserError(f"There is no table {name!r}; there are: {', '.join(table_names())}.")
    path = CONF / "table" / f"{name}.yaml"
    try:
        table = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Table), OmegaConf.load(path)))
    except (OmegaConfBaseException, ValueError) as error:
        raise UserError(f"{path}: {str(error).splitlines()[0]}.") from None
    table.name = name
    for problem in _problems(table):
        raise UserError(f"{path}: {problem}.")
    return table


def _problems(table: Table) -> Iterator[str]:
    """What a table file says wrong: names that are not there, claims without one test, numbers without tolerance."""

    def strangers(names: Iterable[str], known: Iterable[str], where: str) -> Iterator[str]:
        for name in names:
            if name not in known:
                yield f"{where} names {name!r}, which is none of {', '.join(known)}"

    yield from strangers([*table.judged, *table.candidates_at], PROFILES, "judged or candidates_at")
    for key, column in table.columns.items():
        yield from strangers(column.profiles, PROFILES, f"column {key}")
        yield from strangers(column.rows or [], table.rows, f"column {key}")
    for key, row in table.rows.items():
        yield from strangers(row.profiles, PROFILES, f"row {key}")
        yield from strangers([*row.paper, *row.column_overrides], table.columns, f"row {key}")
        for column, value in row.paper.items():
            if not isinstance(value, str) and table.columns[column].tolerance is None:
                yield f"row {key} has a number in column {column}, which has no tolerance to judge it by"
    for claim in table.claims:
        where = f"claim {claim.text!r}"
        others = [*(claim.lower_than or []), *(claim.higher_than or [])]
        yield from strangers(claim.profiles, PROFILES, where)
        yield from strangers(claim.columns, table.columns, where)
        yield from strangers([claim.row, *others], table.rows, where)
        if sum(x is not None for x in (claim.lower_than, claim.higher_than, claim.below, claim.above)) != 1:
            yield f"{where} needs exactly one of lower_than, higher_than, below, above"


def only(profiles: list[str]) -> str:
    """The reason of a row or column that other profiles run, such as ``paper profile only``."""
    return f"{' and '.join(profiles)} profile{'s' * (len(profiles) > 1)} only"
