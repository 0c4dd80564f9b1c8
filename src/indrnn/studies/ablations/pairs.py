"""Paired differences: two rows with one seed have the same batches, noise and, where shapes agree, starting weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from indrnn.tables.judged import Report, Result
from indrnn.tables.schema import Pair
from indrnn.tables.verdict import Sample, shown


@dataclass(frozen=True)
class Comparison:
    """One pair in one column: the mean paired difference (or ratio) with its 95% interval, NaN where there is none.

    ``verdict``: better, worse or undecided, of the row against the other; or the reason why there is no number.
    """

    pair: Pair
    column: str
    number: str
    as_ratio: bool
    n: int
    mean: float
    low: float
    high: float
    verdict: str

    @property
    def evidence(self) -> str:
        """Such as ``-1.20 [-2.10, -0.30]`` or ``× 0.52 [0.31, 0.88]``; a dash where there is none."""
        if math.isnan(self.mean):
            return "-"
        if self.as_ratio:
            return f"× {self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"
        mean, low, high = (shown(x, self.number, "+") for x in (self.mean, self.low, self.high))
        return f"{mean} [{low}, {high}]"


def compare(report: Report) -> list[Comparison]:
    """The pairs of a table in the order of its file, each in all its columns that the report has."""
    table = report.table
    return [
        one(pair, report.columns[key], table.columns[key].label, table.pairs_as, table.number, table.lower_is_better)
        for pair in table.pairs
        for key in pair.columns
        if key in report.columns
    ]


def one(
    pair: Pair, results: dict[str, Result], column: str, pairs_as: str, number: str, lower_is_better: bool
) -> Comparison:
    as_ratio = pairs_as == "ratio"
    ours, other = results[pair.row].ours, results[pair.against].ours
    mean = low = high = math.nan
    if not (verdict := reason(pair, results, ours, other)):
        if as_ratio and min(*ours.values, *other.values) <= 0:
            verdict = "undecided: a value of 0 has no ratio"
        else:
            mean, low, high = paired(ours.values, other.values, as_ratio)
            verdict = judge(low, high, 1.0 if as_ratio else 0.0, lower_is_better)
    return Comparison(pair, column, number, as_ratio, len(ours.values), mean, low, high, verdict)


def reason(pair: Pair, results: dict[str, Result], ours: Sample, other: Sample) -> str:
    """Why two cells cannot be compared; empty where they can."""
    for key, entry in ((pair.row, ours), (pair.against, other)):
        if entry.reason:
            return f"{results[key].row.label}: {entry.reason}"
    return "" if len(ours.values) > 1 else "undecided: one seed has no spread"


def paired(ours: Sequence[float], other: Sequence[float], as_ratio: bool) -> tuple[float, float, float]:
    """Mean of ours - other over the seeds, with its 95% Student interval.

    As a ratio, everything is done with logarithms: the geometric mean of ours / other, and its interval.
    Where all seeds differ by the same, the interval is that difference.
    """
    a, b = (np.log(x) if as_ratio else np.asarray(x, dtype=float) for x in (ours, other))
    differences = a - b
    n, mean = len(differences), float(np.mean(differences))
    spread = 0.0 if np.ptp(differences) == 0 else float(np.std(differences, ddof=1)) / math.sqrt(n)
    half = float(stdtrit(n - 1, 0.975)) * spread
    found = (mean, mean - half, mean + half)
    return tuple(map(math.exp, found)) if as_ratio else found


def judge(low: float, high: float, nothing: float, lower_is_better: bool) -> str:
    """What an interval says beside the value of no difference: better, worse or undecided."""
    if low <= nothing <= high:
        return "undecided"
    return "better" if (high < nothing) == lower_is_better else "worse"


def sentence(found: list[Comparison]) -> str:
    """What a pair came to in all its columns, such as "tanh for ReLU: worse on A, B; undecided on C."."""
    columns: dict[str, list[str]] = {}
    for comparison in found:
        columns.setdefault(comparison.verdict, []).append(comparison.column)
    return (
        f"{found[0].pair.text}: " + "; ".join(f"{what} on {', '.join(where)}" for what, where in columns.items()) + "."
    )
