"""What W&B hears on the way, and that a run does not notice."""

import math

import pytest
import torch
from torch import nn

from indrnn import record
from indrnn.layers import IndRNNUnit
from indrnn.tasks import Task
from indrnn.training import run
from indrnn.training.dials import Dials, of_u, trained
from indrnn.training.run import build, train

SMALL = ("experiment=quick/adding", "data.seq_len=10", "model.hidden_size=8", "data.val_examples=20")
FIVE = (*SMALL, "data.test_examples=20", "trainer.max_updates=5", "trainer.val_every=2", "logger=csv")


class Heard:
    """A logger that keeps what it is told."""

    deaf = False
    every = 2

    def __init__(self):
        self.rows = []

    def log_metrics(self, values, step=None):
        self.rows.append((step, values))


@pytest.fixture
def heard(monkeypatch) -> Heard:
    """In the place of W&B."""
    logger = Heard()

    def aside(sitting, rank, checkpoint, _, callbacks):
        return original(sitting, rank, checkpoint, None, [*callbacks, Dials(logger, logger.every, 32)])

    original = run.make_updates
    monkeypatch.setattr(run, "make_updates", aside)
    return logger


def outcome(config, tmp_path, name: str, *more: str):
    done = train(config(*FIVE, *more, f"machine.runs={tmp_path / name}"))
    folder = tmp_path / name / done["signature"]
    return (
        done["signature"],
        (folder / "curve.csv").read_bytes(),
        torch.load(folder / "weights.pt"),
        record.curve(folder),
    )


@pytest.mark.parametrize("more", [(), ("recipe.dropout=0.2", "recipe.batch_norm=after"), ("task.watch_states=true",)])
def test_a_run_has_the_same_bits_and_signature_with_dials(config, tmp_path, heard, monkeypatch, more):
    with_dials = outcome(config, tmp_path, "with", *more)
    assert heard.rows
    monkeypatch.undo()
    without = outcome(config, tmp_path, "without", *more)
    assert with_dials[:2] == without[:2]
    assert all(torch.equal(value, without[2][name]) for name, value in with_dials[2].items())


def test_what_is_told_and_when(config, tmp_path, heard):
    outcome(config, tmp_path, "runs")
    dials = [(step, values) for step, values in heard.rows if "gradient_norm" in values]
    states = [(step, values) for step, values in heard.rows if "layer1/off_share" in values]
    assert [step for step, _ in dials] == [2, 4] and [step for step, _ in states] == [2, 4, 5]
    for step, values in dials:
        assert values["update"] == step and values["gradient_norm"] > 0 and values["examples_a_second"] > 0
        assert 0 < values["learning_rate"] <= 1e-3
        for i in (1, 2):
            assert sum(values[f"layer{i}/u"].histogram) == 8 and 0 <= values[f"layer{i}/u_at_bound"] <= 100
    for _, values in states:
        assert all(0 <= values[f"layer{i}/off_share"] <= 100 for i in (1, 2))


def test_states_that_the_curve_has_are_not_measured_twice(config, tmp_path, heard):
    curve = outcome(config, tmp_path, "runs", "task.watch_states=true")[3]
    assert "layer1/off_share" in curve[0] and not any("layer1/off_share" in values for _, values in heard.rows)


def test_the_norm_and_the_shares_are_what_their_names_say(config):
    _, task = build(config(*FIVE))
    units = [module for module in task.network.modules() if isinstance(module, IndRNNUnit)]
    with torch.no_grad():
        units[0].u.copy_(torch.linspace(0, 0.5, 8))
        units[0].u[:2] = torch.tensor([units[0].bound, -units[0].bound])
    assert of_u(task)["layer1/u_at_bound"] == 25.0
    for p in task.network.parameters():
        p.grad = torch.full_like(p, 0.5)
    task.update = 1
    numbers = sum(p.numel() for p in task.network.parameters())
    assert trained(task)["gradient_norm"] == pytest.approx(0.5 * math.sqrt(numbers))


def test_a_network_without_such_layers_has_no_u(config, tmp_path, heard):
    outcome(config, tmp_path, "runs", "model=lstm")
    assert heard.rows and not any("layer" in name for _, values in heard.rows for name in values)


def test_a_validation_that_is_stopped_leaves_nobody_watching(config):
    _, task = build(config(*FIVE))
    dials = Dials(Heard(), 2, 32)
    dials.on_validation_batch_start(None, task, None, 0)
    units = [module for module in task.network.modules() if isinstance(module, IndRNNUnit)]
    assert all(unit.watch for unit in units)
    dials.on_exception(None, task, KeyboardInterrupt())
    assert not any(unit.watch for unit in units) and isinstance(task, Task) and isinstance(task.network, nn.Module)
