"""The list of runs: what was typed, how far each came, and the words that find it."""

import os
import time

import pytest
from made_runs import make_run

from indrnn import configs, files, progress, runs

ADDING = ("experiment=quick/adding", "model=indrnn")


@pytest.fixture
def folder(tmp_path):
    make_run(tmp_path, *ADDING, "data.seq_len=200", "seed=0", "logger=csv", value=0.25)
    make_run(tmp_path, "model=lstm", "seed=1", status="interrupted")  # the experiment is that of conf/config.yaml
    make_run(tmp_path, "experiment=quick/ntu_cs", "model=res_indrnn", "model.num_layers=4", "seed=10", value=90.0)
    make_run(tmp_path, *ADDING, "+model.negative_slope=0.1", "model.activation=leaky_relu", status="diverged")
    for age, path in enumerate(sorted(tmp_path.glob("*/run.json"), key=lambda path: path.stat().st_mtime_ns)):
        os.utime(path, (time.time() - 3600 * (5 - age),) * 2)
    return tmp_path


def test_a_line_says_what_was_typed_and_how_far_it_came_the_latest_last(folder):
    head, *lines, last = runs.main((), folder).splitlines()
    assert head.split() == runs.HEADS
    cells = [line.split(None, 1)[1].split() for line in lines]
    assert cells[0] == ("finished test/mse 0.25 40 1.5 5 h quick/adding indrnn data.seq_len=200"
                        " trainer.max_updates=40 trainer.val_every=10 seed=0").split()  # fmt: skip
    assert cells[1][:8] == "interrupted val/mse 0.5 20 of 40 1.5 4".split()
    assert cells[1][9:11] == ["quick/adding", "lstm"] and cells[1][-1] == "seed=1"
    assert cells[2][:3] == ["finished", "test/accuracy", "90"] and "quick/ntu_cs" in cells[2]
    assert cells[3][0] == "diverged" and cells[3][3] == "20" and "model.negative_slope=0.1" in cells[3]
    assert last == "4 runs: 1 diverged, 2 finished, 1 interrupted"


@pytest.mark.parametrize(
    "words, count",
    [
        ("adding", 3),
        ("LSTM", 1),
        ("indrnn", 3),  # also res_indrnn
        ("model=indrnn", 2),
        ("experiment=quick/adding", 3),
        ("adding indrnn", 2),
        ("seed=1", 1),  # not seed=10
        ("data.seq_len=200", 1),
        ("data.seq_len=100", 2),  # not typed
        ("data.seq_len=1e2", 2),
        ("recipe.schedule.gamma=null", 4),
        ("unfinished", 2),
        ("diverged", 1),
        ("adding pmnist", 0),
        ("seq_len", 1),
        ("nothing=1", 0),
    ],
)
def test_words_choose(folder, words, count):
    assert len(runs.found(folder, words.split())) == count


def test_a_signature_is_a_word(folder):
    (first, *_) = runs.found(folder)
    assert runs.found(folder, [first.signature[:8]]) == [first]


@pytest.mark.parametrize("silent, status", [(0, "running"), (600, "stopped")])
def test_a_run_without_a_record_says_how_far_it_is(tmp_path, silent, status):
    config = configs.signed(configs.build([*ADDING, "seed=3"]))
    (tmp_path / "0123456789ab").mkdir()
    note = {"overrides": [*ADDING, "seed=3"], "config": config, "updates": 123, "metrics": {}, "seconds": 66.0}
    progress.write(tmp_path / "0123456789ab", note)
    os.utime(tmp_path / "0123456789ab" / progress.NAME, (time.time() - silent,) * 2)
    line = runs.main(["unfinished"], tmp_path).splitlines()[1].split()
    assert line[:7] == ["0123456789ab", status, "-", "123", "of", "500", "1.1"]


def test_a_record_that_is_final_outdoes_a_note_and_an_older_one_does_not(tmp_path):
    for status, expected in (("finished", "finished"), ("interrupted", "running")):
        signature = make_run(tmp_path, *ADDING, f"seed={len(status)}", status=status)
        run = runs.of(tmp_path / signature)
        note = {"overrides": [], "config": run.config, "updates": 33, "metrics": {}, "seconds": 1.0}
        progress.write(tmp_path / signature, note)
        assert runs.of(tmp_path / signature).status == expected


def test_a_run_of_a_script_is_called_by_its_classes(tmp_path):
    signature = make_run(tmp_path, *ADDING, "seed=4", overrides=[])
    assert runs.of(tmp_path / signature).words == ["Adding", "PlainIndRNN", "seed=4"]


def test_what_is_no_run_or_damaged_is_passed_over(folder, caplog):
    (folder / "tables").mkdir()
    (folder / "0123456789ab").mkdir()
    first = runs.found(folder)[0].folder
    (first / "run.json").write_text("{")
    assert len(runs.found(folder)) == 3 and "cannot be read" in caplog.text


def test_where_there_is_nothing_a_sentence_says_so(tmp_path):
    assert runs.main((), tmp_path / "gone") == f"There is no run yet in {tmp_path}/gone."
    assert runs.main(["lstm"], tmp_path) == f"There is no run that fits lstm in {tmp_path}."


@pytest.mark.parametrize(
    "seconds, text", [(0, "0 s"), (59, "59 s"), (61, "1 min"), (7300, "2 h"), (90000, "25 h"), (180000, "2 days")]
)
def test_ages(seconds, text):
    assert runs.age(seconds) == text


def test_where_a_run_lies_is_told_as_one_types_it_with_what_lies_there(tmp_path):
    make_run(tmp_path, *ADDING)
    (folder,) = (path.parent for path in tmp_path.glob("*/run.json"))
    first, *there = runs.where(folder).splitlines()
    assert first == f"{folder}:" and [line.split()[0] for line in there] == ["run.json", "curve.csv"]
    assert runs.shown(files.ROOT / "runs" / "a") == "runs/a"
