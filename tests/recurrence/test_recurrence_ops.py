"""The recurrence within torch and on a machine: compile, autocast, threads, forks, bad input.

Shapes: T time, B batch, N neurons.
"""

import ast
import multiprocessing
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch
from recurrence_samples import ACTIVATIONS, SLOPE, gradients, sample, second_derivatives
from torch.fx.experimental.proxy_tensor import make_fx
from torch.library import opcheck
from torch.utils._python_dispatch import TorchDispatchMode

import indrnn.recurrence as package
from indrnn.recurrence import (
    available_backends,
    choice,
    cpu,
    one_dtype,
    operators,
    recurrence,
    reference,
    scan,
    scan_triton,
    walk,
)

BACKENDS = available_backends("cpu")
OTHER = {"scan": "identity"} | {name: "tanh" for name in ("auto", "cpu", "triton", "reference")}  # than ReLU
BIG = (64, 8, 301)  # enough elements for threads, and columns that no block divides evenly
needs_cpu_backend = pytest.mark.skipif("cpu" not in BACKENDS, reason="the cpu backend cannot run here")


def computed(*inputs, **options):
    return gradients(partial(recurrence, **options), *inputs)


def same_bits(a, b):
    return all(p.numpy().tobytes() == q.numpy().tobytes() for p, q in zip(a, b, strict=True))


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def forget_backends():
    """Backends are chosen and compiled once per process: forget that before and after."""

    def forget():
        for remembered in (
            choice.choose,
            choice.first_that_runs,
            choice.warn_about,
            cpu.compiled,
            cpu._warn_about_cache,
        ):
            remembered.cache_clear()
        choice.failed.clear()
        choice.replaced.clear()

    forget()
    yield
    forget()


@pytest.mark.parametrize("backend, activation", [(b, a) for b in BACKENDS for a in (OTHER[b], "relu")])
def test_opcheck(backend, activation):
    x, u, h0, dh = (a.requires_grad_() for a in sample(4, 2, 3, torch.float32))
    opcheck(torch.ops.indrnn.recurrence.default, (x, u, h0, activation, SLOPE, backend))
    h = recurrence(x, u, h0, activation, SLOPE, backend).detach().requires_grad_()
    opcheck(torch.ops.indrnn.recurrence_backward.default, (dh, h, u, h0, activation, SLOPE, backend))


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_compiles_into_one_graph(backend):
    def step(x, u, h0):
        return recurrence(2 * x, u, h0, OTHER[backend], backend=backend).square().sum()

    x, u, h0, _ = (a.requires_grad_() for a in sample(5, 2, 3, torch.float32))
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    ours = torch.autograd.grad(compiled(x, u, h0), (x, u, h0))
    torch.testing.assert_close(ours, torch.autograd.grad(step(x, u, h0), (x, u, h0)))


def test_compiles_with_defaults_and_other_lengths():
    compiled = torch.compile(lambda x, u: recurrence(x, u), fullgraph=True, backend="aot_eager", dynamic=True)
    for T in (3, 8):
        x, u, _, _ = sample(T, 2, 3, torch.float32)
        torch.testing.assert_close(compiled(x, u), recurrence(x, u))


def test_tracers_see_one_node_each_way():
    """make_fx, as AOT autograd uses it: not what a backend does inside."""
    x, u, _, _ = sample(5, 2, 3)

    def derivative(x):
        return torch.autograd.grad(recurrence(x, u).sum(), x)[0]

    traced = make_fx(derivative)(x.requires_grad_())
    names = [str(node.target) for node in traced.graph.nodes if "indrnn" in str(node.target)]
    assert names == ["indrnn.recurrence.default", "indrnn.recurrence_backward.default"]
    torch.testing.assert_close(traced(x), derivative(x))


def test_modes_that_count_see_the_operators():
    x, u, h0, dh = sample(5, 2, 3)
    with Seen() as seen:
        computed(x, u, h0, dh)
    assert seen.count("indrnn.recurrence.default") == seen.count("indrnn.recurrence_backward.default") == 1


class Seen(TorchDispatchMode, list):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.append(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_many_gradients_at_once():
    x, u, h0, dh = sample(5, 2, 3)
    h = recurrence(x.requires_grad_(), u, h0)
    many = torch.stack([dh, 2 * dh])
    (dx,) = torch.autograd.grad(h, x, many, retain_graph=True, is_grads_batched=True)
    torch.testing.assert_close(dx, torch.stack([torch.autograd.grad(h, x, g, retain_graph=True)[0] for g in many]))


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_meta_tensors_get_shapes_without_numbers(backend):
    x, u, h0 = (a.to("meta").requires_grad_() for a in sample(5, 2, 3, torch.float32)[:3])
    h = recurrence(x, u, h0, backend=backend)
    assert h.shape == (5, 2, 3) and h.device.type == "meta"
    assert [g.shape for g in torch.autograd.grad(h.sum(), (x, u, h0))] == [(5, 2, 3), (3,), (2, 3)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_default_device_does_not_matter(backend):
    inputs = sample(5, 2, 3, torch.float32)
    expected = computed(*inputs, backend=backend)
    with torch.device("meta"):
        assert same_bits(expected, computed(*inputs, backend=backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_computes_in_and_returns_float32(backend):
    x, u, h0, _ = sample(5, 2, 3, torch.float32)
    weight = torch.randn(3, 3, requires_grad=True)
    u.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = x @ weight.T
        h = recurrence(z, u, h0, backend=backend)
    assert (z.dtype, h.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(h, recurrence(z.float(), u, h0, backend=backend))
    dweight, du = torch.autograd.grad(h.sum(), (weight, u))
    assert dweight.dtype == du.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_low_precision_is_widening_by_hand(backend, dtype):
    """To the bit; but a second derivative of u comes in two parts, which here are narrowed before they are added."""

    def within(x, u, h0):
        return recurrence(x, u, h0, backend=backend)

    def by_hand(x, u, h0):
        return recurrence(x.float(), u.float(), h0.float(), backend=backend)

    x, u, h0, dh = sample(9, 3, 5, dtype)
    for given in ((x, u, h0), (x, u.float(), h0), (x, u, h0.float())):
        for a, b in zip(gradients(within, *given, dh), gradients(by_hand, *given, dh), strict=True):
            assert a.dtype == b.dtype and torch.equal(a, b)
        for a, b in zip(second_derivatives(within, *given), second_derivatives(by_hand, *given), strict=True):
            size, eps = b.abs().max(), torch.finfo(dtype).eps
            torch.testing.assert_close(a / size, b / size, rtol=2 * eps, atol=2 * eps)


@needs_cpu_backend
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_same_bits_every_time_and_with_any_number_of_threads(threads, activation, dtype):
    inputs = sample(*BIG, dtype)
    threads(1)
    once = computed(*inputs, activation=activation, backend="cpu")
    for n in (1, 2, 3):
        threads(n)
        assert same_bits(once, computed(*inputs, activation=activation, backend="cpu"))


@needs_cpu_backend
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_bit_depends_on_how_many_steps_are_taken_at_once(monkeypatch, activation):
    for T in range(1, 18):  # with every rest of 8 and of 4
        inputs = sample(T, 2, 21, torch.float32)
        monkeypatch.undo()
        expected = computed(*inputs, activation=activation, backend="cpu")
        for forward, backward in ((1, 2), (2, 2), (4, 8)):
            monkeypatch.setattr(cpu, "_FORWARD_STEPS", forward)
            monkeypatch.setattr(cpu, "_BACKWARD_STEPS", backward)
            assert same_bits(expected, computed(*inputs, activation=activation, backend="cpu"))


@needs_cpu_backend
def test_worker_threads_treat_denormals_like_their_caller(threads):
    """A state that halves from 1e-37 is soon a denormal: kept everywhere, or flushed to zero everywhere."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor does not flush denormals")
    x, u = torch.zeros(BIG), torch.full(BIG[2:], 0.5)
    h0 = torch.full(BIG[1:], 1e-37)
    threads(2)
    try:
        for flush in (False, True, False):
            torch.set_flush_denormal(flush)
            h = recurrence(x, u, h0, backend="cpu")
            torch.set_flush_denormal(False)  # or the comparison would flush what was kept
            assert (h[8] == 0).all().item() is flush and (h[8] == 0).any().item() is flush
    finally:
        torch.set_flush_denormal(False)


@needs_cpu_backend
def test_two_python_threads_at_once(threads):
    threads(2)
    inputs = sample(*BIG, torch.float32)
    expected = computed(*inputs, backend="cpu")

    def work(_):
        torch.set_num_threads(2)
        return all(same_bits(expected, computed(*inputs, backend="cpu")) for _ in range(10))

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(work, range(2)))


def _in_child(connection, inputs, expected):
    connection.send(same_bits([expected], [recurrence(*inputs, backend="cpu")]))


@needs_cpu_backend
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(threads):
    """Data loaders fork: a child that waited for its parent's threads would wait for ever."""
    threads(2)
    inputs = sample(*BIG, torch.float32)[:3]
    expected = recurrence(*inputs, backend="cpu")
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    child = fork.Process(target=_in_child, args=(there, inputs, expected))
    child.start()
    try:
        assert here.poll(60), "the child hangs"
        assert here.recv()
    finally:
        child.kill()
        child.join()


X, U, H0 = torch.zeros(5, 2, 3), torch.zeros(3), torch.zeros(2, 3)
BAD_INPUT = {
    "x of two dimensions": ((X[0], U), r"x: expected .*\(T, B, N\), got shape \(2, 3\)"),
    "x is no tensor": ((X.numpy(), U), r"x: expected a tensor .* got ndarray"),
    "u too long": ((X, torch.zeros(4)), r"u: expected .*\(3,\), got shape \(4,\)"),
    "u as a matrix": ((X, torch.zeros(3, 3)), r"u: expected .*\(3,\), got shape \(3, 3\)"),
    "h0 transposed": ((X, U, H0.T), r"h0: expected .*\(2, 3\), got shape \(3, 2\)"),
    "integers": ((X.long(), U), r"x: expected float32.* got torch\.int64"),
    "complex": ((X + 0j, U), r"x: expected float32.* got torch\.complex64"),
    "float64 and float32": ((X.double(), U), r"u: expected float64 like x, got torch\.float32"),
    "float32 and float64": ((X, U, H0.double()), r"h0: expected float32.* got torch\.float64"),
    "two devices": ((X, U.to("meta")), r"u: expected to be on cpu like x, got meta"),
    "activation": ((X, U, H0, "ReLU"), r"activation: expected one of relu, .*, got 'ReLU'"),
    "slope zero": ((X, U, H0, "leaky_relu", 0.0), r"negative_slope: expected .* > 0 .*, got 0\.0"),
    "slope nan": ((X, U, H0, "leaky_relu", float("nan")), r"negative_slope: .* got nan"),
    "backend": ((X, U, H0, "relu", 0.01, "cuda"), r"backend: expected auto or one of .*cpu.*, got 'cuda'"),
}


@pytest.mark.parametrize("arguments, message", BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        recurrence(*arguments)


def test_without_numba_the_reference_takes_over_with_one_warning(monkeypatch, forget_backends):
    monkeypatch.setitem(sys.modules, "numba", None)
    x, u, h0, dh = sample(5, 2, 3, torch.float32)
    with pytest.warns(RuntimeWarning, match="'cpu' cannot run here .*numba") as caught:
        ours = computed(x, u, h0, dh, activation="relu")
        computed(x, u, h0, dh, activation="tanh")
    assert len(caught) == 1
    torch.testing.assert_close(ours, computed(x, u, h0, dh, backend="reference"))
    assert available_backends("cpu") == ("scan", "reference")
    with pytest.raises(ValueError, match="backend: 'cpu' was asked for, but .*numba"):
        recurrence(x, u, backend="cpu")


@needs_cpu_backend
@pytest.mark.parametrize("step", ["forward", "backward"])
def test_a_backend_that_fails_at_one_size_alone_is_left_from_there_on(monkeypatch, forget_backends, step):
    computes, asked = getattr(cpu, step), []

    def fails_on_long_ones(a, *more):
        asked.append(len(a))
        if len(a) > 20:
            raise ValueError("no such register")
        return computes(a, *more)

    monkeypatch.setattr(cpu, step, fails_on_long_ones)
    long, short = sample(21, 2, 3, torch.float32), sample(5, 2, 3, torch.float32)
    computed(*short)
    with pytest.raises(ValueError, match="no such register"):
        computed(*long, backend="cpu")
    with pytest.warns(RuntimeWarning, match="'cpu' cannot run here .*ValueError at T = 21, B = 2, N = 3: no") as caught:
        ours = computed(*long), computed(*long), computed(*short)
    assert len(caught) == 1 and asked == [5, 21, 21]
    exact = [computed(*a, backend="reference") for a in (long, long, short)]
    torch.testing.assert_close(ours, tuple(exact))


@needs_cpu_backend
def test_full_memory_does_not_change_the_backend(monkeypatch, forget_backends):
    def full(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")

    monkeypatch.setattr(cpu, "forward", full)
    with pytest.raises(RuntimeError, match="can't allocate"):
        computed(*sample(5, 2, 3, torch.float32))
    assert not choice.failed


@needs_cpu_backend
@pytest.mark.parametrize("broken", ["load_overload", "save_overload"])
def test_a_broken_cache_costs_a_compilation_and_one_warning(monkeypatch, forget_backends, broken):
    caching = pytest.importorskip("numba.core.caching")

    def fail(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(caching.FunctionCache, "load_overload", lambda *_: None)  # nothing cached yet
    monkeypatch.setattr(caching.FunctionCache, broken, fail)
    x, u, h0, dh = sample(5, 2, 3, torch.float32)
    with pytest.warns(RuntimeWarning, match="NUMBA_CACHE_DIR") as caught:
        ours = computed(x, u, h0, dh, backend="cpu")
    assert len(caught) == 1
    torch.testing.assert_close(ours, computed(x, u, h0, dh, backend="reference"))


def test_importing_is_light():
    """numba and triton take long to import, and triton may be absent: not before the first use that needs them."""
    for module in (package, choice, cpu, one_dtype, operators, reference, scan, scan_triton, walk):
        top = ast.parse(Path(module.__file__).read_text()).body
        names = [n.name for s in top if isinstance(s, ast.Import) for n in s.names]
        names += [s.module for s in top if isinstance(s, ast.ImportFrom)]
        assert not [name for name in names if name.startswith(("numba", "triton"))]
