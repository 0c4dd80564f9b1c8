"""Forward and backward of an IndRNN layer on a GPU against cuDNN's LSTM, GRU and RNN, and against the plain loop.

``python -m indrnn.bench.gpu.layers T B N ROUNDS DEVICE`` compiles the plain loop and prints its times as JSON: a
process of its own can be ended when compiling takes too long.

Shapes: T time, B batch, M input, N neurons.
"""

import json
import subprocess
import sys
import time
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from indrnn import configs
from indrnn.bench.cpu.layers import TwoLayers, forward_backward
from indrnn.bench.gpu.kernels import attempt, device_ms, matmuls
from indrnn.bench.gpu.sizes import Sizes
from indrnn.errors import UserError
from indrnn.layers import IndRNNLayer
from indrnn.recurrence import reference

PAPER = {256: 4.3, 512: 7.6, 1024: 12.9}  # P19 Figure 2, a P100: cuDNN's LSTM / IndRNN, one layer of each
GOALS = {1024: 20.0}
WIDE, ADDING = "M = N", "adding problem, as P19 Figure 2"
FIRST, LSTM = "IndRNN, 1 layer", "nn.LSTM"
COMPILED = "IndRNN, 1 layer, compiled loop"
PRECISIONS = ("fp32", "tf32")
COMPILE_SECONDS = 100  # for all lengths together


def settings() -> list[tuple[str, int, int, int]]:
    """Name, M, B, N of two settings: input as wide as the layer, and P19 Figure 2, the adding problem as configured."""
    cfg = configs.build(["experiment=adding", "model=indrnn"])
    B, N = cfg.data.batch_size, cfg.recipe.hidden_size
    return [(WIDE, N, B, N), (ADDING, cfg.data.input_size, B, N)]


def cells(M: int, N: int) -> dict[str, nn.Module]:
    layer = partial(IndRNNLayer, M, N, 1.0, (0.0, 1.0))
    return {
        FIRST: layer(),
        "IndRNN, 1 layer, batch norm after": layer(batch_norm="after"),
        "IndRNN, 2 layers": TwoLayers(M, N),
        LSTM: nn.LSTM(M, N),
        "nn.GRU": nn.GRU(M, N),
        "nn.RNN(relu)": nn.RNN(M, N, nonlinearity="relu"),
        "IndRNN, 1 layer, Python loop": layer(backend="reference"),
    }


def steps(device: torch.device, sizes: Sizes) -> list[dict[str, Any]]:
    """The gradients of input and parameters, at every length, setting and precision of the matrix products."""
    rows = []
    for setting, M, B, N in settings():
        for precision in PRECISIONS:
            for T in sizes.lengths:
                for name, cell in cells(M, N).items():
                    row = {"what": name, "setting": setting, "precision": precision, "T": T, "B": B, "M": M, "N": N}
                    with matmuls(precision):
                        rows.append(attempt(row, partial(timed, cell, T, B, M, N, device, sizes.rounds)))
    return rows


def timed(cell: nn.Module, T: int, B: int, M: int, N: int, device: torch.device, rounds: int) -> dict[str, float]:
    cell = cell.to(device)
    x, dy = torch.randn(T, B, M, device=device, requires_grad=True), torch.randn(T, B, N, device=device)
    return {"ms": device_ms(partial(forward_backward, cell, x, dy), device, rounds, flush=False)}


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """LSTM / IndRNN, one layer of each, with the paper's ratio and our goal; pairs that were not measured left out."""
    times = {(x["setting"], x["precision"], x["T"], x["what"]): x["ms"] for x in rows if "ms" in x}
    found = []
    for (setting, precision, T, what), ms in times.items():
        lstm = times.get((setting, precision, T, LSTM))
        if what == FIRST and lstm is not None:
            paper = PAPER.get(T) if setting == ADDING else None
            row = {"setting": setting, "precision": precision, "T": T, "ratio": lstm / ms, "paper": paper}
            found.append(row | {"goal": GOALS.get(T)})
    return found


# The plain loop, compiled


def compiled_loops(device: torch.device, sizes: Sizes) -> list[dict[str, Any]]:
    """The layer whose loop over time torch.compile unrolls, M = N, fp32; what is not compiled in time says so."""
    _, M, B, N = settings()[0]
    until = time.monotonic() + COMPILE_SECONDS
    if device.type == "cuda":
        torch.cuda.empty_cache()  # the other process needs memory, too
    rows = []
    for T in sizes.lengths:
        row = {"what": COMPILED, "setting": WIDE, "precision": "fp32", "T": T, "B": B, "M": M, "N": N}
        rows.append(attempt(row, partial(in_process, T, B, N, sizes.rounds, device, until), until))
    return rows


def in_process(T: int, B: int, N: int, rounds: int, device: torch.device, until: float) -> dict[str, float]:
    """The times of ``compiled_loop`` from a process that is ended at ``until``, of time.monotonic().

    Raises:
        UserError: it was ended, or failed.
    """
    command = [sys.executable, "-m", "indrnn.bench.gpu.layers", *map(str, (T, B, N, rounds, device))]
    seconds = max(1.0, until - time.monotonic())
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise UserError(f"not compiled within {seconds:.0f} s") from None
    if done.returncode:
        raise UserError(f"not compiled: {(done.stderr.strip() or 'no output').splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def compiled_loop(
    T: int, B: int, N: int, rounds: int, device: torch.device, backend: str = "inductor"
) -> dict[str, float]:
    """Seconds of the first step, which compiles, and ms of those after it; M = N."""
    x, dy = torch.randn(T, B, N, device=device, requires_grad=True), torch.randn(T, B, N, device=device)
    layer = IndRNNLayer(N, N, 1.0, (0.0, 1.0)).to(device)
    h0 = torch.zeros(B, N, device=device)
    compiled = torch.compile(loop, backend=backend, fullgraph=True, dynamic=False)
    inputs = x, layer.weight_ih, layer.bias, layer.u

    def step() -> torch.Tensor:
        return torch.autograd.grad(compiled(*inputs, h0), inputs, dy)[0]

    began = time.perf_counter()
    step().sum().item()  # waits for the device
    return {"first_seconds": time.perf_counter() - began, "ms": device_ms(step, device, rounds, flush=False)}


def loop(x: torch.Tensor, W: torch.Tensor, b: torch.Tensor, u: torch.Tensor, h0: torch.Tensor) -> torch.Tensor:
    """The layer as a loop over time that torch.compile can look into."""
    return reference.forward(F.linear(x, W, b), u, h0, "relu", 0.0)


def main() -> int:
    T, B, N, rounds = map(int, sys.argv[1:5])
    with matmuls("fp32"):
        print(json.dumps(compiled_loop(T, B, N, rounds, torch.device(sys.argv[5]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
