"""Which runs a cell with several candidates asks for by now: the first seed of each, then the best one's other seeds.

A candidate is a learning rate of a baseline, which the papers do not give. Validation chooses, with one seed: five runs
a cell instead of nine.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from indrnn.tables import verdict
from indrnn.tables.schema import Table
from indrnn.tables.verdict import Record

if TYPE_CHECKING:
    from indrnn.tables.plan import Run


def groups(runs: Sequence["Run"]) -> "list[list[Run]]":
    """The runs of each candidate, seeds in their order."""
    found: dict[int, list[Run]] = {}
    for run in runs:
        found.setdefault(run.candidate, []).append(run)
    return list(found.values())


def best(table: Table, runs: Sequence["Run"], found: Mapping[str, Record | None]) -> int | None:
    """The candidate whose first seed has the best validation metric; None until the first seed of each is final.

    One that diverged is out; if all did, the first stands for them.
    """
    scouts = [[found[group[0].signature]] for group in groups(runs)]
    return 0 if len(scouts) == 1 else verdict.best(scouts, f"val/{table.metric}", table.lower_is_better)


def asked_for(table: Table, runs: Sequence["Run"], found: Mapping[str, Record | None]) -> "list[Run]":
    """The runs of a cell that are wanted by what is known by now; all of them where there is one candidate.

    Args:
        runs: all of the cell.
        found: their records by signature.
    """
    if not runs:
        return []
    of_each = groups(runs)
    chosen = best(table, runs, found)
    return [run for number, group in enumerate(of_each) for run in (group if number == chosen else group[:1])]


def undecided(table: Table, runs: Sequence["Run"], found: Mapping[str, Record | None]) -> bool:
    """Whether a cell has several candidates and none is chosen yet."""
    return bool(runs) and best(table, runs, found) is None


def later(runs: Sequence["Run"]) -> int:
    """How many runs of a cell follow once its candidate is chosen."""
    return len(groups(runs)[0]) - 1
