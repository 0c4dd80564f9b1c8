"""W&B hears metrics and config of a run, and a run does without it."""

import gc
import json
import os
import socket
import subprocess
import sys
import time

import pytest
import wandb

from indrnn import configs
from indrnn.errors import UserError
from indrnn.tasks import Task
from indrnn.training import listening, wandb_listener
from indrnn.training.run import train

SMALL = ("experiment=quick/adding", "data.seq_len=10", "model.hidden_size=8", "data.val_examples=20")
TWO = (*SMALL, "data.test_examples=20", "trainer.max_updates=2", "trainer.val_every=1")


def heard(folder) -> list[dict]:
    """The records of the one offline W&B run in a folder."""
    (path,) = folder.rglob("*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def test_two_updates_offline_can_be_read_back(config, tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    labels = ("logger.group=figure2_adding", "logger.job_type=adding", "logger.name='IndRNN, T = 10, seed 0'")
    done = train(config(*TWO, "logger=wandb", *labels))
    assert "WARNING" not in capfd.readouterr().err
    records = heard(tmp_path / "runs")
    (run,) = [r["run"] for r in records if r["type"] == "run"]
    assert run["run_group"] == "figure2_adding" and run["job_type"] == "adding"
    assert run["display_name"] == "IndRNN, T = 10, seed 0" and run["project"] == "indrnn"
    updates = {}
    for r in records:
        if r["type"] == "config":
            updates |= r["config"]["update"]
    assert updates["signature"] == done["signature"]
    assert updates["data"] == done["config"]["data"] and updates["model"] == done["config"]["model"]
    rows = [r["history"]["item"] for r in records if r["type"] == "history"]
    rows = [row for row in rows if "layer1/off_share" not in row]
    assert [row["update"] for row in rows] == [1, 2, 2]
    assert min(row["val/mse"] for row in rows[:2]) == pytest.approx(done["metrics"]["val/mse"])
    assert rows[0]["train/mse"] > 0 and rows[-1]["test/mse"] == pytest.approx(done["metrics"]["test/mse"])
    assert updates["parameters"] == done["parameters"]
    summary = {}
    for r in records:
        if r["type"] == "summary":
            summary |= r["summary"]["update"]
    assert summary["status"] == "finished" and summary["record"].endswith(f"/{done['signature']}/run.json")
    assert summary["test/mse"] == pytest.approx(done["metrics"]["test/mse"])


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
    found = [r["history"]["item"] for r in heard(tmp_path / "next") if r["type"] == "history"]
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
    wandb_listener.mode_with.cache_clear()
    yield
    wandb_listener.mode_with.cache_clear()


def test_a_key_without_a_network_means_offline_data_at_once_and_is_said_once(anew, caplog):
    began = time.monotonic()
    assert [wandb_listener.mode_with("a" * 40, LOOPBACK) for _ in range(3)] == ["offline"] * 3
    assert time.monotonic() - began < 2.5 and caplog.text.count("runs are logged offline, for make wandb-sync") == 1


def test_without_a_key_nobody_is_asked(anew, caplog, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setattr(wandb_listener.socket, "create_connection", lambda *_: pytest.fail("asked"))
    assert wandb_listener.mode_with(None, LOOPBACK) == "offline" and not caplog.text
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password key\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert wandb_listener.in_netrc("127.0.0.1") and not wandb_listener.in_netrc("elsewhere")


def test_a_key_that_the_server_refuses_means_offline_data(anew, caplog, monkeypatch):
    def refused(prompt):
        raise wandb.errors.AuthenticationError("no such key")

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(wandb, "login", refused)
        assert wandb_listener.mode_with("a" * 40, address) == "offline" and "no such key" in caplog.text
        monkeypatch.setattr(wandb, "login", lambda prompt: True)
        assert wandb_listener.mode_with("b" * 40, address) == "online"


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
