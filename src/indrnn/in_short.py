"""The head of results/findings.md, which is the first thing in the README: a sentence, and one number of each table."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from indrnn.configs import PROFILES
from indrnn.errors import UserError
from indrnn.tables import schema, table_text
from indrnn.tables.judged import Report, Result
from indrnn.tables.schema import Table

HEADS = ["", "IndRNN", "LSTM", "paper", "profile", "where"]
KINDS = {"holds": "hold", "reproduced": "hold", "does not hold": "do not hold"}  # what is neither is open


@dataclass
class Number:
    """A cell of a table that stands for it, with the cell of LSTM beside it; a line of conf/findings.yaml."""

    text: str
    table: str
    column: str
    row: str
    lstm: str


def sentence(claims: Iterable[tuple[str, str]]) -> str:
    """How many claims of the papers hold, do not hold, and are open; one that holds in part is open.

    Args:
        claims: what each came to, and what it says in few words, to be named among its like; nothing, if it is not.
    """
    kinds: dict[str, list[str]] = {"hold": [], "do not hold": [], "open": []}
    for words, short in claims:
        kinds[KINDS.get(words, "open")].append(short)
    counts = {kind: len(named) for kind, named in kinds.items()}
    return (
        f"Of {sum(counts.values())} claims of the papers {counts['hold']} hold at the budgets that we could give them"
        f"{such_as(kinds['hold'])}; {counts['do not hold']} do not hold{such_as(kinds['do not hold'])}; "
        f"{counts['open']} are open."
    )


def such_as(named: list[str]) -> str:
    """``, such as that IndRNN does a, b and c``; empty where none is named."""
    *others, last = list(filter(None, named)) or [""]
    return f", such as that IndRNN {', '.join(others)}{' and ' * bool(others)}{last}" if last else ""


def numbers(asked: Iterable[Number], results: Path, report: Callable[[str, str], Report]) -> list[list[str]]:
    """The cells of HEADS, a row per table that is published: of the most of ``PROFILES`` that has its cell complete.

    The paper's value stands beside it where the profile is judged by it.

    Raises:
        UserError: a table has not what is asked of it.
    """
    rows = []
    for number in asked:
        pages = {profile: f"{profile}/{number.table}.md" for profile in reversed(PROFILES)}
        there = {profile: page for profile, page in pages.items() if (results / page).exists()}
        if there:
            refuse_strangers(number, schema.load_table(number.table))
        for profile, page in there.items():
            found = report(number.table, profile)
            cells = found.columns.get(number.column)
            if cells and not cells[number.row].ours.reason:
                rows.append(line(number, cells[number.row], cells.get(number.lstm), found.table.number, profile, page))
                break
    return rows


def refuse_strangers(number: Number, table: Table) -> None:
    """Raise UserError where a number names what its table does not have."""
    for name, known in ((number.column, table.columns), (number.row, table.rows), (number.lstm, table.rows)):
        if name not in known:
            raise UserError(f"conf/findings.yaml: {number.text!r} names {name!r}, which {table.name} does not have.")


def line(number: Number, ours: Result, lstm: Result | None, digits: str, profile: str, page: str) -> list[str]:
    beside = table_text.value(lstm, digits) if lstm else "-"
    paper = ours.paper if ours.judged and ours.paper is not None else "-"
    measured = table_text.value(ours, digits)
    return [number.text, measured, beside, f"{paper}", profile, f"[{Path(page).stem}]({page})"]
