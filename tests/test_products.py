"""Matrix products by oneDNN: those of torch up to rounding, and torch's own wherever somebody else looks."""

import contextlib

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from indrnn import products
from indrnn.layers import IndRNNLayer

CLOSE = {"rtol": 1e-5, "atol": 1e-4}  # float32 against float64, sums of up to 1,200 terms of about 1
SIZES = [(1200, 48, 40), (256, 128, 64), (700, 32, 400), (32, 512, 512), (4000, 300, 32)]  # rows, M, N


@pytest.fixture
def onednn(monkeypatch):
    """As if it were faster on this machine, whatever it is."""
    try:
        torch.ops.mkldnn._linear_pointwise(torch.ones(2, 3), torch.ones(4, 3), None, "none", [], "")
    except (AttributeError, RuntimeError):
        pytest.skip("this torch has no oneDNN")
    calls = []
    original = products._onednn
    monkeypatch.setattr(products, "_onednn", lambda *given: calls.append(given) or original(*given))
    monkeypatch.setattr(products, "_faster", lambda: True)
    return calls


@contextlib.contextmanager
def torch_only():
    torch.backends.mkldnn.enabled = False
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = True


def operands(rows, M, N, lead=()):
    generator = torch.Generator().manual_seed(0)
    shapes = [(*lead, rows, M), (N, M), (N,), (*lead, rows, N)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def with_gradients(function, x, W, b, dy, twice=True):
    """Output, gradients of x, W and b, and those of a function of these gradients."""
    given = [a.detach().requires_grad_() for a in (x, W, b)]
    y = function(*given)
    first = torch.autograd.grad(y, given, dy, create_graph=twice)
    if not twice:
        return y, *first
    total = sum((g * g.detach().cos()).sum() for g in first[:2])
    return y, *first, *torch.autograd.grad(total, given[:2])


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_outputs_and_all_gradients_are_those_of_float64(onednn, sizes):
    x, W, b, dy = operands(*sizes)
    exact = with_gradients(F.linear, *(a.double() for a in (x, W, b, dy)))
    found = with_gradients(products.linear, x, W, b, dy)
    assert len(onednn) >= 5, "one forward, two backward, two or more twice backward"
    for ours, right in zip(found, exact, strict=True):
        scale = right.abs().max().clamp(min=1)
        torch.testing.assert_close(ours.double() / scale, right / scale, **CLOSE)


def test_a_layer_of_time_and_batch_without_bias_and_of_turned_operands(onednn):
    x, W, _, _ = operands(40, 64, 48, lead=(50,))
    y = products.linear(x.transpose(0, 1), W)
    torch.testing.assert_close(y, F.linear(x.transpose(0, 1), W), **CLOSE)
    turned = products.linear(x, W.t().contiguous().t())
    torch.testing.assert_close(turned, F.linear(x, W), **CLOSE)
    assert len(onednn) == 2 and y.shape == (40, 50, 48)


def test_products_for_kernels(onednn):
    x, W, _, dy = operands(*SIZES[0])
    torch.testing.assert_close(products.mm(x, W.t()), x @ W.t(), **CLOSE)
    out = torch.full((1200, 40), torch.nan)
    assert products.mm(x, W.t(), out=out) is out
    torch.testing.assert_close(out, x @ W.t(), **CLOSE)
    to = torch.ones_like(W)
    products.addmm_(to, dy.t(), x)
    torch.testing.assert_close(to, 1 + dy.t() @ x, **CLOSE)
    assert len(onednn) == 3


def test_same_bits_every_time_and_nan_stays(onednn):
    x, W, b, dy = operands(*SIZES[0])
    once, again = (with_gradients(products.linear, x, W, b, dy, twice=False) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    x[7, 3] = torch.nan
    assert products.linear(x, W, b).isnan().any(1).nonzero().tolist() == [[7]] and onednn


@pytest.mark.parametrize(
    "x, W",
    [
        (torch.randn(1200, 48).double(), torch.randn(40, 48).double()),
        (torch.randn(1200, 48).bfloat16(), torch.randn(40, 48).bfloat16()),
        (torch.randn(4, 48), torch.randn(40, 48)),
        (torch.randn(20_000, 31), torch.randn(40, 31)),
        (torch.randn(20_000, 40), torch.randn(31, 40)),
        (torch.randn(0, 48), torch.randn(40, 48)),
        (torch.randn(5, 0), torch.randn(40, 0)),
    ],
    ids=["float64", "bfloat16", "small", "narrow input", "narrow output", "no rows", "no columns"],
)
def test_what_gains_nothing_is_torchs(onednn, x, W):
    assert torch.equal(products.linear(x, W), F.linear(x, W)) and not onednn
    assert torch.equal(products.mm(x, W.t()), torch.mm(x, W.t())) and not onednn


def test_switched_off_all_is_torchs(onednn):
    x, W, b, dy = operands(*SIZES[0])
    assert products.library() == "oneDNN"
    with torch_only():
        assert products.library() == "torch"
        found = with_gradients(products.linear, x, W, b, dy, twice=False)
        to, right = torch.ones_like(W), torch.ones_like(W)
        products.addmm_(to, dy.t(), x)
    assert torch.equal(to, right.addmm_(dy.t(), x)) and not onednn
    assert all(torch.equal(a, b) for a, b in zip(found, with_gradients(F.linear, x, W, b, dy, False), strict=True))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch.func.jvp itself calls it
def test_who_looks_at_functions_sees_torchs(onednn):
    x, W, b, _ = operands(*SIZES[0])
    right = F.linear(x, W, b)
    compiled = torch.compile(products.linear, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x, W, b), right)
    assert torch.equal(torch.func.vmap(products.linear, (0, None, None))(x[None], W, b)[0], right)
    assert torch.equal(torch.func.jvp(lambda W: products.linear(x, W, b), (W,), (W,))[0], right)
    torch.func.grad(lambda W: products.linear(x, W, b).sum())(W)
    with torch.autocast("cpu", torch.bfloat16):
        assert products.linear(x, W, b).dtype == torch.bfloat16
    with FakeTensorMode() as mode:
        assert products.linear(*(mode.from_tensor(a) for a in (x, W, b))).shape == right.shape
    assert products.linear(*(a.to("meta") for a in (x, W, b))).shape == right.shape
    with FlopCounterMode(display=False) as counter:
        products.linear(x, W, b)
    assert counter.get_total_flops() == 2 * 1200 * 48 * 40
    batch, lengths = torch.export.Dim("batch"), torch.export.Dim("rows")
    exported = torch.export.export(
        products.Linear(48, 40), (x.view(3, 400, 48),), dynamic_shapes=[{0: batch, 1: lengths}]
    )
    assert exported.module()(x[:7, :].view(7, 1, 48)).shape == (7, 1, 40), "no size is a limit"
    assert not onednn


def test_gradients_of_many_at_once(onednn):
    given = [a.requires_grad_() for a in operands(*SIZES[0])[:3]]
    ways = (products.linear(*given), F.linear(*given))
    many = torch.randn(2, 1200, 40)
    found, right = (torch.autograd.grad(y, given, many, is_grads_batched=True) for y in ways)
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a, b, **CLOSE)
    assert len(onednn) == 1, "forward"


@pytest.mark.parametrize(
    "options", [{}, {"batch_norm": "after"}, {"batch_norm": "before"}, {"activation": "tanh"}], ids=str
)
def test_a_layer_has_the_same_numbers_by_either(onednn, options):
    torch.manual_seed(0)
    layer = IndRNNLayer(48, 64, 1.0, (0.0, 1.0), **options)
    x, dy = torch.randn(60, 16, 48), torch.randn(60, 16, 64)

    def found():
        given = x.clone().requires_grad_()
        y = layer(given)[0]
        return y, *torch.autograd.grad(y, [given, *layer.parameters()], dy)

    ours = found()
    assert len(onednn) == 3
    with torch_only():
        torchs = found()
    for a, b in zip(ours, torchs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.detach().abs().max()))


PROCESSORS = [
    ("AuthenticAMD", "AVX512", True),
    ("AuthenticAMD", "AVX2", False),
    ("GenuineIntel", "AVX512", False),
    ("", "DEFAULT", False),
]


@pytest.mark.parametrize("vendor, vectors, faster", PROCESSORS)
def test_where_it_is_faster(monkeypatch, vendor, vectors, faster):
    monkeypatch.setattr(products, "_vendor", lambda: vendor)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: vectors)
    monkeypatch.setattr(products, "_onednn", lambda a, b, _: a @ b.t())
    assert products._faster.__wrapped__() == faster


def no_operator(*_):
    raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")


@pytest.mark.parametrize("broken", [no_operator, lambda a, b, _: 2 * a @ b.t()], ids=["no operator", "wrong numbers"])
def test_a_torch_that_cannot_is_left_alone(monkeypatch, broken):
    monkeypatch.setattr(products, "_vendor", lambda: "AuthenticAMD")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(products, "_onednn", broken)
    assert not products._faster.__wrapped__()
