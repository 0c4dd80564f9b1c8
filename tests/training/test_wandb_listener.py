"""W&B hears metrics and config of a run, and a run does without it."""

import gc
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import wandb
from offline import config_of, heard, rows_of, run_of, summary_of

from indrnn import configs, load, wandb_mode
from indrnn.errors import UserError
from indrnn.tasks import Task
from indrnn.training import listening, wandb_listener
from indrnn.training.run import train

SMALL = ("experiment=quick/adding", "data.seq_len=10", "model.hidden_size=8", "data.val_examples=20")
TWO = (*SMALL, "data.test_examples=20", "trainer.max_updates=2", "trainer.val_every=1")


def test_two_updates_offline_can_be_read_back(config, tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    labels = ("logger.group=figure2_adding", "logger.job_type=adding", "logger.name='IndRNN, T = 10, seed 0'")
    labels += ("logger.row=IndRNN", "logger.column=T100")
    done = train(config(*TWO, "logger=wandb", *labels))
    assert "WARNING" not in capfd.readouterr().err
    records = heard(tmp_path / "runs")
    run = run_of(records)
    assert run["run_group"] == "figure2_adding" and run["job_type"] == "adding"
    assert run["display_name"] == "IndRNN, T = 10, seed 0" and run["project"] == "indrnn"
    updates = config_of(records)
    assert updates["signature"] == done["signature"]
    assert updates["data"] == done["config"]["data"] and updates["model"] == done["config"]["model"]
    rows = [row for row in rows_of(records) if "layer1/off_share" not in row]
    assert [row["update"] for row in rows] == [1, 2, 2]
    assert min(row["val/mse"] for row in rows[:2]) == pytest.approx(done["metrics"]["val/mse"])
    assert rows[0]["train/mse"] > 0 and rows[-1]["test/mse"] == pytest.approx(done["metrics"]["test/mse"])
    assert updates["parameters"] == done["parameters"]
    summary = summary_of(records)
    assert summary["status"] == "finished" and summary["record"].endswith(f"/{done['signature']}/run.json")
    assert summary["test/mse"] == pytest.approx(done["metrics"]["test/mse"])
    assert (updates["row"], updates["column"]) == ("IndRNN", "T100")


def test_a_run_goes_on_without_an_answer(config, monkeypatch, caplog):
    def silent(*arguments, **options):
        raise wandb.errors.CommError("nobody there\nsecond line")

    monkeypatch.setattr(wandb, "init", silent)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert train(config(*TWO, "logger=wandb"))["status"] == "finished"
    assert "W&B does not answer (nobody there): the run goes on without it." in caplog.text


def test_runs_go_on_where_wandb_is_not_installed_which_is_said_once(config, tmp_path, monkeypatch, caplog):
    wandb_listener.say_missing.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "wandb"]:
        monkeypatch.setitem(sys.modules, name, None)
    for seed in (0, 1):
        assert train(config(*TWO, "logger=wandb", f"seed={seed}"))["status"] == "finished"
    assert caplog.text.count("go on without it") == 1 and not (tmp_path / "runs/wandb").exists()


def test_a_run_outlives_wandbs_own_process(config, tmp_path, monkeypatch, caplog):
    """It is killed in the middle; this run goes on, and the next one in this process is heard again."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    original = Task.on_validation_end

    def killed(task):
        if task.update == 1:
            subprocess.run(["pkill", "-KILL", "-P", str(os.getpid()), "wandb-core"], check=True)
            time.sleep(0.5)
        original(task)

    monkeypatch.setattr(Task, "on_validation_end", killed)
    done = train(config(*TWO, "logger=wandb"))
    assert done["status"] == "finished" and done["updates"] == 2
    assert "the run goes on without it" in caplog.text
    for process in [found for found in gc.get_objects() if type(found) is subprocess.Popen]:
        process.poll()  # wandb forgets to, and warns of it when the object goes
    monkeypatch.setattr(Task, "on_validation_end", original)
    train(config(*TWO, "logger=wandb", "seed=1", f"machine.runs={tmp_path / 'next'}"))
    found = rows_of(heard(tmp_path / "next"))
    assert [row["update"] for row in found if "layer1/off_share" not in row] == [1, 2, 2]


def test_csv_means_no_listener(config):
    cfg = config(*TWO, "logger=csv")
    assert wandb_listener.listener(cfg.logger, "x", {}) is None


def test_the_listener_is_no_part_of_the_run(config):
    signatures = {
        configs.signature(configs.signed(config(*TWO, f"logger={name}", "logger.group=a"))) for name in ("csv", "wandb")
    }
    assert len(signatures) == 1


LOOPBACK = "http://127.0.0.1:9"  # where nobody listens


@pytest.fixture
def anew():
    wandb_mode.mode_with.cache_clear()
    yield
    wandb_mode.mode_with.cache_clear()


def test_a_key_without_a_network_means_offline_data_at_once_and_is_said_once(anew, caplog):
    began = time.monotonic()
    assert [wandb_mode.mode_with("a" * 40, LOOPBACK) for _ in range(3)] == ["offline"] * 3
    assert time.monotonic() - began < 2.5 and caplog.text.count("runs are logged offline, for make wandb-sync") == 1


def test_without_a_key_nobody_is_asked(anew, caplog, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setattr(wandb_mode.socket, "create_connection", lambda *_: pytest.fail("asked"))
    assert wandb_mode.mode_with(None, LOOPBACK) == "offline" and not caplog.text
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password key\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert wandb_mode.in_netrc("127.0.0.1") and not wandb_mode.in_netrc("elsewhere")


def test_a_key_that_the_server_refuses_means_offline_data(anew, caplog, monkeypatch):
    def refused(prompt):
        raise wandb.errors.AuthenticationError("no such key")

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(wandb, "login", refused)
        assert wandb_mode.mode_with("a" * 40, address) == "offline" and "no such key" in caplog.text
        monkeypatch.setattr(wandb, "login", lambda prompt: True)
        assert wandb_mode.mode_with("b" * 40, address) == "online"


def test_wandbs_own_variables_are_honoured(config, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("WANDB_DIR", "/somewhere")
    cfg = config(*TWO, "logger=wandb").logger
    assert cfg.project == "mine" and cfg.save_dir == "/somewhere"
    with pytest.raises(UserError, match="logger.every must be a whole number of at least 1, not 0"):
        wandb_listener.refuse_unknown(config(*TWO, "logger=wandb", "logger.every=0").logger, wandb)


@pytest.mark.parametrize(
    "given, words, name, group, tags",
    [
        ([], ["experiment=fast/pmnist", "model=lstm", "seed=3"], "lstm, seed 3", "fast/pmnist", "fast pmnist lstm"),
        ([], ["experiment=pmnist"], "indrnn, seed 3", "pmnist", "paper pmnist indrnn"),
        ([], ["data.seq_len=9", "machine.runs=x", "logger=wandb"], "indrnn, data.seq_len=9, seed 3", "quick/adding",
         "quick adding indrnn"),
        (["logger.name=a", "logger.group=table1", "logger.tags=[mine]"], ["experiment=fast/pmnist"], "a", "table1",
         "fast pmnist indrnn table1 mine"),
    ],
)  # fmt: skip
def test_a_run_can_be_told_from_others(config, given, words, name, group, tags):
    found = listening.labels(config(*TWO, "logger=wandb", *given).logger, words, 3)
    assert found["name"] == name and found["group"] == group and found["tags"] == tags.split()
    assert found["job_type"] == tags.split()[1]


WORSE = ("trainer.max_updates=7", "recipe.learning_rate=0.1", "schedule@recipe.schedule=constant")  # than at update 2


def test_the_summary_has_the_best_validation_and_not_the_last(config, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    done = train(config(*TWO, *WORSE, "logger=wandb"))
    records = heard(tmp_path / "runs")
    curve = [row["val/mse"] for row in rows_of(records) if "val/mse" in row]
    assert len(curve) == 7 and min(curve) < curve[-1]
    summary = summary_of(records)
    assert summary["val/mse"] == pytest.approx(min(curve)) and summary["best_update"] == done["metrics"]["best_update"]


@pytest.mark.parametrize("below, kept", [(10**6, True), (100, False), ("null", False)])
def test_weights_and_record_of_a_small_network_go_along_as_an_artifact(config, tmp_path, monkeypatch, below, kept):
    """Which needs no copies: the offline data name the run's own files."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    done = train(config(*TWO, "logger=wandb", f"logger.artifact_below={below}"))
    assert done["parameters"] > 100
    found = [r["artifact"] for r in heard(tmp_path / "runs") if r["type"] == "artifact"]
    assert len(found) == kept and not (tmp_path / "staged").exists()
    if kept:
        folder = tmp_path / "runs" / done["signature"]
        content = {entry["path"]: entry["local_path"] for entry in found[0]["manifest"]["contents"]}
        assert content == {name: str(folder / name) for name in ("run.json", "weights.pt")}
        assert found[0]["name"] == f"run-{done['signature']}"
        copied = tmp_path / "downloaded"
        copied.mkdir()
        for name, path in content.items():
            (copied / name).write_bytes(Path(path).read_bytes())
        assert load.load(copied).record["signature"] == done["signature"]


def test_a_run_that_was_stopped_leaves_no_artifact_and_no_row_of_tests(config, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")

    def stop(task):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Task, "on_validation_end", stop)
    with pytest.raises(SystemExit):
        train(config(*TWO, "logger=wandb"))
    records = heard(tmp_path / "runs")
    assert summary_of(records)["status"] == "interrupted"
    assert not [r for r in records if r["type"] == "artifact"]
    assert not any(name.startswith("test/") for row in rows_of(records) for name in row)
