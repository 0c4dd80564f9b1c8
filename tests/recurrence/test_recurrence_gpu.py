"""The backends for GPUs: the scan in torch, the choice between them, and the kernels in a process of their own.

Shapes: T time, B batch, N neurons, C chunks of time.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from recurrence_samples import ACTIVATIONS, SCANNED, SLOPE, TOLERANCE

from indrnn.recurrence import available_backends, choice, launches, recurrence, reference, scan, scan_triton, walk

set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "hypothesis")
SAME = settings(deadline=None, derandomize=True, database=None, max_examples=60)
interpreted = pytest.mark.skipif(walk.serves("cpu", "relu"), reason="this process interprets Triton")


def test_kernels_on_a_gpu_or_interpreted():
    """`recurrence_kernels.py` alone, because Triton asks once, when it is imported, whether to interpret."""
    folder = Path(__file__).parent
    environment = os.environ if torch.cuda.is_available() else os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "--no-header", folder / "recurrence_kernels.py"]
    done = subprocess.run(command, cwd=folder.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


KERNELS = ("walk", "walk_back", "walk_chunks", "walk_chunks_back", "chunk_lines", "chunk_lines_back")
KERNELS += ("over_chunks", "over_chunks_back", "sum_parts")


def compiled(name, activation="relu", dtype="fp32", even=True, capability=90):
    """A kernel compiled as for tensors on a GPU that is not here, with what the table has for it."""
    compiler = pytest.importorskip("triton.compiler")
    from triton.backends.compiler import GPUTarget

    from indrnn.recurrence import scan_kernels, walk_kernels

    kernel = {"walk_chunks": walk_kernels.walk, "walk_chunks_back": walk_kernels.walk_back}.get(name)
    kernel = kernel or getattr(walk_kernels, name, None) or getattr(scan_kernels, name)
    read = 2 if dtype != "fp32" and name in ("walk", "walk_chunks", "chunk_lines") else 4
    settings = next(row.settings for row in launches.TABLE if row.what == name and row.bytes_read in (None, read))
    constants = {"ACTIVATION": activation, "SLOPE": SLOPE, "LARGEST": scan_triton.largest_state(torch.float32)}
    constants |= settings | {"EVEN": even} | ({} if "chunks" in name else {"starts": None, "after": None})
    constants = {name: constants[name] for name in kernel.arg_names if name in constants}
    types = {name: f"*{dtype}" if name in ("x", "dx") else "*fp32" for name in kernel.arg_names}
    types |= {"parts": "*fp64"} if "parts" in types else {}
    types |= {name: "i32" for name in kernel.arg_names if name in walk_kernels.SIZES}
    types |= {name: "constexpr" for name in constants}
    aligned = {(i,): [["tt.divisibility", 16]] for i, t in enumerate(types.values()) if t.startswith("*")}
    source = compiler.ASTSource(kernel, types, constexprs=constants, attrs=aligned)
    target = GPUTarget("cuda", capability, 32)
    return compiler.compile(source, target=target, options={"num_warps": settings["num_warps"]}).asm


@interpreted
@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_for_gpus_that_are_not_here(capability, tmp_path, monkeypatch):
    """To machine code, which needs no GPU; what only a GPU can say, it does not."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    cases = [(name, a) for name in ("walk", "walk_back") for a in ACTIVATIONS]
    cases += [(name, a) for name in KERNELS if "chunk" in name for a in SCANNED] + [("sum_parts", "of any activation")]
    for name, activation in cases:
        assert compiled(name, activation, capability=capability)["cubin"]


@interpreted
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_no_load_in_a_loop_is_waited_for(dtype, tmp_path, monkeypatch):
    """They are copies into shared memory, of numbers of 2 bytes where columns come in pairs: a round of every stage.

    What is left of loads into registers is outside of loops: u, h0, the first state, the last round.
    """
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    for name in KERNELS:
        assembly = compiled(name, dtype=dtype)["ptx"]
        loops = [body for label, body in re.findall(r"^(\$L__BB\w+):(.*?bra\s+\1;)", assembly, re.S | re.M)]
        copying = [loop for loop in loops if "cp.async.ca" in loop]
        assert len(copying) == 1, name
        assert not any(re.search(r"ld\.global|cp\.async\.wait_group\s+0x?0;", loop) for loop in loops), name


@pytest.mark.parametrize(
    "device_type, T, columns, first",
    [
        ("cpu", 5000, 4096, "cpu"),
        ("cuda", 5000, 32 * 128, "scan"),  # the adding problem
        ("cuda", 784, 32 * 128, "triton"),  # MNIST
        ("cuda", 50, 128 * 2000, "triton"),  # Penn Treebank
        ("cuda", 5000, 128 * 512, "triton"),
        ("mps", 5000, 4096, "cpu"),
    ],
)
def test_auto_scans_long_sequences_of_few_columns_on_a_gpu_alone(device_type, T, columns, first):
    names = choice.candidates("auto", device_type, choice.scan_is_faster(torch.empty(T, 1, columns, device="meta")))
    assert names[0] == first and names[-1] == "reference"
    assert device_type == "cuda" or names == ("cpu", "reference")


@interpreted
def test_cpu_tensors_are_none_of_tritons_business():
    assert "triton" not in available_backends("cpu") and "scan" in available_backends("cpu")
    with pytest.raises(ValueError, match="'triton' was asked for, but it does not compute relu on cpu tensors"):
        recurrence(torch.zeros(2, 1, 1), torch.zeros(1), backend="triton")
    with pytest.raises(ValueError, match="'scan' was asked for, but it does not compute tanh on cpu tensors"):
        recurrence(torch.zeros(2, 1, 1), torch.zeros(1), activation="tanh", backend="scan")


def test_without_triton_the_cpu_misses_nothing():
    """triton is absent on some systems; torch itself imports it where it is there."""
    code = "import sys; sys.modules['triton'] = None; import torch, indrnn.recurrence as r; "
    code += "r.recurrence(torch.ones(2, 1, 1), torch.ones(1)); "
    code += "assert r.available_backends('cpu') == ('cpu', 'scan', 'reference'); "
    code += "assert 'triton' in r.walk.missing('relu', torch.float32, torch.device('cpu'))"
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    subprocess.run([sys.executable, "-W", "error::RuntimeWarning", "-c", code], env=environment, check=True)


@st.composite
def sequences(draw):
    """x (T, 1, 1), u and h0, float64: inputs that mostly add up or mostly cut off, u of any sign and size."""
    T, seed, shift = draw(st.integers(0, 60)), draw(st.integers(0, 99)), draw(st.sampled_from([-1.5, 0.0, 1.0]))
    u = draw(st.sampled_from([0.0, 1.0, -1.0]) | st.floats(-3, 3))
    x = torch.randn(T + 1, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + shift
    return x[1:], x.new_tensor([u]), x[0]


@SAME
@given(sequences(), st.integers(1, 20), st.sampled_from(SCANNED))
def test_the_scan_is_the_loop_for_any_length_of_chunks(sequence, length, activation):
    """The states satisfy the recurrence to rounding, also where a chunk was entered: states may grow as u^T."""
    x, u, h0 = sequence
    h = scan.forward_in_chunks(x, u, h0, activation, length)
    before = torch.cat([h0[None], h])[:-1]
    exact = reference.activate(x + u * before, activation, 0.0)
    size = x.abs() + (u * before).abs() + 1
    # The jump at a border is rounding of the chunk before it, which u stretches within it.
    stretched = max(1.0, abs(u.item())) ** length
    assert ((h - exact).abs() <= 1e-13 * stretched * size).all()
    if abs(u.item()) <= 1:
        torch.testing.assert_close(h, reference.forward(x, u, h0, activation, 0.0), **TOLERANCE[torch.float64])


@SAME
@given(sequences(), st.integers(1, 20))
def test_the_scan_backward_is_the_loop(sequence, length):
    x, u, h0 = sequence
    h, dh = reference.forward(x, u, h0, "relu", 0.0), x.flip(0)
    ours = scan.backward_in_chunks(dh, h, u, h0, "relu", length)
    for a, b in zip(ours, reference.backward(dh, h, u, h0, "relu", 0.0), strict=True):
        scale = 1 if b.numel() == 0 else b.abs().max().clamp(min=1)
        torch.testing.assert_close(a / scale, b / scale, **TOLERANCE[torch.float64])


@SAME
@given(sequences(), st.floats(0, 5), st.integers(0, 40))
def test_lines_compose(sequence, h, cut):
    """The line of a sequence is that of its first part, then that of the rest, and both are the loop (u to ±1.3)."""
    x, u, _ = sequence
    u = u.clamp(-1.3, 1.3)
    h = torch.full((1, 1), h, dtype=torch.float64)

    def through(part, h):
        if len(part) == 0:
            return h
        maps = scan.chunk_maps(part, u, "relu", len(part))
        return scan.apply_map(*(a[0] for a in maps), scan.slope_of(u, len(part)), u, h, "relu")

    whole, parts = through(x, h), through(x[cut:], through(x[:cut], h))
    loop = reference.forward(x, u, h, "relu", 0.0)[-1] if len(x) else h
    scale = 1.3 ** len(x) + h
    torch.testing.assert_close(whole / scale, loop / scale, **TOLERANCE[torch.float64])
    torch.testing.assert_close(parts / scale, loop / scale, **TOLERANCE[torch.float64])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_cut_off_again_and_again_with_u_far_above_one(dtype):
    """u^L overflows and no state is older than a few steps: the scan is the loop, where a h + b is lost in rounding."""
    T = 400
    x = torch.ones(T, 1, 5, dtype=dtype)
    x[::3] = -1e4
    u, h0 = torch.tensor([1.5, 3.0, 9.0, -3.0, 0.0], dtype=dtype), torch.ones(1, 5, dtype=dtype)
    h = reference.forward(x, u, h0, "relu", 0.0)
    assert h.isfinite().all() and (h > 0).any()
    for length in (8, 40, 200):
        torch.testing.assert_close(scan.forward_in_chunks(x, u, h0, "relu", length), h)


def test_an_infinite_state_is_never_lost():
    """Not even where u^8 is the last number above zero, and the knee of the scan's line overflows."""
    x, h0 = torch.full((20, 1, 1), -1.0, dtype=torch.float64), torch.full((1, 1), torch.inf, dtype=torch.float64)
    assert scan.forward_in_chunks(x, x.new_tensor([1e-40]), h0, "relu", 8).isposinf().all()


def test_masked_steps_of_minus_infinity():
    x = torch.randn(60, 2, 5, dtype=torch.float64)
    x[torch.rand(60, 2, 5) < 0.2] = -torch.inf
    u, h0 = torch.tensor([1.1, 1.0, 0.0, -1.0, -1.1], dtype=torch.float64), torch.ones(2, 5, dtype=torch.float64)
    h = reference.forward(x, u, h0, "relu", 0.0)
    torch.testing.assert_close(scan.forward_in_chunks(x, u, h0, "relu", 8), h)


@pytest.mark.parametrize("activation", SCANNED)
def test_error_of_the_scan_in_float32_at_5000_steps(activation):
    """Against float64, relative to the largest entry of a neuron, 5e-6 was measured; step by step, 3e-6 to 8e-6.

    With u^L rounded at every step it was 1e-4. The terms of du cancel, and the largest du of all neurons is its scale.
    """
    T, N = 5000, 17
    x, h0, dh = torch.randn(T, 2, N) / T**0.5, torch.randn(2, N), torch.randn(T, 2, N)
    u = 2 ** (torch.linspace(-1, 1, N) / T)
    double = [a.double() for a in (x, u, h0)]
    exact = scan.forward_in_chunks(*double, activation, 8)
    torch.testing.assert_close(exact, reference.forward(*double, activation, 0.0), rtol=1e-10, atol=1e-10)
    exact = exact, *reference.backward(dh.double(), exact, *double[1:], activation, 0.0)
    h = scan.forward(x, u, h0, activation, 0.0)
    for a, b in zip((h, *scan.backward(dh, h, u, h0, activation, 0.0)), exact, strict=True):
        scale = b.abs().max() if b.dim() == 1 else b.abs().reshape(-1, N).amax(0).clamp(min=1)
        assert ((a - b).abs() / scale).max() < TOLERANCE[torch.float32]["atol"]
