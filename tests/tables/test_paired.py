"""Claims compared example by example: counts by hand, p by scipy, and what is published of answers."""

import numpy as np
import pytest
from made_up import make
from scipy import stats

from indrnn import predictions, publish
from indrnn.tables import judged, paired, render

LABEL = np.arange(40) % 10
OURS, THEIRS = LABEL.copy(), LABEL.copy()
OURS[:4] += 1  # wrong in 4
THEIRS[2:17] += 1  # wrong in 15, two of them with ours
COUNTS = ["23", "13", "2", "2"]


@pytest.fixture
def runs(tmp_path):
    """Quick runs of Table 1 on MNIST; IndRNN and LSTM keep their answers with seeds 0 and 1, IRNN none."""
    for run in make(tmp_path / "runs", "table1_mnist", "quick"):
        answers = {"IndRNN (6 layers)": OURS, "LSTM": THEIRS}.get(run.row)
        if answers is not None and run.column == "MNIST" and run.seed < 2:
            predictions.write(tmp_path / "runs" / run.signature, {"answer": answers, "label": LABEL})
    return tmp_path / "runs"


def lines(runs):
    rows = paired.lines(judged.report("table1_mnist", "quick", runs), runs)
    return [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows if row.startswith("| ")]


def test_counts_by_hand_and_p_of_scipy(runs):
    heads, _, *found = lines(runs)
    assert heads == paired.HEADS and [row[1] for row in found] == ["0", "1"]
    p = stats.binomtest(13, 15).pvalue
    for row in found:
        assert "lower error than LSTM" in row[0] and "MNIST" in row[0]
        assert row[2:6] == COUNTS and float(row[6]) == pytest.approx(p, rel=0.05)
    assert p == pytest.approx(2 * (1 + 15 + 105) / 2**15)


@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 0), (3, 3), (0, 9), (7, 2), (40, 21), (500, 380)])
def test_the_exact_p_is_that_of_the_formula(a, b):
    from math import comb

    n, m = a + b, min(a, b)
    by_hand = min(1.0, 2 * sum(comb(n, k) for k in range(m + 1)) / 2**n)
    assert predictions.exact(a, b) == pytest.approx(by_hand, rel=1e-9) == predictions.exact(b, a)
    if n:
        assert predictions.exact(a, b) == pytest.approx(stats.binomtest(a, n).pvalue, rel=1e-12)


def test_the_section_stands_on_the_page_and_not_without_answers(runs, tmp_path):
    report = judged.report("table1_mnist", "quick", runs)
    page = render.texts(report, tmp_path, runs)["table1_mnist.md"]
    assert page.index("## Claims") < page.index("Example by example") < page.index("## Provenance")
    for path in runs.glob("*/predictions.npz"):
        path.unlink()
    page = render.texts(report, tmp_path, runs)["table1_mnist.md"]
    assert "Example by example" not in page and paired.lines(report, runs) == []


def test_other_examples_are_not_compared(runs):
    for run in judged.report("table1_mnist", "quick", runs).results["smnist"]["lstm"].runs[:1]:
        predictions.write(runs / run.signature, {"answer": THEIRS, "label": LABEL[::-1].copy()})
    assert [row[1] for row in lines(runs)[2:]] == ["1"]


def test_values_are_no_classes(runs):
    for path in runs.glob("*/predictions.npz"):
        predictions.write(path.parent, {"answer": LABEL / 2, "value": LABEL / 3})
    assert lines(runs) == []


def test_answers_are_published_with_finished_runs_if_they_are_small(runs, tmp_path, monkeypatch):
    results = tmp_path / "results"
    kept = next(runs.glob("*/predictions.npz")).parent
    assert publish.keeps_predictions(kept)
    publish.copy_run(kept, results / kept.name, False)
    assert (results / kept.name / predictions.NAME).read_bytes() == (kept / predictions.NAME).read_bytes()
    assert predictions.read(results / kept.name)["label"].tolist() == LABEL.tolist()
    monkeypatch.setattr(publish, "LARGEST", 10)
    publish.copy_run(kept, results / "other", False)
    assert sorted(path.name for path in (results / "other").iterdir()) == ["curve.csv", "run.json"]


def test_answers_of_another_record_do_not_stay(runs, tmp_path):
    kept = next(runs.glob("*/predictions.npz")).parent
    out = tmp_path / "results" / kept.name
    publish.copy_run(kept, out, False)
    (kept / predictions.NAME).unlink()
    (kept / "run.json").write_text((kept / "run.json").read_text().replace("a CPU", "another CPU"))
    publish.copy_run(kept, out, False)
    assert sorted(path.name for path in out.iterdir()) == ["curve.csv", "run.json"]


def test_mnist_and_skeletons_fit_the_limit(tmp_path):
    dice = np.random.default_rng(0)
    for count, classes in ((10_000, 10), (18_932, 60)):
        label = dice.integers(0, classes, count)
        answer = np.where(dice.random(count) < 0.1, dice.integers(0, classes, count), label)
        predictions.write(tmp_path, {"answer": answer, "label": label})
        assert (tmp_path / predictions.NAME).stat().st_size <= publish.LARGEST, count
