"""The chance level of the adding problem's sets: computed for the sets at hand, because 1/6 is their average only."""

import functools
from collections.abc import Iterable

from indrnn import adding_numbers
from indrnn.splits import TEST, VAL
from indrnn.tables.judged import Report, Result
from indrnn.tables.verdict import shown

ADDING = "indrnn.data.adding.Adding"
EXAMPLES = {VAL: "val_examples", TEST: "test_examples"}
level = functools.cache(adding_numbers.chance)  # the same sets in every row, table and picture


def levels(results: Iterable[Result], split: int) -> dict[tuple[int, int], float]:
    """The chance level of every set of a split that these cells are measured on; empty for other tasks.

    Args:
        split: VAL or TEST.

    Returns:
        the mse of the best constant answer by (T, number of sequences).
    """
    found = {}
    for data in (run.config["data"] for result in results for run in result.runs):
        if data["_target_"] == ADDING:
            size = (data["seq_len"], data[EXAMPLES[split]])
            found[size] = level(split, *size)
    return found


def sentences(report: Report) -> list[str]:
    """What a table says of its test sets; nothing where no column is the adding problem."""
    found = levels([result for column in report.columns.values() for result in column.values()], TEST)
    if not found:
        return []
    counts = sorted({count for _, count in found})
    alike = len(counts) == 1
    texts = [
        f"T = {T} {shown(mse, report.table.number)}{f' ({count:,} sequences)' * (not alike)}"
        for (T, count), mse in sorted(found.items())
    ]
    of = f" of {counts[0]:,} sequences" * alike
    return [f"Chance, the mse of the best constant answer on the test set{of}, 1/6 in expectation: {'; '.join(texts)}."]
