"""A whole update on a GPU, eager, in a graph and compiled, in several precisions, against the sum of its parts.

Shapes: T time, B batch, M input, N neurons.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig

from indrnn import configs
from indrnn.bench.cpu.layers import products
from indrnn.bench.gpu import graphs
from indrnn.bench.gpu.kernels import PASSES, attempt, device_ms, matmuls, one_pass
from indrnn.bench.gpu.sizes import Sizes
from indrnn.errors import UserError
from indrnn.layers import IndRNNLayer
from indrnn.training import run
from indrnn.training.compiled import compile_
from indrnn.training.graph import WARM_UP, Graph, word_of

WORDS = {"fp32": "32-true", "tf32": "tf32", "bf16": "bf16-mixed"}  # of trainer.precision
COMPILE_SECONDS = 40  # that are left, where an update is compiled; it may take longer, but then little else is lost


class Update:
    """An update of train without Lightning, for a run with an IndRNN network.

    Args:
        mode: eager, graph, or default: compiled, of ``torch.compile``.
    """

    def __init__(self, cfg: DictConfig, device: torch.device, mode: str = "eager"):
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
        if mode == "default":
            compile_(self.task.network, mode)
        elif mode == "graph":
            self.task.on_device = Graph(self.task, self.data, graphs.Cuda())

    def begin(self) -> float:
        """Seconds of the first updates, which compile or record.

        Raises:
            UserError: recording failed: what follows would be something else.
        """
        began = time.perf_counter()
        for _ in range(WARM_UP + 1 + self.task.carries_state):  # the first of a text has no state yet: not recorded
            self()
        next(self.task.network.parameters()).sum().item()  # waits for the device
        if (word := word_of(self.task)) not in (None, "true"):
            raise UserError(word)
        return time.perf_counter() - began

    def __call__(self) -> None:
        self.task.make_update(self.batch)


def updates(device: torch.device, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Every network and precision, eagerly and in a graph."""
    return each(device, sizes, graphs.MODES, measured)


def compiled(device: torch.device, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """The same through torch.compile, which takes most of the time."""
    return each(device, replace(sizes, until=sizes.until - COMPILE_SECONDS), ("default",), measured)


def parts(device: torch.device, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """The parts of the same updates, each in a graph of its own."""
    return each(device, sizes, ("graph",), parts_of)


def each(device: torch.device, sizes: Sizes, modes: tuple[str, ...], measure: Callable) -> Iterator[dict[str, Any]]:
    """Rows of all networks in the first of their precisions, then in the second, and so on."""
    cases = [(i, *network) for network in sizes.networks for i in range(len(network[2].split()))]
    for i, name, overrides, precisions in sorted(cases, key=lambda case: case[0]):
        precision = precisions.split()[i]
        cfg = configs.build([*overrides.split(), f"trainer.precision={WORDS[precision]}"])
        row = {"what": name, "precision": precision, "T": cfg.data.seq_len, "B": cfg.data.batch_size}
        row["N"] = cfg.recipe.hidden_size
        for mode in modes:
            with matmuls(precision):
                call = partial(measure, cfg, precision, mode, device, sizes.rounds)
                found = attempt(row | {"mode": mode}, call, sizes.until)
            yield found


def measured(cfg: DictConfig, precision: str, mode: str, device: torch.device, rounds: int) -> dict[str, Any]:
    """ms of an update, seconds of the first ones, and the most bytes that were allocated after them."""
    update = Update(cfg, device, mode)
    first = update.begin()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    ms = device_ms(update, device, rounds, flush=False)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return {"ms": ms, "first_seconds": first, "peak_bytes": peak}


def parts_of(cfg: DictConfig, precision: str, mode: str, device: torch.device, rounds: int) -> dict[str, Any]:
    """ms of the matrix products of all layers, of all recurrences, and of clipping, Adam and the bound; and their sum.

    Batch norm, dropout, embedding, head and loss are in no part. Nothing that a part reads is in the cache already,
    as in the network: each layer has its own.
    """
    update = Update(cfg, device)
    update()  # for the gradients
    layers = [layer for layer in update.task.network.modules() if isinstance(layer, IndRNNLayer)]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    pairs = [operands(layer, update.T, update.B, dtype, device) for layer in layers]
    shape = update.T, update.B, layers[0].hidden_size  # the same of all layers
    walks = [one_pass(what, *shape, device, dtype) for what in PASSES for _ in layers]
    calls = {"products": partial(in_turn, [partial(products, *pair) for pair in pairs]),
             "recurrences": partial(in_turn, walks), "finish": update.task.apply_gradients}  # fmt: skip
    found = {}
    for name, call in calls.items():
        found[f"{name}_ms"] = device_ms(graphs.as_mode(call, mode), device, rounds, flush=False)
    return found | {"sum_ms": sum(found.values())}


def in_turn(calls: list[Callable[[], Any]]) -> None:
    for call in calls:
        call()


def operands(layer: IndRNNLayer, T: int, B: int, dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, ...]:
    """x, dz and W of a layer, for its own products: what it reads is not in the cache already."""
    x, dz = (torch.randn(T, B, width, dtype=dtype, device=device) for width in (layer.input_size, layer.hidden_size))
    return x, dz, layer.weight_ih.detach().to(dtype)


def against_parts(rows: list[dict[str, Any]], alone: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of updates, each with the sum of its parts and ms / sum where both were measured."""
    sums = {(x["what"], x["precision"]): x["sum_ms"] for x in alone if "sum_ms" in x}
    found = []
    for row in rows:
        total = sums.get((row["what"], row["precision"]))
        ratio = row["ms"] / total if "ms" in row and total else None
        found.append(row | {"sum_ms": total, "ratio": ratio})
    return found
