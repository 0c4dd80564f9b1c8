"""The kernels for GPUs against the float64 reference; `test_recurrence_gpu.py` runs this file in a process of its own.

On a GPU if there is one, and otherwise on the CPU by Triton's interpreter, which has to be switched on before triton is
imported: TRITON_INTERPRET=1 python -m pytest tests/recurrence/recurrence_kernels.py

Shapes: T time, B batch, N neurons.
"""

from functools import partial

import pytest
import torch
from recurrence_samples import (
    NO_OR_ONE_STEP,
    SLOPE,
    TOLERANCE,
    assert_like_reference,
    assert_within,
    gradients,
    long_memory,
    pairs,
    rounded_apart,
    sample,
    second_derivatives,
    strided,
)
from torch.library import opcheck
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from indrnn.recurrence import (
    available_backends,
    choice,
    operators,
    recurrence,
    reference,
    scan,
    scan_triton,
    walk,
    walk_kernels,
)

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
PAIRS = pairs(["triton", "scan"])
# Of few steps, within and beyond the 8 that are loaded together; several chunks of the scan; odd and even, and more
# columns than a program has lanes.
SIZES = [*NO_OR_ONE_STEP, (2, 1, 6), (3, 2, 5), (17, 3, 11), (64, 1, 4)]
# The interpreter computes with numpy, which warns where a GPU is silent.
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
on_device = partial(sample, device=DEVICE)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("backend, activation", PAIRS)
def test_outputs_and_gradients(backend, activation, dtype, size):
    assert_like_reference(backend, activation, *on_device(*size, dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("backend", ["triton", "scan"])
def test_low_precision_computes_and_returns_float32(backend, dtype):
    x, u, h0, dh = on_device(19, 3, 5, dtype)
    assert recurrence(x, u, h0, backend=backend).dtype == torch.float32
    assert_like_reference(backend, "relu", x, u, h0, dh)


@pytest.mark.parametrize("backend", ["triton", "scan"])
def test_any_strides_and_no_h0(backend):
    x, u, h0, dh = on_device(18, 4, 8)
    for case in strided(x, u, h0, dh):
        assert_like_reference(backend, "relu", *case)
    assert torch.equal(recurrence(x, u, backend=backend), recurrence(x, u, 0 * h0, backend=backend))


@pytest.mark.parametrize("backend", ["triton", "scan"])
def test_long_memory_in_float32(backend):
    T = 5000 if DEVICE.type == "cuda" else 300  # the interpreter takes 10 ms a step
    assert_like_reference(backend, "relu", *long_memory(T, 6, DEVICE))


@pytest.fixture
def ran(monkeypatch):
    """Names of our kernels that are launched, and within the mode those of torch's operators, whatever they do."""
    names = []
    kind = type(walk_kernels.walk)
    run = kind.run

    def counted(kernel, *arguments, **options):
        names.append(kernel.__name__)
        with _disable_current_modes():  # the interpreter copies tensors
            return run(kernel, *arguments, **options)

    class Ran(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            names.append(str(function))
            return function(*args, **(kwargs or {}))

    monkeypatch.setattr(kind, "run", counted)
    monkeypatch.setattr(operators, "is_eager", lambda *_: True)  # or the mode would see the operators alone
    return names, Ran()


WALK, BACK = ["walk"], ["walk_back", "sum_parts"]
SCAN, SCAN_BACK = ["chunk_lines", "over_chunks"], ["chunk_lines_back", "over_chunks_back"]
NO_KERNEL = ("aten.empty", "aten.new_empty", "aten.detach", "aten.view")  # as their names begin


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("mixed", [False, True], ids=["one dtype", "u and h0 in float32"])
@pytest.mark.parametrize("with_h0", [False, True], ids=["no h0", "h0"])
@pytest.mark.parametrize(
    "backend, T, forward, backward",
    [("triton", 20, WALK, BACK), ("scan", 20, SCAN + WALK, SCAN_BACK + BACK), ("scan", 5, WALK, BACK)],
)
def test_nothing_else_runs_on_a_gpu(ran, backend, T, forward, backward, with_h0, mixed, dtype):
    names, seen = ran
    x, u, h0, dh = on_device(T, 2, 5, dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    if mixed:
        u, h0 = u.to(wide), h0.to(wide)
    inputs = [a.requires_grad_() for a in ((x, u, h0) if with_h0 else (x, u))]
    recurrence(*inputs, backend=backend)  # what is tried once for all is no part of a call

    def kernels(call):
        names.clear()
        with seen:
            result = call()
        return result, [name for name in names if not name.startswith(NO_KERNEL)]

    h, launched = kernels(lambda: recurrence(*inputs, backend=backend))
    assert launched == forward
    dh = dh.to(wide)
    found, launched = kernels(lambda: torch.autograd.grad(h, inputs, dh))
    assert launched == backward
    assert [g.dtype for g in found] == [a.dtype for a in inputs]
    assert "aten.mul.Tensor" in kernels(lambda: recurrence(*inputs, backend="reference"))[1]


@pytest.mark.parametrize("backend, activation", PAIRS)
def test_same_bits_every_time(backend, activation):
    inputs = on_device(18, 3, 13, torch.float32)
    once, again = (gradients(lambda *a: recurrence(*a, activation, SLOPE, backend), *inputs) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")], ids=str)
@pytest.mark.parametrize("backend, activation", PAIRS)
def test_nan_and_infinity_go_where_the_definition_sends_them(backend, activation, bad):
    """At steps 9, 12 and 15: the first of a chunk of the scan, in the middle of one, the last of one backward."""
    for name, step in [("x", 9), ("x", 12), ("h0", 0), ("dh", 12), ("dh", 15)]:
        x, u, h0, dh = on_device(20, 1, 6)
        {"x": x[step], "h0": h0, "dh": dh[step]}[name].fill_(bad)
        ours = gradients(lambda *a: recurrence(*a, activation, SLOPE, backend), x, u, h0, dh)
        exact = gradients(lambda *a: reference.forward(*a, activation, SLOPE), x, u, h0, dh)
        torch.testing.assert_close(ours, exact, equal_nan=True, **TOLERANCE[torch.float64])


@pytest.mark.parametrize("backend", ["triton", "scan"])
def test_an_infinite_state_is_never_lost(backend):
    """Not even where u^8 is the last number above zero, and the knee of the scan's line overflows."""
    x, u, h0, _ = on_device(20, 1, 1)
    h = recurrence(-x.abs(), torch.full_like(u, 1e-40), torch.full_like(h0, torch.inf), backend=backend)
    assert h.isposinf().all()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("activation", ["relu", "identity"])
def test_the_scan_of_kernels_is_the_scan_of_torch(activation, dtype):
    """With u up to ±3, where states overflow or are cut off from anything below."""
    x, _, h0, dh = on_device(70, 1, 13, dtype)
    u = torch.linspace(-3, 3, 13, dtype=dtype, device=DEVICE)
    x[:, :, ::2] -= 1
    for length in (8, 24):
        h = scan_triton.forward(x, u, h0, activation, length)
        defined = scan.forward_in_chunks(x, u, h0, activation, length)
        assert_within(h, defined, rounded_apart(x, u, h0, defined))
        dx, _, dh0 = scan_triton.backward(dh, defined, u, h0, activation, length)
        exact, _, first = scan.backward_in_chunks(dh, defined, u, h0, activation, length)
        alive = None if activation == "identity" else (defined > 0).flip(0)
        bound = rounded_apart(dh.flip(0), u, torch.zeros_like(h0), exact.flip(0), alive).flip(0)
        assert_within(dx, exact, bound)
        assert_within(dh0, first, u.abs() * bound[0] + torch.finfo(dtype).eps * first.abs())


@pytest.mark.parametrize("backend, activation", PAIRS)
def test_second_derivatives(backend, activation):
    inputs = on_device(11, 2, 3)[:3]
    ours = second_derivatives(lambda *a: recurrence(*a, activation, SLOPE, backend), *inputs)
    exact = second_derivatives(lambda *a: reference.forward(*a, activation, SLOPE), *inputs)
    torch.testing.assert_close(ours, exact, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("backend", ["triton", "scan"])
def test_compiles_into_one_graph(backend):
    def step(x, u, h0):
        return recurrence(2 * x, u, h0, backend=backend).square().sum()

    x, u, h0, _ = (a.requires_grad_() for a in on_device(10, 2, 3, torch.float32))
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    ours = torch.autograd.grad(compiled(x, u, h0), (x, u, h0))
    torch.testing.assert_close(ours, torch.autograd.grad(step(x, u, h0), (x, u, h0)))


@pytest.mark.parametrize("backend", ["triton", "scan"])
def test_opcheck(backend):
    x, u, h0, dh = (a.requires_grad_() for a in on_device(10, 1, 3, torch.float32))
    opcheck(torch.ops.indrnn.recurrence.default, (x, u, h0, "relu", SLOPE, backend))
    h = recurrence(x, u, h0, backend=backend).detach().requires_grad_()
    opcheck(torch.ops.indrnn.recurrence_backward.default, (dh, h, u, h0, "relu", SLOPE, backend))


def test_what_is_available():
    assert {"triton", "scan", "reference"} <= set(available_backends(DEVICE.type)) <= set(available_backends())


def refuse(*_, **__):
    raise RuntimeError("out of resources")


@pytest.fixture
def forget():
    """What was chosen for a device is remembered: forget it before and after."""
    remembered = (choice.choose, choice.first_that_runs, choice.warn_about, scan._kernels_run)
    for cache in remembered:
        cache.cache_clear()
    yield
    for cache in remembered:
        cache.cache_clear()
    choice.replaced.clear()


def test_where_no_kernel_runs_the_next_backend_takes_over_with_one_warning_each(monkeypatch, forget):
    monkeypatch.setattr(walk, "launch", refuse)
    x, u, h0, _ = on_device(20, 2, 3)
    with pytest.warns(RuntimeWarning) as caught:
        for _ in range(2):
            for dtype in TOLERANCE:
                chosen = choice.first_that_runs(("triton", "scan", "reference"), DEVICE, "relu", dtype)
                assert chosen is scan
                torch.testing.assert_close(
                    chosen.forward(x, u, h0, "relu", 0.0), reference.forward(x, u, h0, "relu", 0.0)
                )
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2 and "'triton' cannot run here (RuntimeError: out of resources)" in messages[0]
    assert "the scan runs without Triton" in messages[1]
    with pytest.raises(ValueError, match="'triton' was asked for, but RuntimeError: out of resources"):
        recurrence(x, u, backend="triton")


def test_a_kernel_that_computes_something_else_is_not_used(monkeypatch, forget):
    forward = walk.forward
    monkeypatch.setattr(walk, "forward", lambda *a: forward(*a) * 1.001)
    with pytest.warns(RuntimeWarning, match="wrong numbers"):
        chosen = choice.first_that_runs(("triton", "reference"), DEVICE, "tanh", torch.float32)
    assert chosen is reference


def test_full_memory_is_not_taken_for_a_missing_backend(monkeypatch, forget):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(walk, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        recurrence(*on_device(3, 2, 3)[:3], backend="triton")
