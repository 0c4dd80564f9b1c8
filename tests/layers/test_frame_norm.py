"""Frame-wise batch norm: a plain loop over the steps says what it is. Shapes: T time, B batch, N neurons."""

import copy

import pytest
import torch
from torch.nn import functional as F

from indrnn.errors import UserError
from indrnn.layers import IndRNNLayer, IndRNNUnit
from indrnn.layers.norm_dropout import FrameBatchNorm, recompute_batch_norm
from indrnn.networks import PlainIndRNN

T, B, N = 7, 4, 3


@pytest.fixture(autouse=True)
def one_thread():
    """As in a run; two threads on a busy machine wait for each other."""
    torch.set_num_threads(1)


def norm(positions: int = 5) -> FrameBatchNorm:
    """With a scale, shift and statistics that are not those it starts with."""
    made = FrameBatchNorm(N, positions).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.uniform_(0.5, 2)
        made.running_mean.normal_()
        made.running_var.uniform_(0.5, 2)
    return made


def inputs(steps: int = T, columns: int = B) -> torch.Tensor:
    return (3 * torch.randn(steps, columns, N).double() + 2).requires_grad_()


def by_steps(made: FrameBatchNorm, x: torch.Tensor, valid: torch.Tensor) -> list[torch.Tensor]:
    """One step after the other, each with the columns that are there; of one alone the shift is left."""
    steps = [x[t][valid[t]] for t in range(len(x))]
    w, b = made.weight, made.bias
    return [F.batch_norm(s, None, None, w, b, training=True) if len(s) > 1 else b + 0 * s for s in steps]


VALID = {
    "all": torch.ones(T, B, dtype=torch.bool),
    "some": torch.arange(T)[:, None] < torch.tensor([T, 5, 2, 0]),
    "none at the end": torch.arange(T)[:, None] < torch.tensor([4, 5, 5, 0]),
}


@pytest.mark.parametrize("valid", [None, *VALID.values()], ids=["without a mask", *VALID])
def test_outputs_and_gradients_are_those_of_a_loop_over_the_steps(valid):
    made, x = norm().train(), inputs()
    there = VALID["all"] if valid is None else valid
    weights = torch.randn(T, B, N).double()
    leaves = [x, made.weight, made.bias]
    y = made(x, valid)
    ours = torch.autograd.grad((y * weights)[there].sum(), leaves)
    expected = by_steps(made, x, there)
    theirs = torch.autograd.grad((torch.cat(expected) * weights[there]).sum(), leaves)
    torch.testing.assert_close(y[there], torch.cat(expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    assert not ours[0][~there].any()


def test_what_is_not_there_does_not_count_whatever_it_is():
    made, x, valid = norm().train(), inputs().detach(), VALID["some"]
    expected = made(x, valid)[valid]
    assert torch.equal(made(torch.where(valid[..., None], x, torch.nan), valid)[valid], expected)
    assert not torch.allclose(made(x)[valid], expected)


def test_training_keeps_no_averages_and_saves_its_input_alone():
    made, x, saved = norm().train(), inputs(), []
    before = copy.deepcopy(dict(made.named_buffers()))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        made(x)
    assert [t.data_ptr() for t in saved if t.shape == x.shape] == [x.data_ptr()]
    assert all(torch.equal(value, before[name]) for name, value in made.named_buffers())


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("steps", [0, 1])
def test_no_step_and_one_step(steps, train):
    made, x = norm().train(train), inputs(steps)
    y = made(x)
    y.sum().backward()
    assert y.shape == (steps, B, N) and x.grad.shape == y.shape
    if train and steps:
        torch.testing.assert_close(y[0], by_steps(made, x, VALID["all"][:1])[0])
    if not steps:
        assert not made.weight.grad.any() and not made.bias.grad.any()


def test_one_column_is_evaluated_and_not_trained_on():
    made, x = norm().train(), inputs(columns=1)
    for valid in (None, VALID["all"][:, :1]):
        with pytest.raises(UserError, match="data.batch_size must be above 1"):
            made(x, valid)
    assert made.eval()(x).shape == x.shape


@pytest.mark.parametrize("start", [0, 3, 5, 100])
def test_evaluation_takes_the_statistics_of_each_position(start):
    made, x = norm(positions=5).eval(), inputs()
    y = made(x, start=start)
    for t in range(T):
        at = min(start + t, 5)
        statistics = made.running_mean[at], made.running_var[at]
        torch.testing.assert_close(y[t], F.batch_norm(x[t], *statistics, made.weight, made.bias))


def batches(steps: int = 10) -> list[torch.Tensor]:
    return [inputs(steps).detach() for _ in range(3)]


def test_recomputed_statistics_are_those_of_each_position():
    """Of a layer: 2 T = 6 positions, the steps after them share a mean; three batches, plain averages."""
    net, xs = PlainIndRNN(N, 2, 5, 1, 3, 2.0, batch_norm="before", frame_wise=True, init_std=0.5).double(), batches()
    net.train()(xs[0])
    recompute_batch_norm(net, xs)
    layer = net.layers[0]
    z = torch.stack([x @ layer.weight_ih.T + layer.bias for x in xs])
    for found, expected in ((layer.norm.running_mean, z.mean(2)), (layer.norm.running_var, z.var(2))):
        torch.testing.assert_close(found[:6], expected.mean(0)[:6])
        torch.testing.assert_close(found[6], expected[:, 6:].mean((0, 1)))
    assert layer.norm.num_batches_tracked.tolist() == [3] * 7 and layer.norm.momentum == 0.1 and not net.training


def test_recomputed_statistics_of_padded_batches_are_those_of_the_steps_that_are_there():
    net, xs = PlainIndRNN(N, 2, 5, 1, 3, 2.0, batch_norm="before", frame_wise=True, init_std=0.5).double(), batches()
    lengths = [torch.tensor([10, 9, 8, 8]), torch.tensor([10, 2, 2, 2]), torch.tensor([4, 3, 3, 0])]
    recompute_batch_norm(net, list(zip(xs, lengths, strict=True)))
    layer = net.layers[0]
    zs = [x @ layer.weight_ih.T + layer.bias for x in xs]
    for t in range(6):  # a step with one column has no variance and does not count
        there = [z[t][n > t] for z, n in zip(zs, lengths, strict=True) if (n > t).sum() > 1]
        torch.testing.assert_close(layer.norm.running_mean[t], torch.stack([z.mean(0) for z in there]).mean(0))
        torch.testing.assert_close(layer.norm.running_var[t], torch.stack([z.var(0) for z in there]).mean(0))
    assert layer.norm.num_batches_tracked.tolist() == [3, 3, 2, 1, 1, 1, 1]


@pytest.mark.parametrize("chunks", [[5, 5], [2, 1, 7], [6, 4], [1] * 6 + [4], [3, 0, 7]], ids=str)
def test_statistics_taken_in_chunks_are_those_of_one_long_pass(chunks):
    """No chunk but the last reaches the shared place, so that it is the same mean."""
    unit = IndRNNUnit(N, 1.0, (0.0, 1.0), batch_norm="before", positions=6).double().train()
    unit.norm.reset_running_stats()
    unit.norm.momentum, other = None, copy.deepcopy(unit)
    other.norm.momentum = None
    for x in batches():
        whole, end = unit(x)
        state, parts = None, []
        for part in x.split(chunks):
            y, state = other(part, state)
            parts.append(y)
        torch.testing.assert_close(torch.cat(parts), whole)
        assert state[1] == end[1] == 10
    for name, value in unit.norm.named_buffers():
        torch.testing.assert_close(other.norm.get_buffer(name), value)


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("chunks", [[3, 4], [1, 0, 6], [6, 1]], ids=str)
def test_evaluation_in_chunks_is_one_long_sequence(place, chunks):
    unit, x = IndRNNUnit(N, 1.0, (0.0, 1.0), batch_norm=place, positions=5).double().eval(), inputs()
    unit.norm = norm(positions=5).eval()
    whole, (last, steps) = unit(x)
    parts, state = [], None
    for part in x.split(chunks):
        y, state = unit(part, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts), whole)
    torch.testing.assert_close(state[0], last)
    assert state[1] == steps == T
    assert not torch.allclose(torch.cat([unit(part)[0] for part in x.split(chunks)]), whole), "positions play no part"


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("valid", [None, VALID["all"], VALID["some"]], ids=["without", "all", "some"])
def test_bfloat16_under_autocast_is_computed_in_float32(train, valid):
    made = norm().float().train(train)
    x = (20 + torch.randn(T, B, N)).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = made(x, valid)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, made(x.float(), valid), rtol=1e-5, atol=1e-5)
    y.square().sum().backward()
    assert x.grad.dtype == torch.bfloat16 and x.grad.isfinite().all() and made.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("lengths", [None, torch.tensor([T, T, 3, 1])], ids=["full", "padded"])
def test_a_layer_under_autocast_gives_float32(lengths):
    layer = IndRNNLayer(N, 5, 1.0, (0.0, 1.0), batch_norm="before", init_std=0.5, positions=4).train()
    x = torch.randn(T, B, N)
    with torch.autocast("cpu", torch.bfloat16):
        y, (last, steps) = layer(x, None, lengths)
    assert y.dtype == last.dtype == torch.float32 and steps == T
    torch.testing.assert_close(y, layer(x, None, lengths)[0], rtol=0.1, atol=0.1)
