"""Learning rates of every update."""

import copy

import pytest
import torch
from hydra.utils import instantiate
from test_recognition import Validations
from torch import nn

from indrnn import configs
from indrnn.errors import UserError
from indrnn.tables import plan
from indrnn.tables.schema import load_table
from indrnn.tasks import Regression
from indrnn.tasks.schedules import Constant, OneCycle, Plateau, Step


def test_step_drops_every_20000_updates():
    schedule = Step(2e-4, every=20_000, factor=0.1)
    rates = [schedule.rate(i) for i in (0, 19_999, 20_000, 40_000, 59_999)]
    assert rates == pytest.approx([2e-4, 2e-4, 2e-5, 2e-6, 2e-6])


def test_one_cycle_rises_and_falls_to_nothing():
    schedule = OneCycle(1.0, max_updates=100, warmup=0.1)
    rates = [schedule.rate(i) for i in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[10] == 1
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.02
    assert OneCycle(1.0, max_updates=2, warmup=0.1).rate(1) > 0


def test_plateau_drops_reloads_halves_and_stops():
    schedule = Plateau(2e-4, patience=4, factor=0.1, stop_below=1e-6)
    assert schedule.observe(1.0) is None and schedule.rate(0) == 2e-4
    answers = [schedule.observe(2.0) for _ in range(5)]
    assert answers == [None] * 4 + ["reload"] and schedule.rate(0) == pytest.approx(2e-5)
    assert [schedule.observe(2.0) for _ in range(3)] == [None, None, "reload"]
    assert schedule.rate(0) == pytest.approx(2e-6)
    assert schedule.observe(0.5) is None
    assert [schedule.observe(0.5) for _ in range(2)] == [None, "stop"]


def answered(schedule: Plateau) -> list[tuple[int, str]]:
    """At which validations, from 1, it drops the rate or stops, where all of them have one value."""
    found, number = [], 0
    while not found or found[-1][1] != "stop":
        number += 1
        if answer := schedule.observe(1.0):
            found.append((number, answer))
    return found


def test_on_flat_values_the_authors_wait_for_one_validation_more(config):
    """Their loops look at the count of validations before they count the one at hand: patience + 2 at every stage."""
    ours, theirs = Plateau(2e-4, 100, 0.1, 1e-6), instantiate(config("experiment=smnist").task.schedule)
    assert answered(ours) == [(102, "reload"), (153, "reload"), (179, "stop")]
    assert answered(theirs) == [(103, "reload"), (155, "reload"), (182, "stop")]
    assert ours.needs_best_optimizer and theirs.needs_best_optimizer


@pytest.mark.parametrize(
    "overrides, stages, adam",
    [
        (["experiment=ptb_char", "model=indrnn"], [23, 45, 67, 89], False),
        (["experiment=ptb_char", "model=dense_indrnn"], [203, 305, 357, 384], True),
        (["experiment=ptb_word", "model=res_indrnn"], [203, 305, 357, 384], True),
        (["experiment=ntu_cv", "recipe.patience=10", "recipe.halve_patience=false"], [13, 25, 37], False),
        (["experiment=ntu_cv"], [103, 155, 182], True),
    ],
    ids=["P18 characters", "P19 characters", "P19 words", "P18 skeletons", "P19 skeletons"],
)
def test_the_stages_of_each_of_their_loops(config, overrides, stages, adam):
    """P18's rows follow the Theano code, which halves no patience and keeps Adam's state."""
    schedule = instantiate(config(*overrides).task.schedule)
    assert [number for number, _ in answered(schedule)] == stages and schedule.needs_best_optimizer == adam


def test_the_rows_of_p18_follow_the_theano_loops():
    schedules = {
        (table, key): configs.build(overrides).recipe.schedule
        for table, keys in {
            "table3_ptb_word": ["res_indrnn_11"],
            "table4_ntu": ["indrnn_4_p18", "indrnn_6_p18"],
        }.items()
        for key in keys
        for overrides in plan.cell_overrides(load_table(table), "paper", key, next(iter(load_table(table).columns)))
    }
    assert len(schedules) == 3 and all(
        (s.reload_adam, s.halve, s.grace) == (False, False, 1) for s in schedules.values()
    )


@pytest.mark.parametrize("reload_adam", [None, False])
def test_weights_go_back_and_adams_state_where_it_should(monkeypatch, reload_adam):
    """Three updates; the first validation is the best one, the third drops the rate."""
    task = Regression(nn.Linear(2, 1), Plateau(0.1, 0, 0.1, 1e-9, grace=1, reload_adam=reload_adam), 0, 9, 1)
    monkeypatch.setattr(Regression, "trainer", Validations())
    monkeypatch.setattr(Regression, "loggers", [])
    after = []
    for number in range(3):
        for p in task.network.parameters():
            p.grad = torch.full_like(p, number + 1.0)
        task.adam.step()
        after.append((copy.deepcopy(task.network.state_dict()), copy.deepcopy(task.adam.state_dict()["state"])))
        task.update += 1
        task.train_sum += 1
        task.trainer.callback_metrics = {"val/mse": torch.tensor(float(number)), "val/loss": torch.tensor(0.0)}
        task.on_validation_end()
    kept = after[0][1] if reload_adam is None else after[2][1]
    assert all(torch.equal(p, after[0][0][name]) for name, p in task.network.state_dict().items())
    for number, state in task.adam.state_dict()["state"].items():
        assert all(torch.equal(value, kept[number][name]) for name, value in state.items())
    assert not torch.equal(after[0][1][0]["exp_avg"], after[2][1][0]["exp_avg"])
    assert ("optimizer" in task.best) == (reload_adam is None) and task.schedule.drops == 1


def test_plateau_remembers_across_a_checkpoint():
    one, other = Plateau(1.0, 3, 0.1, 1e-9), Plateau(1.0, 3, 0.1, 1e-9)
    for value in (3.0, 2.0, 2.5, 2.6):
        one.observe(value)
    other.load_state_dict(one.state_dict())
    values = [2.7, 2.8, 2.9, 1.0, 1.5]
    assert [one.observe(v) for v in values] == [other.observe(v) for v in values]


def test_plateau_does_not_take_nan_for_an_improvement():
    schedule = Plateau(1.0, 0, 0.1, 1e-9)
    schedule.observe(1.0)
    assert schedule.observe(float("nan")) == "reload"


def test_learning_rate_must_be_positive():
    with pytest.raises(UserError, match="learning_rate"):
        Constant(0)
