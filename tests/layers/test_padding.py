"""What the padding holds changes nothing. Shapes: T time, B batch, M input, N neurons, K outputs."""

import copy

import pytest
import torch
from test_networks import ALL, K, M, T
from torch.nn import functional as F

from indrnn import networks
from indrnn.errors import UserError
from indrnn.layers import IndRNNLayer, IndRNNUnit
from indrnn.layers.norm_dropout import recompute_batch_norm
from indrnn.layers.padding import reverse, valid_steps
from indrnn.networks import PlainIndRNN, ResidualIndRNN
from indrnn.networks.dense import DenseIndRNN

LENGTHS = [4, T, 1, 0]
NAMES = {"plain": "after", "plain before": "before", "residual": "after", "dense": "after", "dense before": "before"}
TORCHS = ("rnn_tanh", "irnn", "lstm", "gru")


def padded(sequences, filling=float("nan")):
    """(T_i, M) each -> (T, B, M)."""
    return torch.stack([F.pad(s, (0, 0, 0, T - len(s)), value=filling) for s in sequences], dim=1)


def sequences(lengths, width=M):
    return [torch.randn(n, width).double() for n in lengths]


def weights(lengths):
    """What the outputs are summed with, so that no two steps have the same gradient."""
    return [torch.randn(n, K).double() for n in lengths]


def flat(state):
    """The tensors of a state, whatever it is made of, with B at the last dimension but one."""
    return [state] if isinstance(state, torch.Tensor) else [a for part in state for a in flat(part)]


@pytest.mark.parametrize("filling", [float("nan"), float("inf"), 1e30], ids=str)
@pytest.mark.parametrize("name", ALL)
def test_outputs_states_and_gradients_are_those_of_each_sequence_alone(name, filling):
    """In eval mode; the same network reads the padded batch, and every sequence as a batch of its own."""
    net = ALL[name]().double().eval()
    lengths = LENGTHS[:3] if name in TORCHS else LENGTHS
    xs, ws = sequences(lengths), weights(lengths)
    alone = copy.deepcopy(net)

    x = padded(xs, filling).requires_grad_()
    y, state = net(x, lengths=torch.tensor(lengths))
    (y * padded(ws, 3.0)).sum().backward()

    for b, (s, w) in enumerate(zip(xs, ws, strict=True)):
        s.requires_grad_()
        expected, end = alone(s[:, None])
        (expected[:, 0] * w).sum().backward()
        torch.testing.assert_close(y[: len(s), b], expected[:, 0])
        assert not y[len(s) :, b].any() and not x.grad[len(s) :, b].any()
        torch.testing.assert_close(x.grad[: len(s), b], s.grad)
        for ours, theirs in zip(flat(state), flat(end), strict=True):
            torch.testing.assert_close(ours[..., b, :], theirs[..., 0, :])
    for (key, p), q in zip(net.named_parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, msg=key)


@pytest.mark.parametrize("name", ["plain-3", "residual-5", "dense", "convolution", "lstm"])
def test_a_state_is_taken_up_and_comes_back_where_nothing_follows(name):
    """A padded batch in two chunks ends where one chunk ends; a sequence that is over keeps its state."""
    net = ALL[name]().double().eval()
    lengths = torch.tensor([7, T, 6] if name in TORCHS else [7, T, 3])
    x = padded(sequences(lengths.tolist()))
    whole, end = net(x, lengths=lengths)
    first, state = net(x[:5], lengths=lengths.clamp(max=5))
    second, last = net(x[5:], state, lengths=(lengths - 5).clamp(min=0))
    torch.testing.assert_close(torch.cat([first, second]), whole)
    for ours, theirs in zip(flat(last), flat(end), strict=True):
        torch.testing.assert_close(ours, theirs)


def hand_norm(norm, sequences):
    """Batch norm over the steps that there are, in training; moves the running statistics as torch says it does."""
    if norm is None:
        return sequences
    entries = torch.cat(sequences)
    mean, var = entries.mean(0), entries.var(0, unbiased=False)
    with torch.no_grad():
        norm.running_mean.mul_(0.9).add_(0.1 * mean)
        norm.running_var.mul_(0.9).add_(0.1 * entries.var(0, unbiased=True))
    norm.num_batches_tracked += 1
    return [norm.weight * (s - mean) / (var + norm.eps).sqrt() + norm.bias for s in sequences]


def hand_unit(unit, zs):
    """A unit or layer by Eq. (2), sequence by sequence and step by step."""
    if isinstance(unit, IndRNNLayer):
        zs = [z @ unit.weight_ih.T + unit.bias for z in zs]
    if unit.batch_norm == "before":
        zs = hand_norm(unit.norm, zs)
    states = []
    for z in zs:
        h, steps = torch.zeros_like(unit.u), [torch.zeros(0, len(unit.u)).double()]
        for step in z:
            h = torch.relu(step + unit.u * h)
            steps.append(h[None])
        states.append(torch.cat(steps))
    return hand_norm(unit.norm, states) if unit.batch_norm == "after" else states


def hand_network(net, xs):
    if isinstance(net, PlainIndRNN):
        for layer in net.layers:
            xs = hand_unit(layer, xs)
    elif isinstance(net, ResidualIndRNN):
        units = iter(net.units)
        xs = [net.input(x) for x in xs]
        for first, second in zip(net.linears[::2], net.linears[1::2], strict=True):
            new = [first(h) for h in hand_unit(next(units), xs)]
            new = [second(h) for h in hand_unit(next(units), new)]
            xs = [x + z for x, z in zip(xs, new, strict=True)]
        xs = hand_unit(next(units), xs)
    else:
        xs, pairs = hand_unit(net.first, xs), zip(net.bottlenecks, net.denses, strict=True)
        for layers, transition in zip(net.blocks, net.transitions, strict=True):
            for _ in range(layers):
                bottleneck, dense = next(pairs)
                new = hand_unit(dense, hand_unit(bottleneck, xs))
                xs = [torch.cat([x, z], dim=1) for x, z in zip(xs, new, strict=True)]
            xs = hand_unit(transition, xs)
    return [net.head(x) for x in xs]


@pytest.mark.parametrize("name", NAMES)
def test_batch_norm_in_training_takes_valid_entries_only(name):
    options = {"seq_len": T, "gamma": 2.0, "batch_norm": NAMES[name], "init_std": 0.5}
    net = {
        "plain": lambda: PlainIndRNN(M, K, 5, 2, **options),
        "residual": lambda: ResidualIndRNN(M, K, 5, 3, **options),
        "dense": lambda: DenseIndRNN(M, K, 2, [2, 1], **options),
    }[name.split()[0]]()
    net.double().train()
    hand = copy.deepcopy(net)
    xs, ws = sequences(LENGTHS), weights(LENGTHS)
    x = padded(xs).requires_grad_()
    y, _ = net(x, lengths=torch.tensor(LENGTHS))
    (y * padded(ws, 3.0)).sum().backward()

    xs = [s.requires_grad_() for s in xs]
    expected = hand_network(hand, xs)
    sum((e * w).sum() for e, w in zip(expected, ws, strict=True)).backward()
    for b, (e, s) in enumerate(zip(expected, xs, strict=True)):
        torch.testing.assert_close(y[: len(s), b], e)
        assert not y[len(s) :, b].any() and not x.grad[len(s) :, b].any()
        if len(s):
            torch.testing.assert_close(x.grad[: len(s), b], s.grad)
    for (key, p), q in zip(net.named_parameters(), hand.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, msg=key)
    for key, value in hand.state_dict().items():
        torch.testing.assert_close(net.state_dict()[key], value, msg=key)


@pytest.mark.parametrize("name", ALL)
def test_full_lengths_are_as_no_lengths(name):
    net = ALL[name]().double().train()
    for dropout in net.modules():
        if hasattr(dropout, "p"):
            dropout.p = 0.0
    x, other = torch.randn(T, 3, M).double(), copy.deepcopy(net)
    y, state = net(x)
    expected, end = other(x, lengths=torch.full((3,), T))
    torch.testing.assert_close(y, expected)
    for ours, theirs in zip(flat(state), flat(end), strict=True):
        torch.testing.assert_close(ours, theirs)
    for key, value in other.state_dict().items():
        torch.testing.assert_close(net.state_dict()[key], value, msg=key)


def test_a_relu_cannot_overflow_in_the_padding():
    """3^999 is no float32; what grew there would come back into the gradient of u as 0 x inf."""
    unit = IndRNNUnit(1, 3.0, (3.0, 3.0))
    y, last = unit(torch.ones(1000, 1, 1), lengths=torch.tensor([2]))
    (y.sum() + last.sum()).backward()
    assert y.flatten()[:3].tolist() == [1, 4, 0] and last.item() == 4 and unit.u.grad.item() == 2


def test_statistics_are_recomputed_from_valid_steps():
    net = PlainIndRNN(M, K, 5, 1, seq_len=T, gamma=2.0, batch_norm="before", init_std=0.5).double()
    batches = [(sequences(lengths), torch.tensor(lengths)) for lengths in ([4, 9, 1], [2, 2, 8])]
    recompute_batch_norm(net, [(padded(xs), lengths) for xs, lengths in batches])
    layer = net.layers[0]
    means = [(torch.cat(xs) @ layer.weight_ih.T + layer.bias).mean(0) for xs, _ in batches]
    torch.testing.assert_close(layer.norm.running_mean, torch.stack(means).mean(0))


def test_reverse_stays_within_the_length():
    x = torch.arange(5.0)[:, None, None].expand(5, 3, 1)
    ours = reverse(x, torch.tensor([3, 5, 0], dtype=torch.uint8))
    assert ours[..., 0].T.tolist() == [[2, 1, 0, 3, 4], [4, 3, 2, 1, 0], [0, 1, 2, 3, 4]]
    assert torch.equal(reverse(ours, torch.tensor([3, 5, 0])), x) and torch.equal(reverse(x), x.flip(0))


@pytest.mark.parametrize(
    "lengths, words",
    [
        ([3, 2], r"whole numbers of shape \(B,\) = \(2,\), not \[3, 2\]"),
        (torch.tensor([3]), r"shape \(B,\) = \(2,\), not torch.int64 \(1,\)"),
        (torch.tensor([[3, 2]]), r"not torch.int64 \(1, 2\)"),
        (torch.tensor([3.0, 2.0]), "whole numbers .* not torch.float32"),
        (torch.tensor([True, True]), "whole numbers .* not torch.bool"),
        (torch.tensor([3, -1]), "between 0 and T = 4, not between -1 and 3"),
        (torch.tensor([5, 2]), "between 0 and T = 4, not between 2 and 5"),
        (torch.tensor([3, 2], device="meta"), "must be on cpu like the input, not .* on meta"),
    ],
    ids=str,
)
def test_lengths_that_do_not_fit_are_named(lengths, words):
    with pytest.raises(UserError, match=words):
        valid_steps(lengths, torch.zeros(4, 2, M))
    with pytest.raises(UserError, match=words):
        IndRNNUnit(M, 1.0, (0.0, 1.0))(torch.zeros(4, 2, M), lengths=lengths)


def test_torchs_own_networks_take_no_empty_sequence():
    with pytest.raises(UserError, match="no sequence of length 0"):
        networks.lstm(M, K, 5, 1)(torch.zeros(4, 2, M), lengths=torch.tensor([3, 0]))


def test_one_valid_entry_has_no_variance():
    layer = IndRNNLayer(M, 5, 1.0, (0.0, 1.0), batch_norm="before").train()
    with pytest.raises(ValueError, match="more than 1 value"):
        layer(torch.zeros(4, 2, M), lengths=torch.tensor([1, 0]))
