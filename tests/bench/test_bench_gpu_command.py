"""`make bench` on a GPU from outside: the command, and the process that compiles the plain loop."""

import importlib.util
import subprocess
import sys

import pytest
import torch

from indrnn import files
from indrnn.bench import run
from indrnn.bench.gpu import child, device, layers, parts
from indrnn.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("bench_script", files.ROOT / "scripts" / "bench.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The plain loop, compiled


def test_the_loop_computes_the_layer_and_compiles_in_one_graph():
    layer, x = layers.cells(3, 4)[layers.FIRST], torch.randn(3, 2, 3)
    h = layers.loop(x, layer.weight_ih, layer.bias, layer.u, torch.zeros(2, 4))
    torch.testing.assert_close(h, layer(x)[0])
    found = layers.compiled_loop(2, 2, 4, 1, CPU, backend="aot_eager")
    assert found["ms"] > 0 and found["first_seconds"] > 0


@pytest.mark.parametrize(
    "outcome, words",
    [
        (subprocess.TimeoutExpired("python", 5), "not done within"),
        (subprocess.CompletedProcess("python", 1, "", "Traceback\nRuntimeError: no compiler"), "RuntimeError: no comp"),
    ],
)
def test_a_loop_that_does_not_compile_says_so(monkeypatch, outcome, words):
    def run(*_, **__):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(child.subprocess, "run", run)
    with pytest.raises(UserError, match=words):
        layers.in_process(3, 2, 4, 1, CPU, until=0.0)


# The command


@pytest.mark.parametrize(
    "name, expected",
    [("NVIDIA H100 80GB HBM3", "nvidia_h100_80gb_hbm3"), (" Tesla P100-PCIE-16GB ", "tesla_p100_pcie_16gb")],
)
def test_a_device_as_the_name_of_a_file(name, expected):
    assert device.slug(name) == expected


def test_without_a_gpu_it_is_one_sentence_and_nothing_is_measured(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(run.report, "measure", lambda rounds, out: pytest.fail("measured"))
    monkeypatch.setattr(sys, "argv", ["bench.py", "--device", "cpu", "cuda", "--out", str(tmp_path / "out")])
    assert script.main() == 1
    said = capsys.readouterr().err
    assert said == "--device cuda: torch finds no GPU here; --device cpu measures one CPU core.\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("available, expected", [(True, "gpu"), (False, "cpu")])
def test_the_gpu_is_measured_where_there_is_one(script, tmp_path, monkeypatch, capsys, available, expected):
    monkeypatch.setattr(run, "keep_pages", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(run.report, "measure", lambda rounds, out: "cpu")
    monkeypatch.setattr(parts, "measure", lambda where, out, only: "gpu" if where.type == "cuda" else "wrong")
    monkeypatch.setattr(sys, "argv", ["bench.py", "--out", str(tmp_path)])
    assert script.main() == 0 and capsys.readouterr().out == f"{expected}\n"


@pytest.mark.parametrize("machine, words", [("gpu", "--device cuda"), ("cpu", "--device cpu"), ("", "bench.py")])
def test_make_bench_passes_the_machine_on(machine, words):
    command = ["make", "bench", "--dry-run", "--no-print-directory", f"MACHINE={machine}"]
    done = subprocess.run(command, cwd=files.ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.rstrip().endswith(words)
