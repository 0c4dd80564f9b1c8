"""Gradients over layers and time steps: those of what is added to the states, and honest zeros.

T time, B batch, N neurons.
"""

import itertools

import pytest
import torch
from torch.nn import functional as F

from indrnn.layers import baselines
from indrnn.networks import Baseline, PlainIndRNN
from indrnn.studies.neurons import over_time


def classifier(model: str):
    """Two layers of 4 neurons, float64, that answer one of 3 classes from 2 numbers a step."""
    if model == "IndRNN":
        network = PlainIndRNN(2, 3, 4, 2, seq_len=5, gamma=2.0, batch_norm="after", dropout=0.5, init_std=1.0)
        for layer in network.layers:
            layer.norm.running_mean.normal_()
            layer.norm.running_var.uniform_(0.5, 2)
    else:
        network = Baseline({"LSTM": baselines.lstm, "IRNN": baselines.irnn}[model](2, 4, 2), 3)
        for name, parameter in network.cell.named_parameters():
            torch.nn.init.normal_(parameter, 0.3 if "bias" in name else 0.0, 0.5)
    return network.double().eval()


def by_hand(network, x, extra):
    """Loss of last outputs (T, B, 2) with ``extra[layer][t]`` added to each state; LSTM's (2, B, N) are h and c."""
    indrnn, cell = isinstance(network, PlainIndRNN), getattr(network, "cell", None)
    states = [[torch.zeros(3, 4).double()] * 2 for _ in range(2)]
    for t, inputs in enumerate(x):
        for k in range(2):
            h, c = states[k]
            if indrnn:
                layer = network.layers[k]
                h = (inputs @ layer.weight_ih.T + layer.bias + layer.u * h).relu() + extra[k][t][0]
                inputs = layer.norm(h[None])[0]
            else:
                W, U, b, d = (
                    getattr(cell, f"{name}_l{k}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                )
                z = inputs @ W.T + h @ U.T + b + d
                if isinstance(cell, torch.nn.LSTM):
                    i, f, g, o = z.chunk(4, dim=1)
                    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                    h, c = o.sigmoid() * c.tanh() + extra[k][t][0], c + extra[k][t][1]
                else:
                    h = z.relu() + extra[k][t][0]
                inputs = h
            states[k] = [h, c]
    return F.cross_entropy(network.head(inputs), torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("model", ["IndRNN", "LSTM", "IRNN"])
def test_gradients_over_time_are_those_of_what_is_added_to_the_states(model):
    network, x = classifier(model), torch.randn(3, 5, 2).double()
    loss, found = over_time.norms(network, x, torch.tensor([0, 1, 2]))
    assert all(parameter.grad is None for parameter in network.parameters())
    extra = [[torch.zeros(2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(5)] for _ in range(2)]
    expected = by_hand(network, x.transpose(0, 1), extra)
    expected.backward()
    assert loss == pytest.approx(expected.item())
    for k, t in itertools.product(range(2), range(5)):
        assert found[k][t] == pytest.approx(extra[k][t].grad.norm().item(), rel=1e-9)
    direction = extra[0][1].grad / extra[0][1].grad.norm()
    with torch.no_grad():  # the slope along the gradient is its norm
        slopes = []
        for step in (1e-6, -1e-6):
            extra[0][1].copy_(step * direction)
            slopes.append(by_hand(network, x.transpose(0, 1), extra).item())
    assert found[0][1] == pytest.approx((slopes[0] - slopes[1]) / 2e-6, rel=1e-5)


def test_gradients_that_vanish_are_not_taken_for_zero_and_zero_is():
    tensor = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    tensor.grad = torch.full((2, 3), 1e-200, dtype=torch.float64)
    assert over_time.norm([(tensor,)]) == pytest.approx(6**0.5 * 1e-200, abs=0)
    assert over_time.norm([(tensor, tensor)]) == pytest.approx(2 * 6**0.5 * 1e-200, abs=0)
    dead = classifier("IndRNN")
    with torch.no_grad():
        dead.layers[1].bias.fill_(-100)
    _, found = over_time.norms(dead, torch.randn(3, 5, 2), torch.tensor([0, 1, 2]))
    assert found[0] == [0.0] * 5 and found[1][:4] == [0.0] * 4 and found[1][4] > 0
