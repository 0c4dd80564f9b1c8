"""IndRNN in the place of nn.LSTM. Shapes: T time, B batch, M input, N neurons, D directions, L layers."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

from indrnn import IndRNN
from indrnn.errors import UserError

T, B, M, N, L = 7, 4, 3, 5, 2
LENGTHS = [4, T, 1, 4]  # with a tie, whose order a PackedSequence must keep


def double(*size):
    return torch.randn(*size, dtype=torch.double)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("shape", [(T, B, M), (1, 1, M), (T, M)], ids=str)
def test_shapes_are_those_of_torch(shape, batch_first, bidirectional):
    arguments = (M, N, L, False, batch_first, 0.1, bidirectional)
    x = torch.randn(shape)
    expected, (h_n, _) = nn.LSTM(*arguments)(x)
    ours, h = IndRNN(*arguments)(x)
    assert ours.shape == expected.shape and h.shape == h_n.shape
    again, _ = IndRNN(*arguments)(x, h)
    assert again.shape == expected.shape


def test_equation_2_in_both_directions_and_the_order_of_states():
    rnn, x, hx = IndRNN(M, N, L, bidirectional=True).double(), double(T, B, M), double(2 * L, B, N)
    y, h_n = rnn(x, hx)
    z, ends = x, []
    for i in range(L):
        outputs = []
        for layer, steps in ((rnn.layers[i], range(T)), (rnn.layers_reverse[i], range(T - 1, -1, -1))):
            h, found = hx[len(ends)], {}
            for t in steps:
                h = found[t] = torch.relu(z[t] @ layer.weight_ih.T + layer.bias + layer.u * h)
            outputs.append(torch.stack([found[t] for t in range(T)]))
            ends.append(h)
        z = torch.cat(outputs, dim=2)
    torch.testing.assert_close(y, z)
    torch.testing.assert_close(h_n, torch.stack(ends))


def test_a_state_is_taken_up():
    rnn, x = IndRNN(M, N, L, batch_first=True).double(), double(B, T, M)
    whole, end = rnn(x)
    first, state = rnn(x[:, :3])
    second, last = rnn(x[:, 3:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(last, end)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("in_order", [False, True], ids=["any order", "longest first"])
def test_packed_sequences_are_each_alone(in_order, bidirectional):
    lengths = sorted(LENGTHS, reverse=True) if in_order else LENGTHS
    rnn = IndRNN(M, N, L, bidirectional=bidirectional, batch_first=True).double()
    xs, hx = [double(n, M) for n in lengths], double(L * (1 + bidirectional), B, N)
    packed = pack_sequence(xs, enforce_sorted=in_order)
    y, h_n = rnn(packed, hx)
    for ours, given in zip(y[1:], packed[1:], strict=True):  # batch sizes, and the order to and fro
        assert torch.equal(ours, given) if given is not None else ours is None
    y, found = pad_packed_sequence(y, batch_first=True)
    assert found.tolist() == lengths
    for b, x in enumerate(xs):
        expected, end = rnn(x, hx[:, b])
        torch.testing.assert_close(y[b, : len(x)], expected)
        torch.testing.assert_close(h_n[:, b], end)


def test_lengths_beside_a_batch_are_a_packed_sequence():
    rnn = IndRNN(M, N, L, bidirectional=True, batch_norm="after").double().train()
    x, lengths, other = double(T, B, M), torch.tensor(LENGTHS), copy.deepcopy(rnn)
    packed, end = other(pack_padded_sequence(x, lengths, enforce_sorted=False))
    for b, n in enumerate(LENGTHS):
        x[n:, b] = float("nan")
    y, h_n = rnn(x, lengths=lengths)
    torch.testing.assert_close(y, pad_packed_sequence(packed)[0])
    torch.testing.assert_close(h_n, end)
    for key, value in other.state_dict().items():
        torch.testing.assert_close(rnn.state_dict()[key], value)


# The bound


@pytest.mark.parametrize("options, bound", [({}, 1), ({"seq_len": 10, "gamma": 5}, 5**0.1), ({"bound": 0.9}, 0.9)])
def test_bound_and_initial_range(options, bound):
    rnn = IndRNN(M, 500, L, **options)
    assert rnn.bound == pytest.approx(bound)
    assert all(0 <= layer.u.min() < 0.01 and 0.99 < layer.u.max() / bound <= 1 for layer in rnn.layers)
    near_one = IndRNN(M, 500, L, last_layer_near_one=True, **options)
    assert near_one.layers[0].u.min() < 0.01 and near_one.layers[1].u.min() >= min(bound, 1 / bound) - 1e-6


@pytest.mark.parametrize("training", [True, False])
def test_no_forward_reads_u_outside_its_bound(training):
    """The only thing that a user of nn.LSTM calls is optimizer.step()."""
    rnn = IndRNN(M, N, L, bidirectional=True, bound=0.9).double().train(training)
    optimizer, x = torch.optim.SGD(rnn.parameters(), lr=1e3), double(T, B, M)
    for _ in range(3):
        optimizer.zero_grad()
        rnn(x)[0].square().sum().backward()
        for layer in (*rnn.layers, *rnn.layers_reverse):  # one step of u alone, away from 0
            layer.weight_ih.grad, layer.bias.grad, layer.u.grad = None, None, -layer.u.detach().sign()
        optimizer.step()
        assert rnn.layers[0].u.abs().max() > 100
        clipped = copy.deepcopy(rnn)
        for layer in (*clipped.layers, *clipped.layers_reverse):
            layer.constrain_()
        before = copy.deepcopy(rnn.state_dict())
        torch.testing.assert_close(rnn(x), clipped(x))
        after = (clipped if training else rnn).state_dict()
        for key, value in rnn.state_dict().items():  # training goes on from the bound; else nothing is written
            assert torch.equal(value, after[key]) and (training or torch.equal(value, before[key]))


def test_u_comes_back_from_outside():
    rnn = IndRNN(1, 1, bound=1.0)
    nn.init.constant_(rnn.layers[0].u, 7.0)
    optimizer = torch.optim.SGD([rnn.layers[0].u], lr=1e-3)
    rnn(torch.ones(5, 1, 1))[1].sum().backward()
    optimizer.step()
    assert 0 < rnn.layers[0].u.item() < 1


def test_two_forwards_before_one_backward():
    rnn, x = IndRNN(M, N, L, batch_norm="after").train(), torch.randn(T, B, M)
    (rnn(x)[0].sum() + rnn(2 * x)[0].square().sum()).backward()
    assert all(p.grad is not None for p in rnn.parameters())


# What is kept, copied, converted, exported

KEYS = {
    "layers.0.u": (5,),
    "layers.0.weight_ih": (5, 3),
    "layers.0.bias": (5,),
    "layers.1.u": (5,),
    "layers.1.weight_ih": (5, 10),
    "layers.1.bias": (5,),
    "layers_reverse.0.u": (5,),
    "layers_reverse.0.weight_ih": (5, 3),
    "layers_reverse.0.bias": (5,),
    "layers_reverse.1.u": (5,),
    "layers_reverse.1.weight_ih": (5, 10),
    "layers_reverse.1.bias": (5,),
}
# Sums of both halves of the output, then of each state.
GAVE = [10.026773, 14.010482, 1.480552, 0.239873, 2.379003, 1.194897]


def test_state_dict_is_stable():
    """Keys, shapes and meaning: weights written before give the output that they gave then."""
    rnn = IndRNN(M, N, L, bidirectional=True).double()
    assert {key: tuple(value.shape) for key, value in rnn.state_dict().items()} == KEYS
    saved = {}
    for i, (key, shape) in enumerate(KEYS.items()):
        values = torch.linspace(-1, 1, torch.Size(shape).numel(), dtype=torch.double).add(0.03 * i)
        saved[key] = values.view(shape) / 4
    rnn.load_state_dict(saved)
    x = torch.linspace(-1, 1, T * M, dtype=torch.double).sin().view(T, 1, M)
    y, h_n = rnn(x)
    assert [round(a.item(), 6) for a in (y[:, 0, :N].sum(), y[:, 0, N:].sum(), *h_n.sum((1, 2)))] == GAVE


def test_batch_norm_adds_its_own_keys():
    keys = set(IndRNN(M, N, batch_norm="before").state_dict()) - set(KEYS)
    names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert keys == {f"layers.0.norm.{name}" for name in names}
    assert "layers.0.bias" not in IndRNN(M, N, bias=False).state_dict()


def test_copies_and_conversions():
    rnn, x = IndRNN(M, N, L, bidirectional=True, batch_norm="after").eval(), torch.randn(T, B, M)
    for twin in (copy.deepcopy(rnn), pickle.loads(pickle.dumps(rnn))):
        assert torch.equal(twin(x)[0], rnn(x)[0])
    torch.testing.assert_close(rnn.double()(x.double())[0].float(), twin(x)[0])
    assert IndRNN(M, N, dtype=torch.double).layers[0].u.dtype == torch.double
    assert IndRNN(M, N, device="meta")(x.to("meta"))[0].shape == (T, B, N)
    half = IndRNN(M, N, L, bidirectional=True).bfloat16()
    assert [a.dtype for a in half(x.bfloat16())] == 2 * [torch.bfloat16]


def test_a_whole_network_is_loaded_with_the_classes_of_its_modules(tmp_path):
    network, x = nn.Sequential(IndRNN(M, N, L, dropout=0.1, batch_norm="after").eval()), torch.randn(T, B, M)
    torch.save(network, tmp_path / "network.pt")
    with torch.serialization.safe_globals([type(module) for module in network.modules()]):
        loaded = torch.load(tmp_path / "network.pt", weights_only=True)
    assert torch.equal(loaded(x)[0], network(x)[0])


def test_exports_with_any_number_of_steps_and_sequences():
    rnn, T_, B_ = IndRNN(M, N, L, bidirectional=True).eval(), torch.export.Dim("T"), torch.export.Dim("B")
    x, lengths = torch.randn(T, B, M), torch.tensor(LENGTHS)
    shapes = {"input": {0: T_, 1: B_}, "lengths": {0: B_}}
    program = torch.export.export(rnn, (x,), {"lengths": lengths}, dynamic_shapes=shapes)
    assert [str(node.target) for node in program.graph.nodes].count("indrnn.recurrence.default") == 2 * L
    other, some = torch.randn(11, 2, M), torch.tensor([9, 0])
    for ours, theirs in zip(program.module()(other, lengths=some), rnn(other, lengths=some), strict=True):
        torch.testing.assert_close(ours, theirs)
    program = torch.export.export(rnn, (x,), dynamic_shapes={"input": {0: T_, 1: B_}})
    for ours, theirs in zip(program.module()(other), rnn(other), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_compiles_in_training_without_a_break():
    rnn = IndRNN(M, N, L, batch_norm="after").double().train()
    nn.init.constant_(rnn.layers[0].u, 7.0)
    x, other = double(T, B, M), copy.deepcopy(rnn)
    y, h_n = torch.compile(rnn, fullgraph=True, backend="aot_eager")(x)
    (y.square().sum() + h_n.sum()).backward()
    expected, end = other(x)
    (expected.square().sum() + end.sum()).backward()
    torch.testing.assert_close((y, h_n), (expected, end))
    for p, q in zip(rnn.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q)
        torch.testing.assert_close(p.grad, q.grad)


def test_the_package_alone_imports_no_torch():
    code = "import sys, indrnn, indrnn.record; assert 'IndRNN' in indrnn.__all__ and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    import indrnn

    with pytest.raises(AttributeError, match="no attribute 'IndRRN'"):
        indrnn.IndRRN  # noqa: B018


# Use


def test_trains_with_an_optimizer_and_clipping_alone():
    """Is the sum of 20 numbers above 0? Chance is a loss of 0.69."""
    rnn, head = IndRNN(1, 16, L, batch_first=True, dropout=0.1, seq_len=20), nn.Linear(16, 1)
    parameters = [*rnn.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    losses = []
    for _ in range(60):
        x = torch.randn(64, 20, 1)
        answer = head(rnn(x)[0][:, -1])[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(answer, (x.sum((1, 2)) > 0).float())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.5 and sum(losses[-10:]) / 10 < 0.3


def test_dropout_is_between_layers_as_in_torch():
    rnn = IndRNN(M, N, 3, dropout=0.5, bidirectional=True)
    assert [layer.dropout.p for layer in (*rnn.layers, *rnn.layers_reverse)] == 2 * [0.5, 0.5, 0.0]
    with pytest.warns(UserWarning, match="one layer only"):
        one = IndRNN(M, N, dropout=0.5).train()
    x = torch.randn(T, B, M)
    assert torch.equal(one(x)[0], one(x)[0])


X = torch.zeros(T, B, M)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((torch.zeros(T, B, M + 1),), r"input must be \(T, B, M\) or \(T, M\) with M = 3, not \(7, 4, 4\)"),
        ((torch.zeros(M),), r"input must be .* not \(3,\)"),
        ((X, torch.zeros(L, B, N + 1)), r"hx must have the shape .* = \(2, 4, 5\), not \(2, 4, 6\)"),
        ((X, torch.zeros(1, B, N)), r"hx must .* not \(1, 4, 5\)"),
        ((X[:, 0], torch.zeros(L, B, N)), r"hx must .* = \(2, 5\), not \(2, 4, 5\)"),
        ((X, (torch.zeros(L, B, N), torch.zeros(L, B, N))), "no cell state"),
        ((X, None, torch.tensor([1, 2, 3])), "lengths must be"),
        ((X[:, 0], None, torch.tensor([1])), "lengths belong to a batch"),
        ((X.tolist(),), "input must be a tensor or a PackedSequence, not a list"),
        ((X, torch.zeros(L, B, N).tolist()), "hx must be a tensor, not a list"),
        ((X, torch.zeros(L, B, N).numpy()), "hx must be a tensor, not a ndarray: torch.as_tensor makes one"),
        ((X, torch.zeros(L, B, N).double()), "hx must be torch.float32 as the input is, not torch.float64"),
        ((X, torch.zeros(L, B, N).long()), "hx must be torch.float32 as the input is, not torch.int64"),
        ((X, torch.zeros(L, B, N, device="meta")), "hx must be on cpu as the input is, not on meta"),
        ((pack_sequence([X[:, 0]]), [0.0]), "hx must be a tensor, not a list"),
        ((pack_sequence([X[:, 0]]), None, torch.tensor([7])), "leave lengths out"),
        ((pack_sequence([torch.zeros(T, 2)]),), "M = 3 numbers, not 2"),
        ((pack_sequence([X[:, 0]]), torch.zeros(L, 2, N)), r"hx must .* = \(2, 1, 5\), not \(2, 2, 5\)"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(arguments, words):
    with pytest.raises(UserError, match=words):
        IndRNN(M, N, L)(*arguments)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_layers": 0}, "num_layers must be"),
        ({"hidden_size": 0}, "hidden_size must be"),
        ({"input_size": -1}, "input_size must be"),
        ({"seq_len": 0}, "seq_len must be"),
        ({"bound": 0.0}, "bound must be"),
        ({"bound": float("nan")}, "bound must be"),
        ({"bound": 1.0, "seq_len": 10}, "not both"),
        ({"dropout": 1.0, "num_layers": 2}, "dropout must be"),
        ({"batch_norm": "between"}, "batch_norm must be"),
        ({"seq_len": 10, "gamma": 0}, "gamma must be"),
        ({"bias": "tanh"}, "bias must be True or False, not 'tanh'; the order is that of nn.LSTM"),
        ({"bidirectional": 2}, "bidirectional must be True or False, not 2"),
        ({"batch_first": 1}, "batch_first must be True or False, not 1"),
        ({"proj_size": 4}, "proj_size must be 0, not 4"),
        ({"nonlinearity": "gelu"}, "nonlinearity must be relu or tanh, not 'gelu'"),
        ({"nonlinearity": "tanh", "activation": "identity"}, "leave activation out"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        IndRNN(**{"input_size": M, "hidden_size": N} | options)


def test_a_name_of_nn_rnn_is_understood_and_one_in_its_place_is_refused():
    assert IndRNN(M, N, nonlinearity="tanh").layers[0].activation == "tanh"
    assert IndRNN(M, N, nonlinearity="relu").layers[0].activation == "relu"
    assert IndRNN(M, N, 1, True, False, 0.0, False, 0).proj_size == nn.LSTM(M, N).proj_size == 0
    with pytest.raises(UserError, match="bias must be"):
        IndRNN(M, N, L, "tanh")


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"bias": False}, {"batch_norm": "after"}], ids=str)
def test_reset_draws_what_the_construction_drew(options):
    torch.manual_seed(3)
    rnn = IndRNN(M, N, L, seq_len=9, last_layer_near_one=True, **options)
    drawn = {name: value.clone() for name, value in rnn.state_dict().items()}
    with torch.no_grad():
        for value in rnn.parameters():
            value.fill_(7)
    rnn.flatten_parameters()
    torch.manual_seed(3)
    rnn.reset_parameters()
    assert drawn.keys() == rnn.state_dict().keys()
    assert all(torch.equal(value, drawn[name]) for name, value in rnn.state_dict().items())


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_all_weights_are_in_the_order_of_the_states(bias, bidirectional):
    rnn = IndRNN(M, N, L, bias=bias, bidirectional=bidirectional)
    found = rnn.all_weights
    theirs = nn.RNN(M, N, L, bias=bias, bidirectional=bidirectional).all_weights
    assert len(found) == len(theirs) and {len(weights) for weights in found} == {3 if bias else 2}
    assert [tuple(ws[0].shape) for ws in found] == [tuple(ws[0].shape) for ws in theirs]
    assert {id(p) for ws in found for p in ws} == {id(p) for p in rnn.parameters()}
    with torch.no_grad():
        found[-1][1].fill_(0.25)
    last = rnn.layers_reverse[-1] if bidirectional else rnn.layers[-1]
    assert (last.u == 0.25).all()
