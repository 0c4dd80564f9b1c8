"""One run: finished, resumed bit for bit, diverged, refused."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from indrnn import configs, files, record
from indrnn.errors import NoData, UserError
from indrnn.tasks import Task
from indrnn.training.callbacks import Checkpoint
from indrnn.training.run import train
from indrnn.training.sitting import only_one

LEFT = [
    "SHA256SUMS",
    "curve.csv",
    "lock",
    "predictions.npz",
    "run.json",
    "weights.pt",
]  # by a finished run, in its folder
ADDING = ("experiment=quick/adding", "data.seq_len=10", "data.batch_size=8", "trainer.max_updates=12")
SMALL = (*ADDING, "trainer.val_every=5", "data.val_examples=20", "data.test_examples=20", "model.hidden_size=8")
DIGITS = (
    "experiment=quick/pmnist",
    "data.seq_len=16",
    "data.batch_size=8",
    "data.counts=[40,16,16]",
    "model.num_layers=2",
    "model.hidden_size=8",
    "trainer.max_updates=12",
    "trainer.val_every=5",
)
PLATEAU = (
    *DIGITS,
    "schedule@recipe.schedule=plateau",
    "recipe.schedule.patience=0",
    "recipe.schedule.grace=null",
    "recipe.learning_rate=0.1",
    "recipe.schedule.factor=0.5",
    "trainer.val_every=2",
)


def folder(cfg) -> "record.Path":
    return files.ROOT / cfg.machine.runs / configs.signature(configs.signed(cfg))


def test_a_run_trains_selects_tests_once_and_writes_its_record(config, monkeypatch):
    looks = []
    monkeypatch.setattr(Task, "on_test_start", lambda task: looks.append(task.update))
    cfg = config(*SMALL, "model=lstm", "seed=3")
    done = train(cfg)
    assert done["status"] == "finished" and done["updates"] == 12 and done["examples"] == 96 and looks == [12]
    assert set(done["metrics"]) == {"val/mse", "best_update", "test/mse", "test/loss"}
    assert record.read(folder(cfg)) == done
    rows = (folder(cfg) / "curve.csv").read_text().splitlines()
    assert rows[0].startswith("update,") and [row.split(",")[0] for row in rows[1:]] == ["5", "10", "12"]
    assert sorted(p.name for p in folder(cfg).iterdir()) == LEFT
    assert train(cfg) == done and looks == [12]


def test_the_test_uses_the_weights_that_validation_chose(config, monkeypatch):
    cfg = config(*SMALL, "recipe.learning_rate=3.0", "trainer.val_every=1")
    done = train(cfg)
    curve = {int(float(r.split(",")[0])): float(r.split(",")[-1]) for r in rows_of(cfg)[1:]}
    assert done["metrics"]["val/mse"] == min(curve.values())
    assert curve[done["metrics"]["best_update"]] == min(curve.values())
    assert done["metrics"]["best_update"] < 12 and done["metrics"]["test/mse"] < 10 * min(curve.values())


def rows_of(cfg) -> list[str]:
    return (folder(cfg) / "curve.csv").read_text().splitlines()


def outcome(cfg) -> dict:
    """All that a run must share, to the bit, with one that was not stopped; test_controls shows that it tells."""
    weights = torch.load(folder(cfg) / "weights.pt", weights_only=True)
    answers = folder(cfg) / "predictions.npz"
    return {
        "metrics": record.read(folder(cfg))["metrics"],
        "curve": rows_of(cfg),
        "weights": {name: tensor.numpy().tobytes() for name, tensor in weights.items()},
        "answers": answers.read_bytes() if answers.exists() else None,
    }


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


def kept(monkeypatch, kind: type) -> list:
    """All that will be made of a kind, in that order."""
    made, first = [], kind.__init__

    def init(self, *arguments):
        first(self, *arguments)
        made.append(self)

    monkeypatch.setattr(kind, "__init__", init)
    return made


def kill_at(monkeypatch, method: str, update: int) -> None:
    original = getattr(Task, method)

    def killed(task, *arguments):
        if task.update == update:
            monkeypatch.setattr(Task, method, original)
            raise Killed
        return original(task, *arguments)

    monkeypatch.setattr(Task, method, killed)


def test_watching_states_adds_to_the_curve_and_changes_no_number(config):
    plain, watched = (config(*DIGITS, "model=indrnn", f"task.watch_states={watch}") for watch in ("null", "true"))
    assert train(plain)["metrics"] == train(watched)["metrics"]
    heads, *lines = (folder(watched) / "curve.csv").read_text().splitlines()
    before, *_ = (folder(plain) / "curve.csv").read_text().splitlines()
    added = [f"layer{i}/off_{what}" for i in (1, 2) for what in ("share", "steps", "neurons")]
    assert heads.split(",") == [*before.split(","), *added]
    assert all(0 < float(line.split(",")[-3]) < 100 for line in lines)  # the second layer's share


@pytest.mark.parametrize(
    "overrides", [SMALL, DIGITS, PLATEAU, (*SMALL, "model=gru")], ids=["adding", "digits", "plateau", "gru"]
)
@pytest.mark.parametrize("every", [0, 1e9], ids=["checkpoints", "no checkpoint"])
def test_killed_and_started_again_ends_with_the_same_bits(config, tmp_path, monkeypatch, overrides, every):
    """Kills before, within and after updates, and within validations; then every metric and weight is compared."""
    undisturbed = config(*overrides, f"machine.runs={tmp_path / 'undisturbed'}")
    train(undisturbed)
    cfg = config(*overrides, f"machine.checkpoint_seconds={every}")
    for method, update in (
        ("training_step", 0),
        ("on_train_batch_start", 3),
        ("validation_step", 5 if overrides is not PLATEAU else 4),
        ("training_step", 5),
        ("training_step", 7),
        ("on_train_batch_end", 9),
        ("test_step", 12),
    ):
        kill_at(monkeypatch, method, update)
        with pytest.raises(Killed):
            train(cfg)
    assert train(cfg)["status"] == "finished" and outcome(cfg) == outcome(undisturbed)


def test_plateau_reloads_while_it_runs(config):
    """The run compared above goes through a reload, or it would prove little."""
    cfg = config(*PLATEAU)
    train(cfg)
    rates = {row.split(",")[1] for row in rows_of(cfg)[1:]}
    assert len(rates) > 1


def test_time_limit_counts_this_sitting_only(config):
    cfg = config(*SMALL, "trainer.max_time=0")
    assert train(cfg)["status"] == "interrupted"
    first = record.read(folder(cfg))
    assert first["updates"] == 0 and first["metrics"] == {}
    limited = config(*SMALL, "trainer.max_time=1000")
    done = train(limited)
    assert done["status"] == "finished" and done["signature"] == first["signature"]
    assert done["started"] == first["started"]


@pytest.mark.parametrize("number, leaves", [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_stops_between_updates_and_says_interrupted(config, monkeypatch, number, leaves):
    original = Task.training_step

    def signalled(task, *arguments):
        if task.update == 7:
            os.kill(os.getpid(), number)
        return original(task, *arguments)

    monkeypatch.setattr(Task, "training_step", signalled)
    cfg = config(*SMALL)
    before = signal.getsignal(number)
    with pytest.raises(leaves):
        train(cfg)
    assert signal.getsignal(number) is before
    stopped = record.read(folder(cfg))
    assert stopped["status"] == "interrupted" and stopped["updates"] == 8
    monkeypatch.setattr(Task, "training_step", original)
    assert train(cfg)["status"] == "finished"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_same_signal_again_stops_at_once_and_another_one_does_not(number):
    checkpoint = Checkpoint(save=lambda: None, every=1, max_time=None)
    checkpoint.hear(signal.SIGINT, None)
    checkpoint.hear(signal.SIGTERM, None)  # from the watch over a launcher that has ended
    checkpoint = Checkpoint(save=lambda: None, every=1, max_time=None)
    checkpoint.hear(number, None)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.hear(number, None)


def test_a_loss_that_is_not_a_number_ends_the_run_as_diverged(config, caplog):
    cfg = config(*SMALL, "recipe.learning_rate=1e30", "model=irnn", "trainer.clip=null")
    done = train(cfg)
    assert "The loss is not a number at update 5: the run ends as diverged." in caplog.text
    assert done["status"] == "diverged" and not any(name.startswith("test/") for name in done["metrics"])
    assert json.loads((folder(cfg) / "run.json").read_text())["status"] == "diverged"
    assert train(cfg) == done


def flipped(content: bytes) -> bytes:
    """One bit of a weight: torch loads it without a word."""
    task = torch.load(io.BytesIO(content), weights_only=True)["task"]
    weight = next(tensor for tensor in task["task"].values() if tensor.ndim == 2).numpy().tobytes()
    at = content.index(weight)
    return content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :]


@pytest.mark.parametrize("damage", [lambda content: content[:1000], flipped], ids=["cut", "one bit"])
def test_a_damaged_checkpoint_is_named_and_the_run_starts_again(config, caplog, damage):
    cfg = config(*SMALL, "trainer.max_time=0")
    train(cfg)
    path = folder(cfg) / "last.ckpt"
    path.write_bytes(damage(path.read_bytes()))
    damaged, aside = path.read_bytes(), path.with_name("last.ckpt.unread")
    assert train(config(*SMALL))["status"] == "finished"
    assert f"{path} is damaged" in caplog.text and f"it is kept as {aside}" in caplog.text
    assert aside.read_bytes() == damaged and not path.exists()


def test_what_a_killed_process_was_writing_does_not_stay(config):
    cfg = config(*SMALL)
    folder(cfg).mkdir(parents=True)
    (folder(cfg) / ".last.ckpt.123.part").write_bytes(b"half of it")
    train(cfg)
    assert sorted(p.name for p in folder(cfg).iterdir()) == LEFT


def test_a_run_that_another_process_ended_meanwhile_is_not_made_again(config, monkeypatch):
    cfg = config(*SMALL)
    done = train(cfg)
    looks = []

    def late(where):
        looks.append(where)
        return None if len(looks) == 1 else record.load(where)

    monkeypatch.setattr(record, "read", late)
    monkeypatch.setattr("indrnn.training.run.build", None)
    assert train(cfg) == done and len(looks) == 2


def test_without_its_data_a_run_says_so_in_its_record_and_is_tried_again(config, tmp_path, monkeypatch):
    monkeypatch.setenv("INDRNN_DATA", str(tmp_path / "nowhere"))
    cfg = config("experiment=smnist", "model=lstm", "model.hidden_size=4")
    with pytest.raises(NoData, match="run `make data`"):
        train(cfg)
    assert record.read(folder(cfg))["status"] == "no_data" not in record.FINAL
    with pytest.raises(NoData):
        train(cfg)


def test_a_checkpoint_of_other_code_is_named_and_the_run_starts_again(config, caplog):
    cfg = config(*SMALL, "trainer.max_time=0")
    train(cfg)
    path = folder(cfg) / "last.ckpt"
    past = torch.load(path, weights_only=True)
    past["task"]["task"]["train_sum"] = torch.zeros(9)
    torch.save(past, path)
    assert train(config(*SMALL))["status"] == "finished"
    assert f"{path} was written by other code" in caplog.text
    assert path.with_name("last.ckpt.unread").exists()


def test_a_run_in_progress_is_left_alone(config):
    cfg = config(*SMALL)
    with only_one(folder(cfg)), pytest.raises(UserError, match="is being trained by another process"):
        train(cfg)


def test_a_full_disk_is_one_sentence_and_loses_nothing(config, monkeypatch):
    cfg = config(*SMALL)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device", "run.json")

    with monkeypatch.context() as patch:
        patch.setattr(record, "write", full)
        with pytest.raises(OSError):
            train(cfg)
    monkeypatch.setattr(Task, "training_step", None)  # all updates are in the checkpoint
    assert train(cfg)["status"] == "finished"


def test_kill_minus_9_then_the_same_command_goes_on(tmp_path):
    """A process of its own, killed while it trains; the second sitting starts where the checkpoint is."""
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "indrnn.train", *SMALL, "trainer.max_updates=600", "logger=csv"]
    command += [f"machine.runs={runs}", "machine.checkpoint_seconds=0", "trainer.val_every=100"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        paths = list(runs.glob("*/last.ckpt"))
        if paths and torch.load(paths[0], weights_only=True)["task"]["update"] > 100:
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    (path,) = runs.glob("*/last.ckpt")
    assert 100 < torch.load(path, weights_only=True)["task"]["update"] < 600
    second = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert second.returncode == 0, second.stderr
    done = record.read(path.parent)
    assert done["status"] == "finished" and done["updates"] == 600
    assert "finished" in second.stdout
