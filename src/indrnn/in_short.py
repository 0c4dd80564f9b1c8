"""The head of results/findings.md, which is the first thing in the README: a sentence, and one number of each table."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from indrnn import markdown_text
from indrnn.configs import PROFILES
from indrnn.errors import UserError
from indrnn.tables import schema, table_text
from indrnn.tables.judged import Report, Result

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


def sentence(answers: Iterable[str]) -> str:
    """How many claims of the papers hold, do not hold, and are open; one that holds in part is open."""
    counts = Counter(KINDS.get(words, "open") for words in answers)
    return (
        f"Of {counts.total()} claims of the papers {counts['hold']} hold at the budgets that we could give them, "
        f"{counts['do not hold']} do not hold, and {counts['open']} are open."
    )


def numbers(asked: Iterable[Number], results: Path, report: Callable[[str, str], Report]) -> list[str]:
    """One number per table that is published: of the most of ``PROFILES`` at which its cell is complete.

    The paper's value stands beside it where the profile is judged by it.

    Raises:
        UserError: a table has not what is asked of it.
    """
    rows = []
    for number in asked:
        table = schema.load_table(number.table)
        for name, known in ((number.column, table.columns), (number.row, table.rows), (number.lstm, table.rows)):
            if name not in known:
                raise UserError(
                    f"conf/findings.yaml: {number.text!r} names {name!r}, which {table.name} does not have."
                )
        for profile in reversed(PROFILES):
            page = f"{profile}/{table.name}.md"
            if profile not in table.columns[number.column].profiles or not (results / page).exists():
                continue
            cells = report(table.name, profile).columns[number.column]
            if not cells[number.row].ours.reason:
                rows.append(line(number, cells[number.row], cells.get(number.lstm), table.number, profile, page))
                break
    return markdown_text.aligned(HEADS, rows) if rows else []


def line(number: Number, ours: Result, lstm: Result | None, digits: str, profile: str, page: str) -> list[str]:
    beside = table_text.value(lstm, digits) if lstm else "-"
    paper = ours.paper if ours.judged and ours.paper is not None else "-"
    measured = table_text.value(ours, digits)
    return [number.text, measured, beside, f"{paper}", profile, f"[{Path(page).stem}]({page})"]
