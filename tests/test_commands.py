"""What a user types, in processes of their own: sweeps, launchers, stops, and every mistake in one sentence."""

import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest

from indrnn import files, record

TINY = (
    "data.val_examples=10",
    "data.test_examples=10",
    "model.hidden_size=4",
    "trainer.max_updates=2",
    "trainer.val_every=2",
    "logger=csv",
)
TRAIN = (sys.executable, "-m", "indrnn.train")
REPRODUCE = (sys.executable, "scripts/reproduce.py")


def call(*command: str, code: int = 0) -> subprocess.CompletedProcess:
    done = subprocess.run(command, cwd=files.ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    return done


def records(runs) -> list[dict]:
    return [record.read(path.parent) for path in sorted(runs.glob("*/run.json"))]


@pytest.mark.parametrize(
    "launcher", [[], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]], ids=["basic", "joblib"]
)
def test_a_sweep_trains_every_combination_and_goes_on_after_a_failing_one(tmp_path, launcher):
    sweep = ["experiment=quick/adding", "model=indrnn,lstm", "data.seq_len=10,1", "seed=0,1"]
    done = call(*TRAIN, "-m", *sweep, *TINY, *launcher, f"machine.runs={tmp_path}", code=1)
    assert "data.seq_len must be at least 2" in done.stderr
    made = records(tmp_path)
    assert sorted((r["config"]["model"]["_target_"].split(".")[-1], r["seed"]) for r in made) == [
        ("PlainIndRNN", 0),
        ("PlainIndRNN", 1),
        ("lstm", 0),
        ("lstm", 1),
    ]
    assert all(r["status"] == "finished" and r["config"]["data"]["seq_len"] == 10 for r in made)
    assert all("experiment=quick/adding" in r["overrides"] for r in made)
    assert "| A | indrnn | " in done.stdout and "| B | lstm   | " in done.stdout and "B / A" in done.stdout
    (picture,) = tmp_path.glob("compare/*.png")
    assert f"Curves: {picture}\n\n4 of 8 jobs failed:\n" in done.stdout


def test_a_run_says_where_it_lies_and_what_lies_there_and_when_it_was_done_before(tmp_path):
    command = (*TRAIN, *TINY, "data.seq_len=10", f"machine.runs={tmp_path}")
    first, again = call(*command).stdout, call(*command).stdout
    (made,) = records(tmp_path)
    folder = tmp_path / made["signature"]
    assert first.startswith(f"finished {made['signature']}  ") and f"\n{folder}:\n  run.json  " in first
    assert "  curve.csv        every validation\n" in first and "weights.pt" in first
    commit = made["commit"][:12] + " and uncommitted changes" * made["dirty"]
    told, rest = again.split("\n", 1)
    assert told.startswith("Done before: finished on 20") and f", at commit {commit}, {folder} (" in told
    assert rest == first


@pytest.mark.parametrize(
    "override, words",
    [
        ("experiment=quick/addding", "There is no experiment 'quick/addding' (did you mean quick/adding?); there are"),
        ("model=lsmt", "There is no model 'lsmt' (did you mean lstm?); there are: dense_indrnn, gru, "),
        ("trainer.max_update=3", "There is no trainer.max_update in the config (did you mean trainer.max_updates?)."),
        ("data.seq_length=3", "There is no data.seq_length in the config (did you mean data.seq_len?)."),
        ("recipe.gamma=0", "gamma must be above 0, not 0."),
        ("+model.dropuot=1", "unexpected keyword argument 'dropuot'"),
        ("seed=-1", "seed must be a whole number of at least 0 and below 2^32, not -1."),
        ("machine=gpu", "no GPU"),
    ],
)
def test_a_mistake_is_told_without_a_traceback(tmp_path, override, words):
    done = call(*TRAIN, *TINY, override, f"machine.runs={tmp_path}", code=1)
    *before, told = done.stderr.splitlines()  # Hydra names a job that fails, in a line of its own
    assert words in told and len(before) <= 1 and not records(tmp_path)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (
            ("--table", "table1_minst"),
            "There is no table 'table1_minst'; there are: ablation_adding, ablation_pmnist",
        ),
        (("--table", "depth_pmnist", "--profile", "fast"), "Profile fast runs nothing of depth_pmnist."),
        (("--profile", "quik"), "There is no profile 'quik'"),
        (("--table", "figure2_adding", "--column", "T7"), "has no column 'T7'"),
        (("--table", "figure2_adding", "data.seq_length=3"), "data.seq_length"),
    ],
)
def test_a_mistaken_table_is_told_without_a_traceback(tmp_path, arguments, words):
    done = call(*REPRODUCE, *arguments, "--runs", str(tmp_path / "runs"), code=1)
    assert words in done.stderr and not list((tmp_path).rglob("run.json"))


def test_a_damaged_record_is_told_and_made_again_and_the_others_stay(tmp_path):
    command = (
        *REPRODUCE,
        "--table",
        "figure2_adding",
        "--column",
        "T100",
        "--seeds",
        "0",
        "--runs",
        str(tmp_path),
        *TINY,
    )
    call(*command)
    paths = sorted(tmp_path.glob("*/run.json"))
    assert len(paths) == 4
    before = {path: path.read_text() for path in paths}
    paths[0].write_text(before[paths[0]][:100])
    done = call(*command)
    assert "1 to do" in done.stdout and f"{paths[0]} cannot be read" in done.stderr
    assert [path.read_text() == before[path] for path in paths] == [False, True, True, True]
    assert record.read(paths[0].parent)["status"] == "finished"


def test_ctrl_c_leaves_a_record_and_the_same_command_goes_on(tmp_path):
    command = [*TRAIN, *TINY, "data.seq_len=10", "trainer.max_updates=20000", "trainer.val_every=20000"]
    command += [f"machine.runs={tmp_path}", "machine.checkpoint_seconds=0.1"]
    process = subprocess.Popen(command, cwd=files.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and "the same command goes on from the last checkpoint" in said
    assert "Traceback" not in said
    (stopped,) = records(tmp_path)
    assert stopped["status"] == "interrupted" and 0 < stopped["updates"] < 20000


def test_a_config_that_names_a_class_from_elsewhere_is_code_whose_hash_is_in_the_record(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("from indrnn.networks import PlainIndRNN\nclass Net(PlainIndRNN):\n    pass\n")
    file = tmp_path / "conf" / "model" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("defaults: [indrnn]\n_target_: mine.Net\n")
    (file.parent / "other.yaml").write_text("_target_: elsewhere.Net\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    words = ["--config-dir", str(tmp_path / "conf"), *TINY, "model=mine", f"machine.runs={tmp_path / 'runs'}"]
    done = call(*TRAIN, *words)
    assert f"{file} is code: it names mine.Net" in done.stdout + done.stderr
    (made,) = records(tmp_path / "runs")
    assert made["code_files"] == {"model/mine.yaml": hashlib.sha256(file.read_bytes()).hexdigest()[:12]}
