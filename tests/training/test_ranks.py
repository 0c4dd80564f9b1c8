"""Two processes with gloo on the CPU make the updates of one: same losses, same weights, same stops."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from test_commands import TRAIN, call
from test_run import DIGITS, LEFT, SMALL

from indrnn import files, record
from indrnn.data import noise_seed
from indrnn.data.module import Data
from indrnn.errors import UserError
from indrnn.tasks import Task, updating
from indrnn.training.run import train

TWO = "machine.devices=2"
TOLERANCE = dict(atol=1e-5, rtol=1e-5)


def only(runs):
    """Record, curve and weights of the one run in a folder."""
    (folder,) = {path.parent for path in runs.glob("*/run.json")}
    rows = (folder / "curve.csv").read_text().splitlines()[1:]
    weights = torch.load(folder / "weights.pt", weights_only=True) if (folder / "weights.pt").exists() else {}
    return record.read(folder), torch.tensor([[float(x) for x in row.split(",")] for row in rows]), weights


def assert_same(first, second):
    (record_1, curve_1, weights_1), (record_2, curve_2, weights_2) = first, second
    assert record_1["status"] == record_2["status"] == "finished" and record_1["signature"] == record_2["signature"]
    assert record_1["examples"] == record_2["examples"]
    torch.testing.assert_close(curve_1, curve_2, **TOLERANCE)
    torch.testing.assert_close(weights_1, weights_2, **TOLERANCE)
    assert record_1["metrics"] == pytest.approx(record_2["metrics"], abs=1e-5, rel=1e-5)


@pytest.mark.parametrize(
    "overrides",
    [
        (*SMALL, "data.val_examples=21"),
        pytest.param((*DIGITS, "data.counts=[40,17,16]", "recipe.dropout=0"), marks=pytest.mark.slow),
    ],
    ids=["adding", "digits with batch norm"],
)
def test_two_processes_train_as_one(config, tmp_path, overrides):
    train(config(*overrides, f"machine.runs={tmp_path / '1'}"))
    call(*TRAIN, *overrides, "logger=csv", TWO, f"machine.runs={tmp_path / '2'}")
    one, two = only(tmp_path / "1"), only(tmp_path / "2")
    assert_same(one, two)
    assert two[0]["device"] == f"2 processes: {one[0]['device']}"
    assert sorted(p.name for p in (tmp_path / "2").glob("*/*")) == LEFT


@pytest.mark.parametrize("fault", ["batches", "noise"])
def test_another_order_of_batches_or_other_noise_is_found_out(config, tmp_path, monkeypatch, fault):
    """The control of ``assert_same``: its tolerance does not hide what another rank might do differently."""
    words = (*DIGITS, "recipe.dropout=0.1")
    train(config(*words, f"machine.runs={tmp_path / '1'}"))
    if fault == "batches":
        original = Data.drawn_here
        monkeypatch.setattr(Data, "drawn_here", lambda data, update: original(data, update + 1))
    else:
        monkeypatch.setattr(updating, "noise_seed", lambda seed, update, rank: noise_seed(seed, update, rank + 1))
    train(config(*words, f"machine.runs={tmp_path / '2'}"))
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        assert_same(only(tmp_path / "1"), only(tmp_path / "2"))


@pytest.mark.slow
def test_stopped_by_a_signal_two_processes_stop_at_one_update_and_go_on(config, tmp_path):
    """Ctrl-C in a terminal reaches both; the second sitting starts where both were."""
    command = [*TRAIN, *SMALL, "trainer.max_updates=600", "trainer.val_every=600", "logger=csv", TWO]
    first = [*command, "machine.checkpoint_seconds=0", f"machine.runs={tmp_path / '2'}"]
    process = subprocess.Popen(
        first, cwd=files.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, process_group=0
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("2/*/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # not by the program kill: that of procps 4.0.2 would hit every process
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and "the same command goes on from the last checkpoint" in said
    assert "Traceback" not in said and "Error" not in said
    stopped, _, _ = only(tmp_path / "2")
    assert stopped["status"] == "interrupted" and 0 < stopped["updates"] < 600
    call(*first)
    train(config(*SMALL, "trainer.max_updates=600", "trainer.val_every=600", f"machine.runs={tmp_path / '1'}"))
    assert_same(only(tmp_path / "1"), only(tmp_path / "2"))


@pytest.mark.slow
def test_two_processes_make_the_validation_that_was_stopped(config, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Task, "on_validation_start", lambda task: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            train(config(*SMALL, f"machine.runs={tmp_path / '2'}"))
    assert only(tmp_path / "2")[0]["updates"] == 5
    call(*TRAIN, *SMALL, "logger=csv", TWO, f"machine.runs={tmp_path / '2'}")
    train(config(*SMALL, f"machine.runs={tmp_path / '1'}"))
    assert_same(only(tmp_path / "1"), only(tmp_path / "2"))


@pytest.mark.slow
def test_diverging_is_seen_by_both(tmp_path):
    bad = [*SMALL, "recipe.learning_rate=1e30", "model=irnn", "trainer.clip=null", "logger=csv"]
    call(*TRAIN, *bad, TWO, f"machine.runs={tmp_path}")
    assert only(tmp_path)[0]["status"] == "diverged"


@pytest.mark.slow
def test_when_one_process_dies_the_run_ends_with_a_sentence(tmp_path):
    command = [*TRAIN, *SMALL, "trainer.max_updates=100000", "trainer.val_every=100000", "logger=csv", TWO]
    command += ["machine.checkpoint_seconds=0", f"machine.runs={tmp_path}"]
    process = subprocess.Popen(command, cwd=files.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    others = subprocess.run(["pgrep", "-P", str(process.pid), "-f", "spawn_main"], capture_output=True, text=True)
    for pid in others.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and "Another process of this run ended with exit code -9" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["machine.devices=3"], "data.batch_size=8 cannot be dealt out evenly to machine.devices=3."),
        (["machine.devices=0"], "machine.devices must be a whole number of at least 1, not 0."),
        (["machine.devices=auto"], "machine.devices must be a whole number, not 'auto' (see CUDA_VISIBLE_DEVICES)."),
    ],
)
def test_devices_that_make_no_sense_are_refused(config, overrides, words):
    with pytest.raises(UserError) as refused:
        train(config(*SMALL, *overrides))
    assert str(refused.value) == words


def test_noise_differs_between_ranks_and_is_as_before_on_one():
    assert noise_seed(3, 7) == noise_seed(3, 7, 0) == 4782766539338417736
    assert len({noise_seed(3, 7, rank) for rank in range(4)}) == 4
    assert sys.maxsize >= noise_seed(3, 7, 1) >= 0
