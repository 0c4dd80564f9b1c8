import math
import statistics

import pytest
from scipy import stats

from indrnn.tables import verdict
from indrnn.tables.verdict import Sample


def made(value, status="finished", metric="test/error"):
    return {"status": status, "metrics": {} if value is None else {metric: value}}


def test_sample_is_mean_and_sample_deviation():
    ours = verdict.sample([made(1.0), made(2.0), made(4.0)], "test/error")
    assert (ours.mean, ours.reason, ours.planned) == (pytest.approx(7 / 3), "", 3)
    assert ours.std == pytest.approx(stats.tstd([1, 2, 4]))
    assert math.isnan(Sample((1.0,), 1).std)


@pytest.mark.parametrize(
    "records, reason, values",
    [
        ([made(1.0), None, made(3.0)], "incomplete 2/3", (1.0, 3.0)),
        ([made(1.0), made(None, "interrupted"), None], "incomplete 1/3", (1.0,)),
        ([made(1.0), made(None, "out_of_memory"), None], "out of memory 1/3", (1.0,)),
        ([made(1.0), made(None, "diverged"), None], "failed 1/3", ()),
        ([made(1.0), made(math.nan), made(2.0)], "failed 1/3", ()),
        ([made(1.0), made(None), made(0.0)], "failed 1/3", ()),
    ],
)
def test_every_gap_has_a_reason_and_nan_is_never_a_number(records, reason, values):
    ours = verdict.sample(records, "test/error")
    assert (ours.reason, ours.values) == (reason, values)
    assert verdict.judge(ours, 1.0, 0.3, True) == reason


@pytest.mark.parametrize(
    "value, paper, lower_is_better, expected",
    [
        (1.3, 1.0, True, "within tolerance, n too small"),  # 1.3 - 1.0 > 0.3 in binary
        (0.7, 1.0, True, "within tolerance, n too small"),
        (1.31, 1.0, True, "worse"),
        (0.6, 1.0, True, "better"),
        (1.31, 1.0, False, "better"),
        (0.6, 1.0, False, "worse"),
        (0.6, "-", True, "no number in the paper"),
        (0.6, "≈ 0.167", True, "curve, no number"),
        (0.6, None, True, "not run in the paper"),
    ],
)
def test_judge(value, paper, lower_is_better, expected):
    assert verdict.judge(Sample((value,), 1), paper, 0.3, lower_is_better) == expected


@pytest.mark.parametrize(
    "values, expected",
    [
        ((1.3, 1.3), "reproduced"),  # no spread: the interval is the mean, at the very edge
        ((1.0, 1.1, 0.9), "reproduced"),  # ± 0.17
        ((1.2, 1.3, 1.1), "within tolerance, n too small"),  # 1.2 ± 0.17
        ((0.8, 0.7, 0.9), "within tolerance, n too small"),
        ((1.2,) * 8 + (1.3, 1.1), "reproduced"),  # 1.2 ± 0.03: more seeds tell
        ((1.4, 1.5, 1.6), "worse"),
    ],
)
def test_reproduced_is_an_equivalence(values, expected):
    assert verdict.judge(Sample(values, len(values)), 1.0, 0.3, True) == expected


def test_the_interval_of_a_mean_is_students():
    low, high = Sample((1.0, 2.0, 4.0), 3).interval
    half = stats.t.ppf(0.95, 2) * statistics.stdev([1, 2, 4]) / math.sqrt(3)
    assert (low, high) == pytest.approx((7 / 3 - half, 7 / 3 + half), rel=1e-12)
    assert Sample((1.0,), 1).interval is None and Sample((), 1).interval is None


@pytest.mark.parametrize(
    "measured, expected",
    [
        ([0.2, 0.05, 0.04], 20),
        ([0.05, 0.2, 0.04], 30),  # it came back above
        ([0.05, 0.04, 0.1], None),  # not below at the end: a bound is not below itself
        ([0.05, None, 0.04], 10),  # nothing validated at 20
        ([math.nan, 0.05], 20),
        ([0.05, math.nan], None),
        ([], None),
    ],
)
def test_below_means_from_then_on(measured, expected):
    curve = [{"update": 10 * i} | ({} if value is None else {"val/mse": value}) for i, value in enumerate(measured, 1)]
    assert verdict.stays_below(curve, "val/mse", 0.1) == expected


def test_the_slowest_seed_says_when():
    reached = {0.1: (600, 700, 650), 0.01: (1200, None, 1100), 0.001: (None,) * 3}
    assert verdict.when(reached, 6000) == "below 0.1 from 700 (12%), 0.01 by 2 of 3 seeds, 0.001 never"
    assert verdict.when(reached, 6000, brief=True) == "0.1 at 12%, 0.01 by 2 of 3, 0.001 never"
    assert verdict.when({0.1: (None, None), 0.01: (None, None)}, 6000) == "never below 0.1"


@pytest.mark.parametrize(
    "a, b",
    [
        ([1.0, 2.0, 3.5], [4.0, 4.1, 4.3]),
        ([0.31, 0.29, 0.33, 0.3], [0.3, 0.34]),
        ([99.1, 99.1, 99.1], [98.7, 98.9, 99.0]),
        ([0.2, 0.25], [0.1, 0.1, 0.1]),
    ],
    ids=["both vary", "of several sizes", "the second alone varies", "the first alone varies"],
)
def test_welch_interval_is_welchs(a, b):
    """Welch 1947: Student's t at (va + vb)² / (va² / (n - 1) + vb² / (m - 1)) degrees of freedom."""
    va, vb = statistics.variance(a) / len(a), statistics.variance(b) / len(b)
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    half = stats.t.ppf(0.975, freedom) * math.sqrt(va + vb)
    difference = statistics.mean(a) - statistics.mean(b)
    assert verdict.welch(a, b) == pytest.approx((difference - half, difference + half), rel=1e-12)


@pytest.mark.parametrize("other", [[2.0, 2.5, 3.0], [1.0, 1.0], [1.0, 1.0 - 2**-52]])
def test_numbers_that_are_equal_but_for_rounding_do_not_vary(other):
    """Of those scipy warns, and warnings are errors here."""
    almost = [1.0, 1.0 + 2**-52, 1.0]
    assert verdict.welch(almost, other) == pytest.approx(verdict.welch([1.0] * 3, other), abs=1e-12)
    assert verdict.welch(other, almost) == pytest.approx(verdict.welch(other, [1.0] * 3), abs=1e-12)


def test_welch_without_spread():
    assert verdict.welch([0.5, 0.5], [0.25, 0.25]) == (0.25, 0.25)
    low, high = verdict.welch([1.0, 1.0, 1.0], [2.0, 2.1, 1.9])
    assert low < -1 < high < 0
    # three equal numbers whose mean is not exactly themselves
    assert verdict.welch([0.1] * 3, [0.1] * 3) == (0, 0)


@pytest.mark.parametrize(
    "ours, other, expected",
    [
        ((1.0, 1.1, 0.9), (5.0, 5.1, 4.9), "holds"),
        ((5.0, 5.1, 4.9), (1.0, 1.1, 0.9), "does not hold"),
        ((1.0, 5.0, 3.0), (2.0, 5.1, 4.9), "undecided"),
        ((1.0, 1.0), (1.0, 1.0), "undecided"),
        ((1.0,), (9.0,), "undecided"),
    ],
)
def test_differences(ours, other, expected):
    ours, other = Sample(ours, len(ours)), Sample(other, len(other))
    assert verdict.lower(ours, other, ".2f").verdict == expected
    assert verdict.higher(other, ours, ".2f").verdict == expected


def test_differences_name_what_is_missing():
    whole, hole = Sample((1.0, 2.0), 2), Sample((), 3, "failed 1/3")
    assert verdict.lower(whole, hole, ".2f") == verdict.Finding("undecided", "the other one: failed 1/3")
    assert verdict.lower(hole, whole, ".2f").evidence == "this one: failed 1/3"


def test_thresholds_need_every_seed():
    assert verdict.below(Sample((0.001, 0.002), 2), 0.01, ".3f").verdict == "holds"
    assert verdict.below(Sample((0.001, 0.02), 2), 0.01, ".3f").verdict == "undecided"
    assert verdict.below(Sample((0.01, 0.02), 2), 0.01, ".3f").verdict == "does not hold"
    assert verdict.above(Sample((0.16, 0.17), 2), 0.1, ".3f").verdict == "holds"
    assert verdict.above(Sample((0.16,), 2, "incomplete 1/2"), 0.1, ".3f").verdict == "undecided"


def test_cells_below_a_bound_are_counted():
    low, high, failed = Sample((0.001, 0.002), 2), Sample((0.001, 0.02), 2), Sample((), 2, "failed 1/2")
    more = verdict.more_below([low, low, failed], [low, high, high], 0.01)
    assert more == verdict.Finding("holds", "2 of 3 against 1 of 3")
    assert verdict.more_below([failed, high], [low, low], 0.01) == verdict.Finding(
        "does not hold", "0 of 2 against 2 of 2"
    )
    assert verdict.more_below([low, failed], [high, low], 0.01).verdict == "undecided"
    waiting = Sample((0.001,), 2, "incomplete 1/2")
    assert verdict.more_below([low, low], [waiting, high], 0.01) == verdict.Finding(
        "undecided", "the other one: incomplete 1/2"
    )
    assert verdict.more_below([low, waiting], [high, high], 0.01).evidence == "this one: incomplete 1/2"


def test_best_candidate():
    low, high = [made(1.0), made(2.0)], [made(3.0), made(4.0)]
    failed = [made(0.1), made(None, "diverged")]
    assert verdict.best([high, low], "test/error", True) == 1
    assert verdict.best([high, low], "test/error", False) == 0
    assert verdict.best([failed, high], "test/error", True) == 1
    assert verdict.best([failed, high], "test/error", False) == 1
    assert verdict.best([failed, failed], "test/error", True) == 0
    assert verdict.best([low, [made(0.5), None]], "test/error", True) is None
