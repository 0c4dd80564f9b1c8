"""Claims of a table file -> sentences that are judged by the cells which they name."""

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from indrnn.tables import verdict
from indrnn.tables.schema import Claim, Table
from indrnn.tables.verdict import Finding, Sample

if TYPE_CHECKING:
    from indrnn.tables.judged import Result


@dataclass(frozen=True)
class Judgement:
    """A claim about one column, or about all that it counts, with what it came to."""

    claim: Claim
    column: str
    other: str
    text: str
    finding: Finding


def judgements(table: Table, profile: str, columns: "dict[str, dict[str, Result]]") -> list[Judgement]:
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
                what = finding(claim, [x.ours for x in ours], theirs, table.number)
                found.append(Judgement(claim, here[0], other, text, what))
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
