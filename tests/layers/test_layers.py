"""Layers: equations, initial ranges, bound, batch norm, dropout. Shapes: T time, B batch, M input, N neurons."""

import pytest
import torch
from torch.nn import functional as F

from indrnn.errors import UserError
from indrnn.layers import IndRNNLayer, IndRNNUnit, bound_of
from indrnn.layers.norm_dropout import SharedMaskDropout, recompute_batch_norm
from indrnn.networks import PlainIndRNN

T, B, M, N = 7, 3, 4, 5


def layer(**changes) -> IndRNNLayer:
    arguments = {"input_size": M, "hidden_size": N, "bound": 1.1, "u_range": (0.0, 1.1), "init_std": 0.5} | changes
    return IndRNNLayer(**arguments).double()


@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
def test_equation_2_step_by_step(activation):
    net = layer(activation=activation)
    torch.nn.init.normal_(net.bias)
    x, h = torch.randn(T, B, M, dtype=torch.double), torch.randn(B, N, dtype=torch.double)
    y, last = net(x, h)
    sigma = {"relu": torch.relu, "tanh": torch.tanh, "identity": lambda z: z}[activation]
    for t in range(T):
        h = sigma(x[t] @ net.weight_ih.T + net.u * h + net.bias)
        torch.testing.assert_close(y[t], h)
    torch.testing.assert_close(last, h)


def test_state_carried_over_a_cut_gives_the_same_outputs():
    net = layer()
    x = torch.randn(T, B, M, dtype=torch.double)
    whole, last = net(x)
    first, state = net(x[:3])
    second, end = net(x[3:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(end, last)


@pytest.mark.parametrize("place", [None, "before", "after"])
@pytest.mark.parametrize("k", [2, 3, 9])
def test_convolution_is_the_equation(k, place):
    """torch's own convolution, with k-1 zeros before the start; its kernel runs against the lag j."""
    net = layer(kernel_size=k, batch_norm=place).train()
    torch.nn.init.normal_(net.bias)
    lags = net.weight_ih.view(N, k, M)  # W_j is lags[:, j]
    x, h0 = torch.randn(T, B, M, dtype=torch.double), torch.randn(B, N, dtype=torch.double)
    signal = F.pad(x.permute(1, 2, 0), (k - 1, 0))
    z = F.conv1d(signal, lags.permute(0, 2, 1).flip(2), net.bias).permute(2, 0, 1)
    unit = IndRNNUnit(N, 1.1, (0.0, 1.1), batch_norm=place).double()
    unit.u = net.u
    expected, last = unit(z, h0)
    y, (h, tail) = net(x, (h0, x.new_zeros(k - 1, B, M)))
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(h, last)
    assert torch.equal(tail, signal.permute(2, 0, 1)[T:])


@pytest.mark.parametrize("cuts", [[1, 1, 5], [0, 2, 5], [6, 1]], ids=str)
def test_convolution_goes_on_over_cuts_shorter_than_its_kernel(cuts):
    net = layer(kernel_size=4)
    x = torch.randn(T, B, M, dtype=torch.double)
    parts, state = [], None
    for part in x.split(cuts):
        y, state = net(part, state)
        parts.append(y)
    whole, end = net(x)
    torch.testing.assert_close(torch.cat(parts), whole)
    torch.testing.assert_close(state, end)


def test_convolution_of_one_step_is_the_layer_and_its_state_a_tensor():
    net = layer(kernel_size=1)
    assert net.weight_ih.shape == (N, M) and net(torch.zeros(T, B, M).double())[1].shape == (B, N)


@pytest.mark.parametrize("state", [torch.zeros(B, N), (torch.zeros(B, N), torch.zeros(3, B, M))], ids=["h", "tail"])
def test_convolution_needs_a_pair_as_its_state(state):
    with pytest.raises(UserError, match=r"a state is \(h, the last inputs of shape \(2, 3, 4\)\)"):
        layer(kernel_size=3)(torch.zeros(T, B, M).double(), state)


@pytest.mark.parametrize("size", [0, 1.5])
def test_kernel_size_must_be_positive(size):
    with pytest.raises(UserError, match="kernel_size must be"):
        layer(kernel_size=size)


def test_without_a_bias():
    net, other = layer(bias=False, batch_norm="after").train(), layer(batch_norm="after").train()
    other.load_state_dict(net.state_dict() | {"bias": torch.zeros(N)})
    x = torch.randn(T, B, M, dtype=torch.double)
    assert "bias" not in net.state_dict() and torch.equal(net(x)[0], other(x)[0])


def test_no_steps_return_the_state():
    net, h0 = layer(), torch.rand(B, N, dtype=torch.double)
    y, last = net(torch.zeros(0, B, M, dtype=torch.double), h0)
    assert y.shape == (0, B, N) and torch.equal(last, h0)
    assert torch.equal(net(torch.zeros(0, B, M, dtype=torch.double))[1], torch.zeros_like(h0))


@pytest.mark.parametrize("gamma, seq_len, expected", [(5, 784, 1.002055), (2, 784, 1.000885), (2, 5000, 1.000139)])
def test_bound_is_the_papers(gamma, seq_len, expected):
    assert bound_of(gamma, seq_len) == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize("gamma", [0, -1.0, float("nan")])
def test_gamma_must_be_positive(gamma):
    with pytest.raises(UserError, match="gamma must be above 0"):
        bound_of(gamma, 10)


def test_constrain_clips_both_sides_and_nothing_else():
    net = layer()
    with torch.no_grad():
        net.u[:] = torch.tensor([-2.0, -1.0, 0.0, 1.05, 3.0])
    before = net.weight_ih.clone()
    net.constrain_()
    torch.testing.assert_close(net.u, torch.tensor([-1.1, -1.0, 0.0, 1.05, 1.1], dtype=torch.double))
    assert torch.equal(net.weight_ih, before)


def test_each_layers_initial_range():
    """The authors' own code asks for the last layer's range and silently does not get it."""
    net = PlainIndRNN(1, 10, 1000, 3, seq_len=784, gamma=5.0)
    bound, low = 1.002055, 0.997949
    for hidden in net.layers[:-1]:
        assert 0 <= hidden.u.min() < 0.01 and 0.99 < hidden.u.max() <= bound
    assert low - 1e-6 <= net.layers[-1].u.min() < low + 1e-4
    assert bound - 1e-4 < net.layers[-1].u.max() <= bound
    kaiming = (6 / (65 * 1000)) ** 0.5
    assert 0.99 * kaiming < net.layers[1].weight_ih.abs().max() <= kaiming
    assert all(not hidden.bias.any() for hidden in net.layers)


def test_last_layer_range_can_be_switched_off():
    net = PlainIndRNN(1, 10, 1000, 2, seq_len=784, gamma=5.0, last_layer_near_one=False)
    assert net.layers[-1].u.min() < 0.01


def test_adding_weights_are_normal_with_the_given_deviation():
    net = PlainIndRNN(100, 1, 1000, 2, seq_len=100, gamma=2.0, init_std=0.001)
    assert net.layers[0].weight_ih.std().item() == pytest.approx(0.001, rel=0.02)


@pytest.mark.parametrize("place", ["before", "after"])
def test_batch_norm_place(place):
    unit = IndRNNUnit(N, 1.0, (0.0, 1.0), batch_norm=place).double().train()
    z = torch.randn(T, B, N, dtype=torch.double)
    y, last = unit(z)
    flat = lambda a: (a - a.mean((0, 1))) / (a.var((0, 1), unbiased=False) + 1e-5).sqrt()  # noqa: E731
    h, out = torch.zeros(B, N, dtype=torch.double), []
    for step in flat(z) if place == "before" else z:
        h = torch.relu(step + unit.u * h)
        out.append(h)
    out = torch.stack(out)
    torch.testing.assert_close(y, flat(out) if place == "after" else out)
    torch.testing.assert_close(last, h)


def test_batch_norm_place_must_be_known():
    with pytest.raises(UserError, match="batch_norm must be one of"):
        IndRNNUnit(N, 1.0, (0.0, 1.0), batch_norm="between")


def test_dropout_shares_its_mask_over_time_and_keeps_the_mean():
    drop = SharedMaskDropout(0.25).train()
    y = drop(torch.ones(T, 100, 100))
    assert torch.equal(y, y[:1].expand_as(y))
    torch.testing.assert_close(y.unique(), torch.tensor([0, 4 / 3]))
    assert y.mean().item() == pytest.approx(1, abs=0.03)
    x = torch.randn(T, B, N)
    assert torch.equal(drop.eval()(x), x)


@pytest.mark.parametrize("p", [-0.1, 1.0, 2])
def test_dropout_is_a_probability(p):
    with pytest.raises(UserError, match="dropout must be"):
        SharedMaskDropout(p)


def test_recomputed_statistics_are_those_of_the_inputs_without_dropout():
    net = PlainIndRNN(M, 2, N, 1, seq_len=T, gamma=2.0, batch_norm="after", dropout=0.5).double().train()
    inputs = [torch.randn(T, B, M, dtype=torch.double) for _ in range(4)]
    for x in inputs:
        net(3 * x)  # training moves the running statistics somewhere else
    recompute_batch_norm(net, inputs)
    norm = net.layers[0].norm
    assert not net.training
    states = [indrnn_states(net.layers[0], x) for x in inputs]
    torch.testing.assert_close(norm.running_mean, torch.stack([s.mean((0, 1)) for s in states]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([s.var((0, 1)) for s in states]).mean(0))
    assert norm.momentum == 0.1


def indrnn_states(net: IndRNNLayer, x: torch.Tensor) -> torch.Tensor:
    h, out = torch.zeros(x.shape[1], N, dtype=x.dtype), []
    for step in x:
        h = torch.relu(step @ net.weight_ih.T + net.bias + net.u * h)
        out.append(h)
    return torch.stack(out)
