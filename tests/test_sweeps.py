"""Sweeps by W&B and by Optuna: what an agent would start is started here, and what a sweep hears is read back."""

import importlib.util
import os
import subprocess
from types import SimpleNamespace

import pytest
import wandb.wandb_agent
import yaml
from offline import config_of, heard, run_of, summary_of
from test_commands import TINY, TRAIN, call, records
from test_dashboard import fewer

from indrnn import configs, files, sweeps
from indrnn.tables import judged, schema

SMALL = [word for word in TINY if word != "logger=csv"]


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """asked(sweep, words) -> command and environment of the process that W&B's own agent starts for them."""

    def command_of(sweep, chosen):
        started = {}
        monkeypatch.setattr(
            wandb.wandb_agent, "AgentProcess", lambda **words: started.update(words) or SimpleNamespace()
        )
        agent = SimpleNamespace(
            _sweep_command=sweep["command"],
            _in_jupyter=False,
            _function=None,
            _run_processes={},
            _forward_signals=False,
        )
        command = {
            "run_id": "abcd1234",
            "program": sweep["program"],
            "args": {k: {"value": v} for k, v in chosen.items()},
        }
        wandb.wandb_agent.Agent._command_run(agent, command)
        return started["command"], started["env"]

    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SWEEP_ID", "efgh5678")
    monkeypatch.setenv("WANDB_RUN_ID", "")  # the agent sets it: put back after the test
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", "")
    return command_of


def test_what_an_agent_starts_is_a_run_whose_metric_the_sweep_finds(asked, tmp_path):
    sweep = yaml.safe_load(sweeps.TEMPLATE.read_text())
    command, env = asked(sweep, {"recipe.learning_rate": 0.002})
    assert command[:2] == ["/usr/bin/env", ".venv/bin/python"] and command[-1] == "recipe.learning_rate=0.002"
    assert env["WANDB_RUN_ID"] == "abcd1234"
    assert "machine.fresh=true" in command  # an agent waits for what it asked for, even if the run was done before
    here = [*TRAIN[:1], *command[2:], *SMALL, f"machine.runs={tmp_path / 'runs'}"]  # this test's own environment
    done = subprocess.run(here, env=env | {"WANDB_MODE": "offline"}, cwd=files.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (record,) = records(tmp_path / "runs")
    assert record["config"]["recipe"]["learning_rate"] == 0.002 and record["seed"] == 100
    found = heard(tmp_path / "wandb")
    assert (run_of(found)["run_id"], run_of(found)["sweep_id"]) == ("abcd1234", "efgh5678")
    assert summary_of(found)[sweep["metric"]["name"]] == pytest.approx(record["metrics"]["val/mse"])
    assert config_of(found)["signature"] == record["signature"]


def test_each_table_has_a_sweep_and_the_one_in_conf_is_that_of_figure_2(tmp_path):
    with fewer():
        for name in schema.table_names():
            report = judged.report(name, "quick", tmp_path)
            sweep = yaml.safe_load(sweeps.text(report, "indrnn"))
            assert sweep["metric"]["name"] == f"val/{report.table.metric}"
            assert (sweep["metric"]["goal"] == "minimize") == report.table.lower_is_better
            assert sweep["name"].startswith(f"{name}, ") and sweep["command"][-1] == sweeps.CHOSEN
            words = [word for word in sweep["command"] if "=" in word]
            assert len({word.partition("=")[0] for word in words}) == len(words)
            assert not {word.partition("=")[0] for word in words} & set(sweep["parameters"])
            if name == "figure2_adding":
                assert sweep == yaml.safe_load(sweeps.TEMPLATE.read_text())
            if name == "table4_ntu":  # an accuracy
                cfg = configs.build([*words, "recipe.learning_rate=0.002"])
                configs.refuse_unread(cfg, [*words, "recipe.learning_rate=0.002"])
                assert cfg.recipe.learning_rate == 0.002 and cfg.seed == 100


NO_OPTUNA = importlib.util.find_spec("optuna") is None


@pytest.mark.slow
@pytest.mark.skipif(NO_OPTUNA, reason="without optuna: make test-slow installs it")
def test_optuna_searches_and_finds_the_best_of_what_was_trained(tmp_path):
    search = ("hydra/sweeper=search", "hydra.sweeper.n_trials=3", "experiment=quick/adding", "data.seq_len=10")
    done = call(*TRAIN, "-m", *search, *TINY, f"machine.runs={tmp_path}")
    made = records(tmp_path)
    rates = [r["config"]["recipe"]["learning_rate"] for r in made]
    assert len(set(rates)) == 3 and all(1e-4 <= rate <= 1e-2 for rate in rates) and {r["seed"] for r in made} == {100}
    best = min(made, key=lambda r: r["metrics"]["val/mse"])
    assert f"Best parameters: {{'recipe.learning_rate': {best['config']['recipe']['learning_rate']!r}}}" in done.stdout
    assert f"Best value: {best['metrics']['val/mse']!r}" in done.stdout


@pytest.mark.skipif(not NO_OPTUNA, reason="with optuna here, nothing is missing")
@pytest.mark.parametrize("word", ["hydra/sweeper=search", "hydra/sweeper=optuna"])
def test_without_optuna_the_search_says_what_to_do(tmp_path, word):
    done = call(*TRAIN, "-m", word, *TINY, f"machine.runs={tmp_path}", code=1)
    assert done.stderr == "hydra/sweeper/optuna is not installed here: run `make setup EXTRAS=sweep`.\n"
    assert os.listdir(tmp_path) == []
