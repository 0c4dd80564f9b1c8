"""The layer in few passes against the same layer taken apart, in float64: outputs, states, statistics, all gradients.

Shapes: T time, B batch, M input, N neurons.
"""

import pytest
import torch
from torch.library import opcheck
from torch.nn import functional as F

from indrnn.layers import IndRNNLayer, IndRNNUnit
from indrnn.layers.norm_dropout import recompute_batch_norm
from indrnn.networks import PlainIndRNN
from indrnn.recurrence import batch_normed, cpu_batch_normed, recurrence

TOLERANCE = {torch.float64: {"rtol": 1e-10, "atol": 1e-10}, torch.float32: {"rtol": 1e-4, "atol": 1e-4}}
EPS = 1e-5
M = 3
# T, B, N: two steps of one sequence, one step of two; odd; wider than one block of columns.
SIZES = [(2, 1, 4), (1, 2, 4), (7, 5, 3), (16, 4, 8), (3, 2, 4099)]
pytestmark = pytest.mark.skipif(
    not batch_normed.serves(torch.zeros(2, 1, 1), "relu", "auto"), reason="numba cannot compile here"
)


def sample(T, B, N, with_W: bool):
    """x, W, b, u, h0, weight, bias in float64; u negative and above one; then a dropout mask, and gradients of y, h."""
    torch.manual_seed(T + B + N)
    W, b = (torch.randn(N, M).double(), torch.randn(N).double()) if with_W else (None, None)
    x, h0, weight = torch.randn(T, B, M if with_W else N).double(), torch.rand(B, N).double(), torch.randn(N).double()
    inputs = [x, W, b, torch.linspace(-1.1, 1.1, N).double(), h0, weight, torch.randn(N).double()]
    scale = torch.empty(B, N).bernoulli_(0.7).double() / 0.7
    return inputs, scale, torch.randn(T, B, N).double(), torch.randn(T, B, N).double()


def taken_apart(x, W, b, u, h0, weight, bias, eps, scale):
    h = recurrence(x if W is None else F.linear(x, W, b), u, h0, backend="reference")
    mean, var = h.mean((0, 1)), h.var((0, 1), unbiased=False)
    return scale * (weight * (h - mean) / (var + eps).sqrt() + bias), h, mean, var


def run(function, inputs, scale, dy, dh, dtype=torch.float64):
    """y, h, mean, var, then the gradients of all inputs; ``dh`` None where nobody uses the states."""
    inputs = [None if a is None else a.detach().to(dtype).requires_grad_() for a in inputs]
    y, h, mean, var = function(*inputs, EPS, scale.to(dtype))
    outputs = [y] if dh is None else [y, h]
    given = [a for a in inputs if a is not None]
    gradients = torch.autograd.grad(outputs, given, [g.to(dtype) for g in (dy, dh) if g is not None])
    return [a.detach() for a in (y, h, mean, var)], gradients


@pytest.mark.parametrize("with_W", [True, False], ids=["layer", "unit"])
@pytest.mark.parametrize("T, B, N", SIZES)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("chunk", [1, 1 << 21], ids=["a step a chunk", "one chunk"])
def test_like_the_layer_taken_apart(monkeypatch, with_W, T, B, N, dtype, chunk):
    monkeypatch.setattr(cpu_batch_normed, "_STRETCH", chunk)
    inputs, scale, dy, dh = sample(T, B, N, with_W)
    for used in ((dy, None), (dy, dh)):
        for ours, exact in zip(run(batch_normed.normed_recurrence, inputs, scale, *used, dtype),
                               run(taken_apart, inputs, scale, *used), strict=True):  # fmt: skip
            for a, b in zip(ours, exact, strict=True):
                size = b.abs().max().clamp(min=1)
                torch.testing.assert_close(a.double() / size, b / size, **TOLERANCE[dtype])


def test_states_alone_have_gradients_too():
    inputs, scale, _, dh = sample(7, 5, 3, True)
    inputs = [a.requires_grad_() for a in inputs]
    found = [
        torch.autograd.grad(f(*inputs, EPS, scale)[1], inputs[:5], dh)
        for f in (batch_normed.normed_recurrence, taken_apart)
    ]
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE[torch.float64])


def alone(x, W, b, u, h0):
    return recurrence(F.linear(x, W, b), u, h0, backend="reference")


@pytest.mark.parametrize("T, B, N", SIZES)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("chunk", [1, 1 << 21], ids=["a step a chunk", "one chunk"])
def test_a_layer_without_batch_norm(monkeypatch, T, B, N, dtype, chunk):
    monkeypatch.setattr(cpu_batch_normed, "_STRETCH", chunk)
    inputs, _, _, dh = sample(T, B, N, True)
    found = []
    for function, kind in ((batch_normed.layer, dtype), (alone, torch.float64)):
        given = [a.detach().to(kind).requires_grad_() for a in inputs[:5]]
        h = function(*given)
        found.append([h.detach(), *torch.autograd.grad(h, given, dh.to(kind))])
    for a, b in zip(*found, strict=True):
        size = b.abs().max().clamp(min=1)
        torch.testing.assert_close(a.double() / size, b / size, **TOLERANCE[dtype])


def test_second_derivatives_without_batch_norm():
    found = []
    for function in (batch_normed.layer, alone):
        inputs, _, _, dh = sample(6, 3, 4, True)
        given = [a.requires_grad_() for a in inputs[:5]]
        h = function(*given)
        first = torch.autograd.grad((h * dh).sum() + h.square().sum(), given, create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() for g in first), given))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE[torch.float64])


def test_without_batch_norm_it_is_a_good_custom_operator():
    x, W, b, u, h0, _, _ = (a.requires_grad_() for a in sample(5, 2, 3, True)[0])
    opcheck(torch.ops.indrnn.normed_recurrence.default, (x, W, b, u, h0, None, None, 0.0, torch.ones(2, 3).double()))


def test_the_layer_without_batch_norm_goes_this_way_and_comes_to_the_same(monkeypatch):
    layer = IndRNNLayer(M, 4, 1.0, (0.0, 1.0), init_std=1.0, dropout=0.5).double().eval()
    x, h0, calls = torch.randn(6, 5, M).double(), torch.rand(5, 4).double(), []
    original = batch_normed.layer
    monkeypatch.setattr(batch_normed, "layer", lambda *arguments: calls.append(1) or original(*arguments))
    y, last = layer(x, h0)
    monkeypatch.setattr(batch_normed, "serves", lambda *arguments: False)
    expected, end = layer(x, h0)
    assert calls == [1]
    torch.testing.assert_close((y, last), (expected, end))


@pytest.mark.parametrize("with_W", [True, False], ids=["layer", "unit"])
def test_second_derivatives(with_W):
    """Gradients of a function of all first gradients, against those of the layer taken apart."""
    found = []
    for function in (batch_normed.normed_recurrence, taken_apart):
        inputs, scale, dy, _ = sample(6, 3, 4, with_W)
        given = [a.requires_grad_() for a in inputs if a is not None]
        dy.requires_grad_()
        y, h, _, _ = function(*inputs, EPS, scale)
        first = torch.autograd.grad((y * dy).sum() + y.square().sum() + h.square().sum(), given, create_graph=True)
        found.append(torch.autograd.grad(sum(g.square().sum() for g in first), [*given, dy]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE[torch.float64])


@pytest.mark.parametrize("with_W", [True, False], ids=["layer", "unit"])
def test_is_a_good_custom_operator(with_W):
    inputs, scale, _, _ = sample(5, 2, 3, with_W)
    inputs = [None if a is None else a.requires_grad_() for a in inputs]
    opcheck(torch.ops.indrnn.normed_recurrence.default, (*inputs, EPS, scale))


def test_compiles_without_a_break():
    layer = IndRNNLayer(M, 4, 1.0, (0.0, 1.0), batch_norm="after", dropout=0.0).train()
    x = torch.randn(6, 2, M)
    compiled = torch.compile(lambda x: layer(x)[0], fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x)[0])


def test_same_bits_whatever_the_threads_and_every_time():
    inputs, scale, dy, _ = sample(64, 8, 301, True)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            found.append(run(batch_normed.normed_recurrence, inputs[:], scale, dy, None, torch.float32))
    finally:
        torch.set_num_threads(before)
    for outputs, gradients in found[1:]:
        for a, b in zip(
            (*outputs, gradients[3], gradients[5]), (*found[0][0], found[0][1][3], found[0][1][5]), strict=True
        ):
            assert torch.equal(a, b)


@pytest.mark.parametrize("kind", ["layer", "unit"])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_are_those_of_batch_norm(monkeypatch, kind, momentum):
    def made():
        torch.manual_seed(1)
        if kind == "layer":
            return IndRNNLayer(M, 4, 1.0, (0.0, 1.0), batch_norm="after", init_std=1.0, dropout=0.3).double().train()
        return IndRNNUnit(M, 1.0, (0.0, 1.0), batch_norm="after", dropout=0.3).double().train()

    ours, apart = made(), made()
    for module in (ours, apart):
        module.norm.momentum = momentum
    for step in range(3):
        x = torch.randn(6, 5, M).double()
        torch.manual_seed(step)
        y, last = ours(x)
        with monkeypatch.context() as patch:
            patch.setattr(batch_normed, "serves", lambda *arguments: False)
            torch.manual_seed(step)
            expected, end = apart(x)
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(last, end)
    for name, value in apart.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)


def test_recalibration_goes_this_way_and_comes_to_the_same(monkeypatch):
    x = [torch.randn(6, 4, M).double() for _ in range(3)]
    nets = []
    for fused in (True, False):
        torch.manual_seed(0)
        net = PlainIndRNN(M, 2, 4, 2, seq_len=6, gamma=2.0, batch_norm="after", dropout=0.5).double()
        with monkeypatch.context() as patch:
            if not fused:
                patch.setattr(batch_normed, "serves", lambda *arguments: False)
            recompute_batch_norm(net, x)
        nets.append(net)
    for a, b in zip(nets[0].buffers(), nets[1].buffers(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    "x, activation, backend",
    [
        (torch.zeros(1, 1, 3), "relu", "auto"),  # no variance: batch norm itself has to refuse
        (torch.zeros(0, 2, 3), "relu", "auto"),
        (torch.zeros(4, 2, 3), "tanh", "auto"),
        (torch.zeros(4, 2, 3), "relu", "reference"),
        (torch.zeros(4, 2, 3, dtype=torch.bfloat16), "relu", "auto"),
        (torch.zeros(4, 2, 3, device="meta"), "relu", "auto"),
    ],
)
def test_what_it_does_not_serve(x, activation, backend):
    assert not batch_normed.serves(x, activation, backend)
    assert batch_normed.serves(torch.zeros(4, 2, 3), "relu", "cpu")


def test_not_a_number_stays_one():
    inputs, scale, _, _ = sample(5, 2, 3, False)
    inputs[0][2, 1, 0] = float("nan")
    y, h, mean, var = batch_normed.normed_recurrence(*inputs, EPS, scale)
    assert h[2:, 1, 0].isnan().all() and mean[0].isnan() and not mean[1:].isnan().any() and not h[:2].isnan().any()


@pytest.mark.parametrize("batch_norm", [None, "after"])
@pytest.mark.parametrize(
    "x, h0, words",
    [
        (
            torch.zeros(4, 2, M),
            torch.zeros(3, 4),
            r"h0: expected a tensor of shape \(B, N\) = \(2, 4\), got shape \(3, 4\)",
        ),
        (torch.zeros(4, 2, M), torch.zeros(2, 4).double(), "h0: expected torch.float32 like x, got torch.float64"),
        (torch.zeros(4, M), None, "x: expected a tensor of shape"),
    ],
)
def test_what_does_not_fit_is_told_as_by_the_recurrence(batch_norm, x, h0, words):
    layer = IndRNNLayer(M, 4, 1.0, (0.0, 1.0), batch_norm=batch_norm).train()
    with pytest.raises(ValueError, match=words):
        layer(x, h0)
