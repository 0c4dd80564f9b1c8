"""What is measured of states that are off, and that watching changes nothing."""

import pytest
import torch

from indrnn.layers import IndRNNUnit
from indrnn.networks import PlainIndRNN
from indrnn.tasks import Regression
from indrnn.tasks.off_states import OFF, Layer, Watched, is_off
from indrnn.tasks.schedules import Constant

T, B, N = 6, 3, 4


@pytest.mark.parametrize(
    ("activation", "slope"), [("relu", 0.01), ("leaky_relu", 0.01), ("leaky_relu", 0.1), ("leaky_relu", 0.2)]
    + [("tanh", 0.01), ("identity", 0.01)],
)  # fmt: skip
def test_off_is_where_the_derivative_of_the_activation_is_small(activation, slope):
    z = torch.linspace(-4, 4, 1001, dtype=torch.double, requires_grad=True)
    h = {
        "relu": torch.relu,
        "leaky_relu": lambda z: torch.nn.functional.leaky_relu(z, slope),
        "tanh": torch.tanh,
        "identity": lambda z: z,
    }[activation](z)
    (derivative,) = torch.autograd.grad(h.sum(), z)
    away = z.detach().abs() > 1e-9  # at 0 a ReLU has no derivative
    assert torch.equal(is_off(h.detach(), activation, slope)[away], (derivative <= OFF)[away])


def test_shares_stretches_and_neurons_by_hand():
    layer = Layer(IndRNNUnit(3, 1.0, (0.0, 1.0)))
    #   neuron 0: off twice, 2 steps and 1 step; neuron 1: always; neuron 2: never
    h = torch.tensor([[0, 0, 1], [0, 0, 2], [1, 0, 1], [0, 0, 3]], dtype=torch.float)[:, None]
    layer.see(h)
    assert layer.measured() == pytest.approx({"off_share": 700 / 12, "off_steps": 7 / 3, "off_neurons": 100 / 3})
    layer.see(torch.ones(2, 1, 3))  # other sequences, where neuron 1 is alive
    assert layer.measured() == pytest.approx({"off_share": 700 / 18, "off_steps": 7 / 3, "off_neurons": 0.0})


@pytest.mark.parametrize("steps", [0, 1])
def test_short_sequences(steps):
    layer = Layer(IndRNNUnit(2, 1.0, (0.0, 1.0)))
    layer.see(torch.zeros(steps, B, 2))
    expected = {"off_share": 100.0, "off_steps": 1.0, "off_neurons": 100.0} if steps else dict.fromkeys(
        ("off_share", "off_steps", "off_neurons"), 0.0)  # fmt: skip
    assert layer.measured() == expected


@pytest.mark.parametrize("batch_norm", [None, "before", "after"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_watching_sees_the_states_of_every_layer_and_changes_nothing(batch_norm, activation):
    slope = 0.05 if activation == "leaky_relu" else None
    net = PlainIndRNN(2, 1, N, 2, T, gamma=2.0, activation=activation, batch_norm=batch_norm, negative_slope=slope)
    x = torch.randn(T, B, 2)
    for mode in (net.train(), net.eval()):
        weights = {name: tensor.clone() for name, tensor in mode.state_dict().items()}
        y, _ = mode(x)
        mode.load_state_dict(weights)
        watched = Watched(mode)
        watched.begin()
        again, state = mode(x)
        measured = watched.end()
        assert torch.equal(y, again)
        assert list(measured) == [f"layer{i}/off_{what}" for i in (1, 2) for what in ("share", "steps", "neurons")]
        ends = [is_off(h, activation, 0.05).float().mean() for h in state]  # of the last step alone
        assert all(measured[f"layer{i}/off_share"] * T >= 100 * end for i, end in enumerate(ends, 1))
        mode(x)  # nobody looks any more
        assert all("watch" not in vars(layer) for layer in net.layers)


def test_slope_and_bound_reach_the_layers():
    net = PlainIndRNN(1, 1, N, 2, T, gamma=2.0, activation="leaky_relu", negative_slope=0.5, unbounded=True)
    x = -torch.rand(1, B, 1)
    z = torch.nn.functional.linear(x, net.layers[0].weight_ih, net.layers[0].bias)
    torch.testing.assert_close(net.layers[0](x)[0], torch.where(z > 0, z, z / 2))
    bound = 2.0 ** (1 / T)
    assert all(layer.u.max() <= bound for layer in net.layers)
    net.layers[0].u.data.fill_(3.0)
    net.constrain_()
    assert torch.equal(net.layers[0].u, torch.full((N,), 3.0))


def test_weight_decay_on_u_where_it_is_asked_for():
    net = PlainIndRNN(2, 1, N, 2, T, gamma=2.0, batch_norm="after")
    for asked in (None, True):
        task = Regression(net, Constant(1e-3), 0, 1, 1, weight_decay=0.1, decay_u=asked)
        decayed, others = task.configure_optimizers().param_groups
        assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
        us = {id(layer.u) for layer in net.layers}
        assert us <= {id(p) for p in (decayed if asked else others)["params"]}
        everything = [*decayed["params"], *others["params"]]
        assert sorted(map(id, everything)) == sorted(id(p) for p in net.parameters())
