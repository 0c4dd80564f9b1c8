"""Claims that compare two rows, example by example: where both sides keep what they answered (indrnn.predictions)."""

from collections.abc import Iterator
from pathlib import Path

from indrnn import markdown_text, predictions
from indrnn.errors import UserError
from indrnn.tables.claims import Judgement
from indrnn.tables.judged import Report

WORDS = (
    "p: two-sided and exact (McNemar 1947). If neither of the two networks is better, a test example that one of "
    "them alone gets right is as likely the one's as the other's.",
    "It is about two networks on such examples; whether models differ over seeds, the interval above says.",
)
HEADS = ["claim", "seed", "both right", "only the first", "only the other", "neither", "p"]


def lines(report: Report, folder: Path) -> list[str]:
    """A section of a table's page; empty where no claim has predictions of both sides.

    Args:
        folder: of the runs, with their predictions.npz; old records have none.

    Raises:
        UserError: predictions are damaged.
    """
    rows = compared_all(report, folder)
    if not rows:
        return []
    text = ["", "Example by example, for each seed that keeps the answers of both:", ""]
    text += markdown_text.aligned(HEADS, rows)
    return [*text, "", *markdown_text.bullets(WORDS)]


def compared_all(report: Report, folder: Path) -> list[list[str]]:
    """The cells of HEADS, a row per claim and seed."""
    return [row for judgement in report.judgements for row in compared(report, judgement, folder)]


def compared(report: Report, judgement: Judgement, folder: Path) -> Iterator[list[str]]:
    """The counts of a claim that one row is better than another in the same column, a line per seed."""
    claim = judgement.claim
    if not judgement.other or claim.other_columns or claim.more_than is not None:
        return
    cells = report.results[judgement.column]
    others = {run.seed: run.signature for run in cells[judgement.other].runs}
    for run in cells[claim.row].runs:
        sides = [folder / run.signature, folder / others.get(run.seed, "none")]
        if not all(map(predictions.are_of_classes, sides)):
            continue
        try:
            found = predictions.compare(*sides)
        except UserError:  # tested on other examples, as with other data on this machine
            continue
        counts = [f"{found[key]:,}" for key in ("both", "only_a", "only_b", "neither")]
        yield [judgement.text, str(run.seed), *counts, f"{found['p']:.2g}"]
