"""A table of the papers as data: conf/table/<name>.yaml, and what such a file may say.

It is plain data, read as the dataclasses below; a mistyped key is refused.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from indrnn import configs
from indrnn.configs import PROFILES
from indrnn.errors import UserError, in_one_line


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
    yet. ``reasons`` say per column why there is no run. ``paper`` holds the published value per column: a number;
    words, where the paper prints a curve; "-", where it prints none. ``candidates`` are lists of overrides of which
    validation takes the best, at the table's ``candidates_at`` profiles. ``profile_overrides`` change the row's
    budget. ``metric``, if given, is read from the records instead of the table's.
    """

    label: str
    source: str = ""
    profiles: list[str] = field(default_factory=list)
    overrides: list[str] | None = None
    column_overrides: dict[str, list[str]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    candidates: list[list[str]] = field(default_factory=list)
    profile_overrides: dict[str, list[str]] = field(default_factory=dict)
    metric: str = ""
    paper: dict[str, int | float | str] = field(default_factory=dict)
    paper_parameters: str = ""


@dataclass
class Claim:
    """A sentence to be judged, once per column and per other row; one of lower_than to above says how.

    The other rows stand in the same column or, once per each, in ``other_columns``. With ``more_than``, the columns
    where the row lies ``below`` are counted against those of the other rows. ``text`` may hold {column}, {row},
    {other}, {other_column}, {updates}, {T}, {below}, {above}: a claim names its budget. ``name``: what
    conf/findings.yaml calls it by, which several claims of a table may share.
    """

    text: str
    profiles: list[str]
    columns: list[str]
    row: str
    lower_than: list[str] | None = None
    higher_than: list[str] | None = None
    below: float | None = None
    above: float | None = None
    more_than: list[str] | None = None
    other_columns: list[str] | None = None
    name: str = ""


@dataclass
class Pair:
    """Two rows that differ in one thing, compared seed by seed (``indrnn.studies.ablations``).

    ``question`` is what pairs are grouped by; ``text`` says what ``row`` has and ``against`` has not.
    """

    question: str
    text: str
    row: str
    against: str
    columns: list[str]


@dataclass
class Weights:
    """A run whose trained network is published with its record, for who wants to look at one without training."""

    profile: str
    row: str
    column: str
    seed: int


@dataclass
class Axis:
    """What the columns of a grid differ in.

    ``label`` heads the table, ``long`` the figure's axis; ``config`` is the dotted name of the value in a run's
    config. ``log`` makes both scales of the figure logarithmic; ``marks`` are its horizontal lines, by their labels,
    beside the chance level where that is computed (``indrnn.tables.chance``).
    """

    label: str
    long: str
    config: str
    log: bool = False
    marks: dict[str, float] = field(default_factory=dict)


@dataclass
class Table:
    """One of the papers' tables as data; the metric is read as test/<metric>, candidates are chosen by val/<metric>.

    With an ``axis`` it is shown as one grid, a line per column and a field per row. ``default`` false: only who names
    it gets it. ``smoke``: the only columns that a smoke test trains. ``profile_overrides`` change the budget of all.
    ``get_data`` is said where data are missing. ``pairs`` are compared as a ``difference`` or a ``ratio``. ``notes``
    are said at every profile, ``profile_notes`` at theirs. The networks of ``weights`` are published, too. Where the
    paper prints a curve, the verdict is the update from which on the validation metric stays below ``stays_below``.
    """

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
    profile_notes: dict[str, list[str]] = field(default_factory=dict)
    get_data: str = ""
    figure: str | None = None
    axis: Axis | None = None
    default: bool = True
    smoke: list[str] = field(default_factory=list)
    profile_overrides: dict[str, list[str]] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
    pairs_as: str = "difference"
    weights: list[Weights] = field(default_factory=list)
    stays_below: list[float] = field(default_factory=list)
    name: str = ""


def table_names() -> list[str]:
    return sorted(path.stem for path in (configs.CONF / "table").glob("*.yaml"))


def default_tables() -> list[str]:
    """The tables that are meant where none is named."""
    return [name for name in table_names() if load_table(name).default]


def load_table(name: str) -> Table:
    """Read conf/table/<name>.yaml; UserError where there is none or where it contradicts itself."""
    if name not in table_names():
        raise UserError(f"There is no table {name!r}; there are: {', '.join(table_names())}.")
    path = configs.CONF / "table" / f"{name}.yaml"
    try:
        table = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Table), OmegaConf.load(path)))
    except (OmegaConfBaseException, ValueError, YAMLError) as error:
        raise UserError(f"{path}: {in_one_line(error)}.") from None
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

    profiles = [*table.judged, *table.candidates_at, *table.profile_overrides, *table.profile_notes]
    yield from strangers(profiles, PROFILES, "judged, candidates_at, profile_overrides or profile_notes")
    yield from strangers(table.smoke, table.columns, "smoke")
    if table.figure not in (None, "curves", "axis") or (table.figure == "axis" and not table.axis):
        yield f"figure {table.figure!r} is neither curves nor axis, or there is no axis to draw over"
    for key, column in table.columns.items():
        yield from strangers(column.profiles, PROFILES, f"column {key}")
        yield from strangers(column.rows or [], table.rows, f"column {key}")
    for key, row in table.rows.items():
        yield from strangers([*row.profiles, *row.profile_overrides], PROFILES, f"row {key}")
        yield from strangers([*row.paper, *row.column_overrides, *row.reasons], table.columns, f"row {key}")
        for column, value in row.paper.items():
            if not isinstance(value, str) and table.columns[column].tolerance is None:
                yield f"row {key} has a number in column {column}, which has no tolerance to judge it by"
    if table.pairs_as not in ("difference", "ratio"):
        yield f"pairs_as {table.pairs_as!r} is neither difference nor ratio"
    for pair in table.pairs:
        where = f"pair {pair.text!r}"
        yield from strangers(pair.columns, table.columns, where)
        yield from strangers([pair.row, pair.against], table.rows, where)
    for kept in table.weights:
        yield from strangers([kept.profile], PROFILES, "weights")
        yield from strangers([kept.row], table.rows, "weights")
        yield from strangers([kept.column], table.columns, "weights")
    for claim in table.claims:
        where = f"claim {claim.text!r}"
        others = [*(claim.lower_than or []), *(claim.higher_than or []), *(claim.more_than or [])]
        yield from strangers(claim.profiles, PROFILES, where)
        yield from strangers([*claim.columns, *(claim.other_columns or [])], table.columns, where)
        yield from strangers([claim.row, *others], table.rows, where)
        if sum(x is not None for x in (claim.lower_than, claim.higher_than, claim.below, claim.above)) != 1:
            yield f"{where} needs exactly one of lower_than, higher_than, below, above"
        if claim.more_than is not None and claim.below is None:
            yield f"{where} has more_than, which counts columns below a bound, but no below"
        if claim.other_columns is not None and claim.lower_than is None and claim.higher_than is None:
            yield f"{where} has other_columns but neither lower_than nor higher_than"


def only(profiles: list[str]) -> str:
    """The reason of a row or column that other profiles run, such as ``paper profile only``."""
    return f"{' and '.join(profiles)} profile{'s' * (len(profiles) > 1)} only"
