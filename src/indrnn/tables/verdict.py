"""Numbers judged against the paper's, sentences judged against numbers. Pure functions of records."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from indrnn.record import FINAL

Record = dict[str, Any]
SLACK = 1e-9  # 1.3 - 1.0 is not 0.3 in binary
ROUNDING = 1e-14  # of the largest number: less than this is no variation
CURVE = "curve, no number"  # of a paper that prints no more
WITHIN = "within tolerance, n too small"
LONG = 1e4  # from here on a number shows its power of ten: .2f would print every digit of an error that exploded


@dataclass(frozen=True)
class Sample:
    """The test metric of one cell. ``reason`` says why it has no verdict; empty where it is complete."""

    values: tuple[float, ...]
    planned: int
    reason: str = ""

    @property
    def failed(self) -> bool:
        """A seed diverged, which is a result."""
        return self.reason.startswith("failed")

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / len(self.values) if self.values else math.nan

    @property
    def std(self) -> float:
        """Sample standard deviation; NaN for fewer than two values."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else math.nan

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's 90% interval of the mean over seeds; None for fewer than two values."""
        if len(self.values) < 2:
            return None
        from scipy import special  # takes a quarter of a second to import, and not every table judges

        half = float(special.stdtrit(len(self.values) - 1, 0.95)) * self.std / math.sqrt(len(self.values))
        return self.mean - half, self.mean + half


def shown(value: float, number: str, sign: str = "") -> str:
    """A value in the format ``number`` of its table; ``sign`` may be ``+``."""
    return f"{value:{sign}{number if abs(value) < LONG else '.1e'}}"


def pending(records: Sequence[Record | None]) -> str:
    """Why runs are not final yet; empty where all are."""
    statuses = [record["status"] if record else "to do" for record in records]
    final = sum(status in FINAL for status in statuses)
    if final == len(records):
        return ""
    for status in ("no_data", "out_of_memory"):
        if count := statuses.count(status):
            return f"{status.replace('_', ' ')} {count}/{len(records)}"
    return f"incomplete {final}/{len(records)}"


def sample(records: Sequence[Record | None], metric: str) -> Sample:
    """One value per finished run; a diverged seed makes the whole cell fail and leaves no mean to quote.

    Args:
        records: one per planned run, None where there is none.
        metric: as in the record, such as ``test/mse``. A finished run without it, or with NaN, counts as diverged.
    """
    values, diverged = [], 0
    for record in records:
        value = record["metrics"].get(metric) if record else None
        if record and record["status"] == "finished" and value is not None and math.isfinite(value):
            values.append(float(value))
        elif record and record["status"] in FINAL:
            diverged += 1
    if diverged:
        return Sample((), len(records), f"failed {diverged}/{len(records)}")
    return Sample(tuple(values), len(records), pending(records))


def best(candidates: Sequence[Sequence[Record | None]], metric: str, lower_is_better: bool) -> int | None:
    """The candidate with the best mean validation metric; None until every run of every candidate is final.

    A candidate with a diverged seed is out; if all are, the first stands for them.
    """
    if any(pending(records) for records in candidates):
        return None
    sign = 1 if lower_is_better else -1
    means = [sign * sample(records, metric).mean for records in candidates]
    return min(range(len(means)), key=lambda i: math.inf if math.isnan(means[i]) else means[i])


def judge(ours: Sample, paper: float | str | None, tolerance: float | None, lower_is_better: bool) -> str:
    """reproduced, better or worse; otherwise the reason why it is none of them.

    reproduced is an equivalence (two one-sided tests at 5%): not only the mean but its 90% interval over seeds lies
    within the tolerance. Where the mean alone does, more seeds have to tell.
    """
    if ours.reason:
        return ours.reason
    if paper is None:
        return "not run in the paper"
    if paper == "-":
        return "no number in the paper"
    if isinstance(paper, str):
        return CURVE
    gap = ours.mean - paper
    if abs(gap) <= tolerance + SLACK:
        within = ours.interval and all(abs(end - paper) <= tolerance + SLACK for end in ours.interval)
        return "reproduced" if within else WITHIN
    return "better" if (gap < 0) == lower_is_better else "worse"


def stays_below(curve: Sequence[dict[str, float]], metric: str, bound: float) -> int | None:
    """The update of the first validation from which on all are below a bound; None where the last one is not."""
    first = None
    for row in curve:
        if metric in row:
            first = (first or int(row["update"])) if row[metric] < bound else None
    return first


def when(reached: dict[float, Sequence[int | None]], budget: int, brief: bool = False) -> str:
    """From which update on every seed stayed below each bound, with its share of the budget: the slowest seed decides.

    Args:
        reached: for every bound, the higher ones first, an update per seed, None where it was not reached.
        budget: updates.
        brief: the shares alone, for a terminal.
    """
    texts = []
    for bound, updates in reached.items():
        done = [update for update in updates if update is not None]
        if not done:
            if not texts:
                return f"never below {bound:g}"
            texts.append(f"{bound:g} never")
            break
        if len(done) < len(updates):
            texts.append(f"{bound:g} by {len(done)} of {len(updates)}{'' if brief else ' seeds'}")
        elif brief:
            texts.append(f"{bound:g} at {max(done) / budget:.0%}")
        else:
            texts.append(f"{bound:g} from {max(done):,} ({max(done) / budget:.0%})")
    return f"{'' if brief else 'below '}{', '.join(texts)}"


@dataclass(frozen=True)
class Finding:
    """What a claim came to: holds, does not hold or undecided, and the numbers that say so."""

    verdict: str
    evidence: str


def below(ours: Sample, bound: float, number: str) -> Finding:
    """The claim that a cell lies below a bound: every seed below it, or every seed not."""
    return _threshold(ours, bound, number, -1)


def above(ours: Sample, bound: float, number: str) -> Finding:
    """The claim that a cell lies above a bound: every seed above it, or every seed not."""
    return _threshold(ours, bound, number, 1)


def _threshold(ours: Sample, bound: float, number: str, sign: int) -> Finding:
    if ours.reason:
        return Finding("undecided", ours.reason)
    yes = sum(sign * (value - bound) > 0 for value in ours.values)
    span = f"{shown(min(ours.values), number)} to {shown(max(ours.values), number)}"
    return Finding({ours.planned: "holds", 0: "does not hold"}.get(yes, "undecided"),
                   f"{yes} of {ours.planned} seeds; {span}")  # fmt: skip


def lower(ours: Sample, other: Sample, number: str) -> Finding:
    """The claim that a cell is lower than another: the 95% Welch interval of the difference lies below 0."""
    return _difference(ours, other, number, -1)


def higher(ours: Sample, other: Sample, number: str) -> Finding:
    """The claim that a cell is higher than another: the 95% Welch interval of the difference lies above 0."""
    return _difference(ours, other, number, 1)


def more_below(ours: Sequence[Sample], others: Sequence[Sample], bound: float) -> Finding:
    """The claim that more cells of one row than of another have every seed below a bound; as many is undecided.

    A cell with a diverged seed is one that does not; a cell that is not done leaves the claim undecided.
    """
    for side, row in (("this", ours), ("the other", others)):
        if waiting := [entry.reason for entry in row if entry.reason and not entry.failed]:
            return Finding("undecided", f"{side} one: {waiting[0]}")
    counts = [sum(not entry.failed and max(entry.values) < bound for entry in row) for row in (ours, others)]
    verdict = "holds" if counts[0] > counts[1] else "does not hold" if counts[0] < counts[1] else "undecided"
    return Finding(verdict, f"{counts[0]} of {len(ours)} against {counts[1]} of {len(others)}")


def _difference(ours: Sample, other: Sample, number: str, sign: int) -> Finding:
    for side, entry in (("this", ours), ("the other", other)):
        if entry.reason:
            return Finding("undecided", f"{side} one: {entry.reason}")
    if min(len(ours.values), len(other.values)) < 2:
        return Finding("undecided", f"{shown(ours.mean - other.mean, number, '+')}, one seed has no spread")
    low, high = welch(ours.values, other.values)
    difference, low_text, high_text = (shown(x, number, "+") for x in (ours.mean - other.mean, low, high))
    evidence = f"{difference} [{low_text}, {high_text}]"
    if sign * low > 0 and sign * high > 0:
        return Finding("holds", evidence)
    if sign * low < 0 and sign * high < 0:
        return Finding("does not hold", evidence)
    return Finding("undecided", evidence)


def welch(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """95% interval of mean(a) - mean(b) without the assumption of equal variances (Welch 1947).

    Where neither side varies it is the difference itself, twice. Where one does not, Welch's interval is Student's of
    the other one, moved, and asked for as that: scipy's tests warn of numbers that are equal, or are so but for
    rounding.
    """
    from scipy import stats  # takes half a second to import, and not every table has a claim

    a, b = np.array(a), np.array(b)
    rounding = ROUNDING * max(abs(a).max(), abs(b).max())
    constant = np.ptp(a) <= rounding, np.ptp(b) <= rounding
    if all(constant):
        return (float(np.mean(a) - np.mean(b)),) * 2
    if constant[0]:
        test = stats.ttest_1samp(np.mean(a) - b, 0)
    elif constant[1]:
        test = stats.ttest_1samp(a - np.mean(b), 0)
    else:
        test = stats.ttest_ind(a, b, equal_var=False)
    low, high = test.confidence_interval(0.95)
    return float(low), float(high)
