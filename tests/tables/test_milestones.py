"""Milestones: best so far at equal examples, whatever became of the run."""

import json
import subprocess
import sys

import pytest
from made_up import record_of

from indrnn import configs, publish, record
from indrnn.errors import UserError
from indrnn.tables import milestones, plan


def write(folder, number: int, status: str, curve, updates: int, **changes) -> str:
    """A record and a curve of run ``number`` of conf/milestones/pmnist.yaml."""
    config = configs.signed(configs.build(milestones.load("pmnist").runs[number].overrides))
    signature = configs.signature(config)
    entry = record_of(plan.runs(["figure2_adding"], "quick")[0]) | {
        "seed": config["seed"],
        "signature": signature,
        "config": config,
        "metrics": {"val/error": 12.5},
        "status": status,
        "updates": updates,
        "examples": updates * config["data"]["batch_size"],
        "wall_seconds": 7200.0,
        "device": "a CPU",
        "commit": "0" * 40,
        "dirty": False,
    }
    record.write(folder / signature, entry | changes, [{"update": u, "val/error": e} for u, e in curve])
    return signature


def test_best_so_far_at_equal_examples(tmp_path):
    write(tmp_path, 0, "interrupted", [(437, 40.0), (874, 50.0), (1311, 30.0)], 1400)  # batch 128
    (course,) = milestones.courses("pmnist", tmp_path)
    assert course.best == {437 * 128: 60.0, 874 * 128: 60.0, 1311 * 128: 70.0}
    assert course.at(54400) is None  # before the first validation
    assert course.at(108800) == 60.0 and course.at(1311 * 128) == 70.0
    assert course.at(1400 * 128) == 70.0 and course.at(1400 * 128 + 1) is None  # after its end


def test_a_validation_that_is_no_number_is_not_the_best(tmp_path):
    """The error of a network that is NaN is that of always saying the first class."""
    signature = write(tmp_path, 0, "interrupted", [], 1400)
    rows = [(437, "nan", 20.0), (874, 1.0, 50.0), (1311, "inf", 10.0), (1748, 1.0, "nan"), (2185, 1.0, 40.0)]
    lines = ["update,val/loss,val/error", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / signature / "curve.csv").write_text("\n".join(lines) + "\n")
    (course,) = milestones.courses("pmnist", tmp_path)
    assert course.best == {874 * 128: 50.0, 1311 * 128: 50.0, 1748 * 128: 50.0, 2185 * 128: 60.0}


def test_published_with_its_status_and_rendered_from_what_is_published(tmp_path):
    signature = write(tmp_path / "runs", 0, "interrupted", [(437, 40.0), (874, 20.0)], 900)
    assert publish.publish_milestones(tmp_path / "runs", tmp_path / "results").milestones == ["pmnist"]
    text = (tmp_path / "results/milestones/pmnist.md").read_text()
    assert f"runs/{signature}/run.json), **interrupted** after 900 of 29,800 updates, 115,200" in " ".join(text.split())
    heads, _, theirs, ours = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    shown = {head.strip(): (a.strip(), b.strip()) for head, a, b in zip(heads, theirs, ours, strict=True)}
    assert shown["54,400"] == ("63.13", "-") and shown["108,800"] == ("69.98", "60.00")
    assert list(shown)[1:] == [f"{count:,}" for count in milestones.load("pmnist").at]
    before = {path.name: path.read_bytes() for path in (tmp_path / "results/milestones").iterdir()}
    milestones.render_all(tmp_path / "results")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "results/milestones").iterdir()}
    assert json.loads((tmp_path / f"results/runs/{signature}/run.json").read_text())["status"] == "interrupted"


def test_without_a_log_our_own_validations_are_the_columns_and_an_error_alone_becomes_an_accuracy(tmp_path):
    (signature, *_) = milestones.signatures("ptb_char_small")
    config = configs.build(milestones.load("ptb_char_small").runs[0].overrides)
    entry = record_of(plan.runs(["figure2_adding"], "quick")[0]) | {"config": configs.signed(config), "updates": 1568}
    curve = [{"update": update, "val/bpc": bpc} for update, bpc in ((784, 2.5), (1568, 2.25))]
    record.write(tmp_path / "runs" / signature, entry | {"signature": signature, "examples": 1568 * 128}, curve)
    assert milestones.render_all(tmp_path) == ["ptb_char_small"]
    text = (tmp_path / "milestones/ptb_char_small.md").read_text()
    assert "| 100,352 | 200,704 |" in text and "| 2.50    | 2.25    |" in text and "authors' log" not in text


def test_without_chosen_columns_there_is_one_of_the_log_after_our_end(tmp_path):
    write(tmp_path, 0, "interrupted", [(437, 40.0)], 900)  # batch 128
    what = milestones.Milestones("title", "error", [], official={54400: 63.1, 272000: 70.0, 544000: 84.9})
    assert milestones.columns(what, milestones.courses("pmnist", tmp_path)) == [54400, 115200, 272000]


def test_uncommitted_code_and_nothing_are_refused(tmp_path):
    with pytest.raises(UserError, match="nothing to publish"):
        publish.publish_milestones(tmp_path / "runs", tmp_path / "results")
    write(tmp_path / "runs", 1, "finished", [(437, 40.0)], 900, dirty=True)
    with pytest.raises(UserError, match="uncommitted"):
        publish.publish_milestones(tmp_path / "runs", tmp_path / "results")
    assert not (tmp_path / "results").exists() and milestones.render_all(tmp_path / "results") == []


def test_a_mistyped_key_is_refused(tmp_path, monkeypatch):
    text = (configs.CONF / "milestones" / "pmnist.yaml").read_text()
    (tmp_path / "milestones").mkdir()
    (tmp_path / "milestones" / "pmnist.yaml").write_text(text.replace("log:", "lgo:"))
    monkeypatch.setattr(configs, "CONF", tmp_path)
    with pytest.raises(UserError, match="lgo"):
        milestones.load("pmnist")


def test_publishing_starts_without_torch_and_matplotlib():
    code = "import sys, indrnn.publish; assert not {'torch', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_page_may_begin_with_what_finished_runs_have_on_the_test(tmp_path):
    signatures = {label: signature for signature, label in milestones.signatures("own_series").items()}
    for label, value in (("plain, IndRNN, seed 0", 0.1), ("plain, IndRNN, seed 2", 0.3), ("slow, LSTM, seed 0", 0.5),
                         ("slow, LSTM, seed 1", None)):  # fmt: skip
        run = next(run for run in milestones.load("own_series").runs if run.label == label)
        config = configs.signed(configs.build(run.overrides))
        entry = record_of(plan.runs(["figure2_adding"], "quick")[0]) | {
            "seed": config["seed"], "signature": signatures[label], "config": config, "updates": 1000,
            "examples": 32000, "metrics": {"val/mse": 0.2} | ({} if value is None else {"test/mse": value}),
            "status": "interrupted" if value is None else "finished",
        }  # fmt: skip
        record.write(tmp_path / "runs" / signatures[label], entry, [{"update": 1000, "val/mse": 0.2}])
    assert milestones.render_all(tmp_path) == ["own_series"]
    lines = (tmp_path / "milestones" / "own_series.md").read_text().splitlines()
    rows = [line.strip("| ").split("|") for line in lines if line.startswith("|")]
    found = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows[:4]}
    assert found["test mse (n seeds)"] == ["IndRNN", "LSTM"]
    assert found["plain"] == ["0.200 ± 0.141 (2)", "-"] and found["slow"] == ["-", "0.500 (1)"]
