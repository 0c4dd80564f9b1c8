"""Memory length of a recurrent weight: brute force, inverse, edges."""

import math

import pytest
import torch

from indrnn.errors import UserError
from indrnn.studies.memory_length import memory_length, weight_range


@pytest.mark.parametrize("eps", [0.5, 0.01, 1e-6])
@pytest.mark.parametrize("u", [0.03, 0.5, -0.7, 0.99, -0.9995])
def test_it_is_how_many_steps_a_state_lasts(u, eps):
    state, steps = 1.0, 0
    while abs(state) >= eps * (1 - 1e-12):  # 0.5^1 is not below 0.5
        state, steps = u * state, steps + 1
    assert steps == math.floor(memory_length(u, eps).item() + 1e-9) + 1


def test_the_weight_that_lasts_for_n_steps_has_a_memory_of_n_steps():
    for steps in (1, 20, 784, 5000):
        low, high = weight_range(steps, 0.01, 5.0)
        assert low**steps == pytest.approx(0.01) and high**steps == pytest.approx(5.0)
        assert memory_length(low, 0.01).item() == pytest.approx(steps)
        assert memory_length(low * (1 - 1e-6), 0.01) < steps < memory_length(low * (1 + 1e-6), 0.01)
        assert memory_length(high, 0.01) == math.inf


def test_edges():
    u = torch.tensor([0.0, -0.0, 1.0, -1.0, 1.3, -1.3, 0.5, -0.5])
    found = memory_length(u, 0.25)
    assert found.tolist() == [0, 0, math.inf, math.inf, math.inf, math.inf, 2, 2]
    assert found.dtype == torch.float64 and memory_length(u[:6].view(2, 3), 0.1).shape == (2, 3)
    assert memory_length(float("nan"), 0.1).isnan()
    assert weight_range(7, 0.5, 1) == (pytest.approx(0.5 ** (1 / 7)), 1.0)


@pytest.mark.parametrize("eps", [0.0, 1.0, -0.1, 2, float("nan")])
def test_a_share_that_is_none_is_refused(eps):
    with pytest.raises(UserError, match="eps must be above 0 and below 1"):
        memory_length(0.5, eps)
    with pytest.raises(UserError, match="eps must be above 0 and below 1"):
        weight_range(5, eps, 2.0)


@pytest.mark.parametrize(
    ("steps", "gamma", "words"), [(5, 0.9, "gamma must be"), (0, 2, "whole"), (5, math.nan, "gam")]
)
def test_a_range_that_is_none_is_refused(steps, gamma, words):
    with pytest.raises(UserError, match=words):
        weight_range(steps, 0.1, gamma)
