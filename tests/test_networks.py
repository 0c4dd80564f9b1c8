"""Networks: parameter counts, shapes, causality, state. Shapes: T time, B batch, M input, K outputs."""

import pytest
import torch
from torch import nn

from indrnn import networks
from indrnn.errors import UserError
from indrnn.networks import PlainIndRNN

T, B, M, K, N = 9, 2, 3, 4, 16


def plain(num_layers: int, batch_norm: str | None = "after") -> PlainIndRNN:
    return PlainIndRNN(M, K, N, num_layers, seq_len=T, gamma=2.0, batch_norm=batch_norm, dropout=0.2, init_std=0.5)


ALL = {
    "plain-1": lambda: plain(1),
    "plain-3": lambda: plain(3),
    "plain-21": lambda: plain(21),
    "plain-2 before": lambda: plain(2, "before"),
    "rnn_tanh": lambda: networks.rnn_tanh(M, K, N, 1),
    "irnn": lambda: networks.irnn(M, K, N, 2),
    "lstm": lambda: networks.lstm(M, K, N, 2),
    "gru": lambda: networks.gru(M, K, N, 1),
}


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_adding_counts():
    """P18 says 17K for IndRNN, 16K for RNN and IRNN, 67K for LSTM; torch has one bias vector more a cell."""
    assert count(PlainIndRNN(2, 1, 128, 2, seq_len=100, gamma=2.0)) == 17_281
    assert count(networks.rnn_tanh(2, 1, 128, 1)) == count(networks.irnn(2, 1, 128, 1)) == 17_025
    assert count(networks.lstm(2, 1, 128, 1)) == 67_713


@pytest.mark.parametrize("num_layers, parameters", [(6, 86_410), (12, 187_786)])
def test_mnist_counts(num_layers, parameters):
    """The counts that the authors' logs print."""
    with torch.device("meta"):
        net = PlainIndRNN(1, 10, 128, num_layers, seq_len=784, gamma=5.0, batch_norm="after")
    assert count(net) == parameters


@pytest.mark.parametrize("build", ALL.values(), ids=ALL)
@pytest.mark.parametrize("batch, steps", [(B, T), (1, T), (B, 1)])
def test_shapes_and_last_step(build, batch, steps):
    net = build().eval().double()
    x = torch.randn(steps, batch, M, dtype=torch.double)
    y, _ = net(x)
    assert y.shape == (steps, batch, K)
    torch.testing.assert_close(net.head(net.features(x)[0][-1]), y[-1])


@pytest.mark.parametrize("build", ALL.values(), ids=ALL)
def test_causality_no_output_depends_on_a_later_step(build):
    net = build().eval()
    x = torch.randn(T, B, M, requires_grad=True)
    y, _ = net(x)
    (gradient,) = torch.autograd.grad(y[4].square().sum(), x)
    assert not gradient[5:].any() and gradient[:5].any()


@pytest.mark.parametrize("build", ALL.values(), ids=ALL)
def test_carried_state_equals_one_long_sequence(build):
    net = build().eval().double()
    x = torch.randn(T, B, M, dtype=torch.double)
    whole, _ = net(x)
    first, state = net(x[:5])
    second, _ = net(x[5:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)


def test_baselines_start_as_published():
    irnn, lstm = networks.irnn(M, K, N, 1).cell, networks.lstm(M, K, N, 1).cell
    assert torch.equal(irnn.weight_hh_l0, torch.eye(N)) and not irnn.bias_ih_l0.any() and not irnn.bias_hh_l0.any()
    forget = lstm.bias_ih_l0 + lstm.bias_hh_l0
    assert torch.equal(forget[N : 2 * N], torch.ones(N)) and not forget[:N].any() and not forget[2 * N :].any()


def test_constrain_reaches_every_layer():
    net = plain(3)
    for layer in net.layers:
        nn.init.constant_(layer.u, -7.0)
    net.constrain_()
    assert all(torch.equal(layer.u, torch.full((N,), -layer.bound)) for layer in net.layers)


@pytest.mark.parametrize("change", [{"num_layers": 0}, {"hidden_size": 0}, {"seq_len": 0}, {"output_size": -1}])
def test_sizes_must_be_positive(change):
    sizes = {"input_size": M, "output_size": K, "hidden_size": N, "num_layers": 2, "seq_len": T} | change
    with pytest.raises(UserError, match=next(iter(change))):
        PlainIndRNN(**sizes, gamma=2.0)
