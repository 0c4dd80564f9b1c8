"""A whole update on a GPU, eager and compiled, in several precisions, with peak memory, against the sum of its parts.

Shapes: T time, B batch, M input, N neurons.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig

from indrnn import configs
from indrnn.bench.cpu.layers import products
from indrnn.bench.gpu.kernels import PASSES, attempt, device_ms, matmuls, one_pass
from indrnn.bench.gpu.sizes import Sizes
from indrnn.layers import IndRNNLayer
from indrnn.training import run
from indrnn.training.compiled import compile_
from indrnn.training.graph import Cuda, Graph

WORDS = {"fp32": "32-true", "tf32": "tf32", "bf16": "bf16-mixed"}  # of trainer.precision
SECONDS = 150  # of the whole part; compiling one update takes up to a minute


class Update:
    """An update of train without Lightning, for a run with an IndRNN network."""

    def __init__(self, cfg: DictConfig, device: torch.device):
        self.data, self.task = run.build(cfg)
        self.task.to(device)
        T, B = cfg.data.seq_len, cfg.data.batch_size
        if self.task.carries_state:
            x = torch.randint(cfg.data.output_size, (B, T), device=device)
            self.batch: tuple[Any, ...] = (x, x, None, False)
        else:
            x = torch.rand(B, T, cfg.data.input_size, device=device)
            self.batch = (x, torch.randint(cfg.data.output_size, (B,), device=device))
        self.T, self.B = T, B

    def __call__(self) -> None:
        self.task.make_update(self.batch)


def updates(device: torch.device, sizes: Sizes) -> list[dict[str, Any]]:
    """Every network, precision and mode, in the order of their worth; what is not begun after SECONDS says so."""
    return each(device, sizes, sizes.modes, measured, time.monotonic() + SECONDS)


def parts(device: torch.device, sizes: Sizes) -> list[dict[str, Any]]:
    """The parts of the same updates, each alone."""
    return each(device, sizes, ("alone",), parts_of, time.monotonic() + SECONDS)


def each(
    device: torch.device, sizes: Sizes, modes: tuple[str, ...], measure: Callable, until: float
) -> list[dict[str, Any]]:
    rows = []
    for precision in WORDS:
        for name, overrides, precisions in sizes.networks:
            if precision not in precisions.split():
                continue
            cfg = configs.build([*overrides.split(), f"trainer.precision={WORDS[precision]}"])
            row = {"what": name, "precision": precision, "T": cfg.data.seq_len, "B": cfg.data.batch_size}
            row["N"] = cfg.recipe.hidden_size
            for mode in modes:
                with matmuls(precision):
                    call = partial(measure, cfg, precision, mode, device, sizes.rounds)
                    rows.append(attempt(row | {"mode": mode}, call, until))
    return rows


def measured(cfg: DictConfig, precision: str, mode: str, device: torch.device, rounds: int) -> dict[str, Any]:
    """ms of an update, seconds of the first three, which compile, and the most bytes that were allocated after them."""
    update = Update(cfg, device)
    if mode == "default":
        compile_(update.task.network, mode)
    elif mode == "graph":
        update.task.on_device = Graph(update.task, update.data, Cuda())
    began = time.perf_counter()
    for _ in range(3):
        update()
    next(update.task.network.parameters()).sum().item()  # waits for the device
    first = time.perf_counter() - began
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    ms = device_ms(update, device, rounds, flush=False)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return {"ms": ms, "first_seconds": first, "peak_bytes": peak}


def parts_of(cfg: DictConfig, precision: str, mode: str, device: torch.device, rounds: int) -> dict[str, Any]:
    """ms of the matrix products of all layers, of all recurrences, and of clipping, Adam and the bound; and their sum.

    Batch norm, dropout, embedding, head and loss are in no part.
    """
    update = Update(cfg, device)
    update()  # for the gradients
    layers = [layer for layer in update.task.network.modules() if isinstance(layer, IndRNNLayer)]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    pairs = [operands(layer, update.T, update.B, dtype, device) for layer in layers]
    shape = update.T, update.B, layers[0].hidden_size  # the same of all layers
    walks = [device_ms(one_pass(what, *shape, device, dtype), device, rounds) for what in PASSES]
    found = {
        "products_ms": device_ms(partial(all_products, pairs), device, rounds, flush=False),
        "recurrences_ms": len(layers) * sum(walks),
        "finish_ms": device_ms(update.task.apply_gradients, device, rounds, flush=False),
    }
    return found | {"sum_ms": sum(found.values())}


def operands(layer: IndRNNLayer, T: int, B: int, dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, ...]:
    """x, dz and W of a layer, for its own products: what it reads is not in the cache already."""
    x, dz = (torch.randn(T, B, width, dtype=dtype, device=device) for width in (layer.input_size, layer.hidden_size))
    return x, dz, layer.weight_ih.detach().to(dtype)


def all_products(pairs: list[tuple[torch.Tensor, ...]]) -> None:
    for x, dz, W in pairs:
        products(x, dz, W)


def against_parts(rows: list[dict[str, Any]], alone: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of ``updates``, each with the sum of its parts and ms / sum where both were measured."""
    sums = {(x["what"], x["precision"]): x["sum_ms"] for x in alone if "sum_ms" in x}
    found = []
    for row in rows:
        total = sums.get((row["what"], row["precision"]))
        ratio = row["ms"] / total if "ms" in row and total else None
        found.append(row | {"sum_ms": total, "ratio": ratio})
    return found
