"""Runs beside each other: groups over seeds, what differs, intervals, and the picture."""

import numpy as np
import pytest
from made_runs import make_run
from matplotlib.image import imread
from scipy import stats

from indrnn import compare, progress, runs
from indrnn.errors import UserError
from indrnn.run_groups import by_metric

ADDING = ("experiment=quick/adding", "data.seq_len=200")
OURS, THEIRS = (0.01, 0.02, 0.04), (0.1, 0.3, 0.2)


@pytest.fixture
def folder(tmp_path):
    for seed, (one, other) in enumerate(zip(OURS, THEIRS, strict=True)):
        make_run(tmp_path, *ADDING, "model=indrnn", f"seed={seed}", value=one)
        make_run(tmp_path, *ADDING, "model=lstm", f"seed={seed}", value=other)
    return tmp_path


def section(folder, *words):
    return compare.page(runs.found(folder, words)).splitlines()


def cells(lines, first):
    """The cells of the one row of a table that begins so."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    (row,) = [row for row in rows if row[0] == first]
    return row


def test_seeds_are_a_group_with_mean_and_deviation(folder):
    lines = section(folder, "adding")
    common = "trainer.max_updates=40 trainer.val_every=10"
    assert lines[0] == f"All are quick/adding data.seq_len=200 {common}."
    assert cells(lines, "A") == ["A", "indrnn", *["0.02333 ± 0.015"] * 2, "3", "0 1 2", "40", "1.5"]
    assert cells(lines, "B") == ["B", "lstm", *["0.2 ± 0.1"] * 2, "3", "0 1 2", "40", "1.5"]
    assert "- mse: lower is better; mean ± sample standard deviation over seeds" in "\n".join(lines)


def test_an_mse_is_compared_as_a_ratio_paired_by_seed(folder):
    logs = np.log(np.array(THEIRS) / np.array(OURS))
    low, high = np.exp(stats.ttest_1samp(logs, 0).confidence_interval(0.95))
    row = cells(section(folder, "adding"), "B / A")
    assert row == ["B / A", f"× {np.exp(logs.mean()):.3g} [{low:.3g}, {high:.3g}]", "worse", "paired, 3 seeds"]


def test_other_metrics_are_compared_as_a_difference_and_higher_accuracy_is_better(tmp_path):
    for seed in range(2):
        make_run(tmp_path, "experiment=quick/ntu_cs", "model=indrnn", f"seed={seed}", value=80.0 + seed)
        make_run(tmp_path, "experiment=quick/ntu_cs", "model=lstm", f"seed={seed}", value=70.0 + seed)
    row = cells(section(tmp_path, "ntu_cs"), "B - A")
    assert row == ["B - A", "-10 [-10, -10]", "worse", "paired, 2 seeds"]


def test_without_seeds_in_common_the_interval_is_welchs_and_one_seed_has_none(tmp_path):
    for seed in range(4):
        make_run(tmp_path, "experiment=quick/pmnist", f"model={'indrnn' if seed < 2 else 'lstm'}", f"seed={seed}",
                 value=50.0 + seed**2)  # fmt: skip
    make_run(tmp_path, "experiment=quick/pmnist", "model=irnn", "seed=0", value=99.0)
    lines = section(tmp_path, "pmnist")
    low, high = stats.ttest_ind((54, 59), (50, 51), equal_var=False).confidence_interval(0.95)
    assert cells(lines, "B - A")[1:] == [f"+6 [{low:+.3g}, {high:+.3g}]", "undecided", "Welch, no seeds in common"]
    assert cells(lines, "C - A")[1:] == ["+48.5", "undecided", "one seed has no spread"]


def test_what_differs_in_the_configs_is_told_once(folder):
    make_run(folder, *ADDING, "model=indrnn", "recipe.gamma=3", "seed=0")
    lines = section(folder, "model=indrnn")
    told = [line for line in lines[lines.index("What differs:") + 1 :] if line.startswith("- ")]
    assert told == ["- recipe.gamma: 2 (A); 3 (B)"]  # not model.gamma, too, and no seed
    assert "- model._target_: PlainIndRNN (A, C); lstm (B)" in section(folder, "adding")


def test_many_differences_are_cut_and_many_comparisons_are_warned_of(tmp_path):
    for number, word in enumerate(["model=indrnn", "model=lstm", "model=irnn", "model=gru", "model=rnn_tanh"]):
        make_run(tmp_path, *ADDING, word, f"seed={number}")
    lines = section(tmp_path, "adding")
    assert [line[2:7] for line in lines if " / A " in line] == ["B / A", "C / A", "D / A", "E / A"]  # not all ten
    make_run(tmp_path, "experiment=quick/adding", "model=indrnn", "data.seq_len=50")
    make_run(tmp_path, "experiment=quick/adding", "model=indrnn", "data.seq_len=60")
    assert "There are 6 comparisons: at 95%, one in twenty is decided by chance." in section(tmp_path, "adding")


def test_a_diverged_seed_leaves_no_mean_and_an_unfinished_one_is_counted(folder):
    make_run(folder, *ADDING, "model=indrnn", "seed=3", status="interrupted")
    make_run(folder, *ADDING, "model=lstm", "seed=3", status="diverged")
    lines = section(folder, "adding")
    assert cells(lines, "A")[2:5] == ["0.02333 ± 0.015", "0.02333 ± 0.015", "3 of 4 (interrupted)"]
    assert cells(lines, "B")[2:5] == ["failed 1/4", "failed 1/4", "3 of 4 (diverged)"]
    assert cells(lines, "B / A")[1:] == ["-", "undecided", "B: failed 1/4"]


def test_seeds_of_other_data_are_not_averaged(tmp_path):
    for seed, digest in enumerate(("a" * 12, "b" * 12)):
        make_run(tmp_path, *ADDING, f"seed={seed}", data={"name": "made up", "stand_in": False, "digest": digest})
    assert cells(section(tmp_path, "adding"), "A")[3] == "different data (1 and 1 runs)"


def test_a_run_that_goes_on_shows_its_best_validation_so_far(tmp_path):
    signature = make_run(tmp_path, *ADDING, status="interrupted", value=0.125)
    row = cells(section(tmp_path, "adding"), "A")
    assert row[2:5] == ["0.125 so far", "incomplete 0/1", "0 of 1 (interrupted)"]
    config = runs.of(tmp_path / signature).config
    (tmp_path / signature / "run.json").unlink()
    note = {"overrides": [], "config": config, "updates": 1, "metrics": {}, "seconds": 1.0}
    progress.write(tmp_path / signature, note)
    assert section(tmp_path) == ["Not validated yet:", "- A: Adding PlainIndRNN, running"]


def test_metrics_have_sections_of_their_own_and_a_run_counts_once(folder):
    make_run(folder, "experiment=quick/pmnist", value=50.0)
    found = runs.found(folder)
    sections = by_metric([*found, *found])
    assert [[(group.letter, len(group.runs)) for group in groups] for groups in sections] == [
        [("A", 3), ("B", 3)],
        [("C", 1)],
    ]


def test_a_picture_of_the_curves_lies_below_the_runs(folder):
    text = compare.main((), ["adding"], folder)
    path = folder / "compare" / text.rpartition("/")[2]
    assert text.endswith(f"Curves: {path}") and imread(path).std() > 0.05
    again = compare.main([run.signature for run in runs.found(folder)], (), folder)
    assert again.endswith(f"Curves: {path}")  # the same runs, the same name


def test_runs_are_named_by_how_their_signatures_begin_also_published_ones(folder):
    first = runs.found(folder)[0]
    text = compare.main([first.signature[:10], "827a92e8814a"], (), folder)
    assert "All are indrnn." in text and "fast/adding data.seq_len=1000" in text and "quick/adding" in text


@pytest.mark.parametrize(
    "names, words, sentence",
    [
        ((), (), "^Which runs"),
        (["zz"], (), "^There is no run 'zz' in"),
        (["../.."], (), "^There is no run '../..' in"),
        ((), ["lstn"], "^There is no run that fits lstn in"),
    ],
)
def test_runs_that_are_not_there_are_told(folder, names, words, sentence):
    with pytest.raises(UserError, match=sentence):
        compare.main(names, words, folder)


def test_a_beginning_of_several_signatures_is_refused(folder):
    for name in ("aa0000000000", "aa0000000001"):
        (folder / name).mkdir()
    with pytest.raises(UserError, match="^2 runs of .* begin with 'aa': write more of the signature"):
        compare.main(["aa"], (), folder)
