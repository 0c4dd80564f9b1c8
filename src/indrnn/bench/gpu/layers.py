"""Forward and backward of an IndRNN layer on a GPU against cuDNN's LSTM, GRU and RNN, and against the plain loop.

Each as Python launches it, and as one CUDA graph, in which only what the device does is left.

``python -m indrnn.bench.gpu.layers T B N ROUNDS DEVICE`` compiles the plain loop and prints its times as JSON: a
process of its own can be ended when compiling takes too long.

Shapes: T time, B batch, M input, N neurons.
"""

import itertools
import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from indrnn import configs
from indrnn.bench.cpu.layers import TwoLayers, forward_backward
from indrnn.bench.gpu.child import child
from indrnn.bench.gpu.graphs import MODES, as_mode
from indrnn.bench.gpu.kernels import attempt, device_ms, matmuls
from indrnn.bench.gpu.sizes import Sizes
from indrnn.layers import IndRNNLayer
from indrnn.recurrence import reference

PAPER = {256: 4.3, 512: 7.6, 1024: 12.9}  # P19 Figure 2, a P100: cuDNN's LSTM / IndRNN, one layer of each
WIDE, ADDING = "M = N", "adding problem, as P19 Figure 2"
FIRST, LSTM, LOOP = "IndRNN, 1 layer", "nn.LSTM", "IndRNN, 1 layer, Python loop"
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
        LOOP: layer(backend="reference"),
    }


def steps(device: torch.device, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """The gradients of input and parameters, at every length, setting, precision of the matrix products and mode.

    TF32 is for the wide input alone: the other setting's paper had none. The Python loop is measured eagerly and in
    fp32 alone: it is there to show what Python costs.
    """
    cases = itertools.product(PRECISIONS, settings(), sizes.lengths, MODES)
    for precision, (setting, M, B, N), T, mode in cases:
        if (precision, setting) == ("tf32", ADDING):
            continue
        for name, cell in cells(M, N).items():
            if name == LOOP and (precision, mode) != (PRECISIONS[0], MODES[0]):
                continue
            row = {"what": name, "setting": setting, "precision": precision, "mode": mode}
            row |= {"T": T, "B": B, "M": M, "N": N}
            with matmuls(precision):
                row = attempt(row, partial(timed, cell, T, B, M, N, mode, device, sizes.rounds), sizes.until)
            yield row


def timed(
    cell: nn.Module, T: int, B: int, M: int, N: int, mode: str, device: torch.device, rounds: int
) -> dict[str, float]:
    cell = cell.to(device)
    x, dy = torch.randn(T, B, M, device=device, requires_grad=True), torch.randn(T, B, N, device=device)
    call = as_mode(partial(forward_backward, cell, x, dy), mode)
    return {"ms": device_ms(call, device, rounds, flush=False)}


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """LSTM / IndRNN, one layer of each in the same mode, with the paper's ratio; pairs not measured left out."""
    keys = ("setting", "precision", "mode", "T")
    times = {(*(x[key] for key in keys), x["what"]): x["ms"] for x in rows if "ms" in x}
    found = []
    for (*case, what), ms in times.items():
        lstm = times.get((*case, LSTM))
        if what == FIRST and lstm is not None:
            row = dict(zip(keys, case, strict=True)) | {"ratio": lstm / ms}
            found.append(row | {"paper": PAPER.get(row["T"]) if row["setting"] == ADDING else None})
    return found


# The plain loop, compiled


def compiled_loops(device: torch.device, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """The layer whose loop over time torch.compile unrolls, M = N, fp32; what is not compiled in time says so."""
    _, M, B, N = settings()[0]
    until = min(sizes.until, time.monotonic() + COMPILE_SECONDS)
    for T in sizes.lengths:
        row = {"what": COMPILED, "setting": WIDE, "precision": "fp32", "mode": "eager", "T": T, "B": B, "M": M, "N": N}
        yield attempt(row, partial(in_process, T, B, N, sizes.rounds, device, until), until)


def in_process(T: int, B: int, N: int, rounds: int, device: torch.device, until: float) -> dict[str, float]:
    """The times of ``compiled_loop`` from a process that is ended at ``until``, of time.monotonic().

    Raises:
        UserError: it was ended, or failed.
    """
    said = child(["indrnn.bench.gpu.layers", *map(str, (T, B, N, rounds, device))], until)
    return json.loads(said.splitlines()[-1])


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
