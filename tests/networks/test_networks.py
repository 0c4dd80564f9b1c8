"""Networks: parameter counts, shapes, causality, state. Shapes: T time, B batch, M input, K outputs."""

import pytest
import torch
from torch import nn

from indrnn import networks
from indrnn.errors import UserError
from indrnn.layers import IndRNNUnit
from indrnn.networks import PlainIndRNN, ResidualIndRNN
from indrnn.networks.dense import DenseIndRNN

T, B, M, K, N = 9, 2, 3, 4, 16


def plain(num_layers: int, batch_norm: str | None = "after") -> PlainIndRNN:
    return PlainIndRNN(M, K, N, num_layers, seq_len=T, gamma=2.0, batch_norm=batch_norm, dropout=0.2, init_std=0.5)


ALL = {
    "plain-1": lambda: plain(1),
    "plain-3": lambda: plain(3),
    "plain-21": lambda: plain(21),
    "plain-2 before": lambda: plain(2, "before"),
    "convolution": lambda: PlainIndRNN(M, K, N, 2, seq_len=T, gamma=2.0, batch_norm="after", kernel_size=3),
    "residual-5": lambda: ResidualIndRNN(M, K, N, 5, seq_len=T, gamma=2.0, batch_norm="after", init_std=0.5),
    "dense": lambda: DenseIndRNN(M, K, 3, [2, 1], seq_len=T, gamma=2.0, batch_norm="after", init_std=0.5),
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


def test_mnist_counts_of_residual_and_dense():
    """5 blocks; blocks (8, 6, 4) with growth 16. The recurrences, one u each, are 11 and 40."""
    with torch.device("meta"):
        residual = ResidualIndRNN(1, 10, 128, 11, seq_len=784, gamma=5.0, batch_norm="after")
        dense = DenseIndRNN(1, 10, 16, [8, 6, 4], seq_len=784, gamma=5.0, batch_norm="after")
    assert count(residual) == 170_890 and count(dense) == 256_514
    units = [[m for m in net.modules() if isinstance(m, IndRNNUnit)] for net in (residual, dense)]
    assert [len(found) for found in units] == [11, 40]


def test_residual_block_is_the_equation():
    """x + W2 unit(W1 unit(x)), then the final unit."""
    net = ResidualIndRNN(M, K, N, 3, seq_len=T, gamma=2.0, init_std=0.5).double().eval()
    x = torch.randn(T, B, M, dtype=torch.double)
    z = net.input(x)
    first = net.linears[0](net.units[0](z)[0])
    z = z + net.linears[1](net.units[1](first)[0])
    torch.testing.assert_close(net.features(x)[0], net.units[2](z)[0])


def test_dense_layers_read_all_before_them():
    net = DenseIndRNN(M, K, 3, [2, 1], seq_len=T, gamma=2.0)
    assert [layer.weight_ih.shape for layer in net.bottlenecks] == [(12, 18), (12, 21), (12, 12)]
    assert [layer.weight_ih.shape for layer in net.transitions] == [(12, 24), (7, 15)]
    assert net.head.in_features == 7


def test_last_units_start_near_one():
    residual = ResidualIndRNN(M, K, 500, 3, seq_len=100, gamma=2.0)
    dense = DenseIndRNN(M, K, 30, [1, 1], seq_len=100, gamma=2.0)
    for last, before in ((residual.units[-1], residual.units[-2]), (dense.transitions[-1], dense.transitions[0])):
        assert last.u.min() > 0.99 and before.u.min() < 0.1


@pytest.mark.parametrize("num_layers", [1, 2, 4])
def test_residual_layers_come_in_pairs_and_one(num_layers):
    with pytest.raises(UserError, match="2 x blocks"):
        ResidualIndRNN(M, K, N, num_layers, seq_len=T, gamma=2.0)


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


@pytest.mark.parametrize("build", ALL.values(), ids=ALL)
def test_save_memory_changes_no_number(build):
    net, x, found = build(), torch.randn(T, B, M), []
    for net.save_memory in (False, True):
        torch.manual_seed(1)  # the same dropout
        y, _ = net.train()(x)
        found.append([y, *torch.autograd.grad(y.square().sum(), list(net.parameters()))])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


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
