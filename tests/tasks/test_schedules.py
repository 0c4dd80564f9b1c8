"""Learning rates of every update."""

import pytest

from indrnn.errors import UserError
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
