"""How fast the recurrence, the layer and a whole update are on one CPU core, as ratios taken in one process.

Shapes: T time, B batch, M input, N neurons. Times are minima over rounds in which everything that is compared takes
its turn, in milliseconds: what a busy machine adds hits both sides of a ratio. ``cache`` is where the arrays of a row
can lie, because a kernel that waits for memory is another one than a kernel that computes.
"""

import contextlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from indrnn import configs
from indrnn.layers import IndRNNLayer
from indrnn.products import library, linear
from indrnn.recurrence import recurrence
from indrnn.training import run

SHAPES = ((784, 32, 128), (1000, 50, 128), (5000, 50, 128))
MNIST = ("experiment=smnist", "model=indrnn")
LENGTHS = (256, 512, 1024)  # of P19 Figure 2
BARS = {"recurrence forward": 1.3, "recurrence backward": 1.6, "layer step": 1.4, "update": 1.8}
PARTS = {  # how torch's profiler calls it begins: what it is
    "aten::mm": "matrix products",
    "aten::addmm": "matrix products",
    "mkldnn::_linear_pointwise": "matrix products",
    "indrnn::normed_recurrence_backward": "recurrence, batch norm, dropout: backward",
    "GeneratedBackwardFor_indrnn_normed_recurrence": "recurrence, batch norm, dropout: forward",
    "indrnn::normed_recurrence": "recurrence, batch norm, dropout: forward",
    "Optimizer.": "Adam",
    "aten::_fused_adam_": "Adam",
    "aten::fill_": "zeros for gradients",
}


CACHES = Path("/sys/devices/system/cpu/cpu0/cache")  # of Linux: its Documentation/ABI/testing/sysfs-devices-system-cpu


def cache(size: int) -> str:
    """The first cache of a core that has room for so many bytes: L1, L2, ...; memory; unknown where none is listed.

    The last one may be shared with other cores, and with what else runs on them.
    """
    rooms = {}
    for place in CACHES.glob("index*"):
        with contextlib.suppress(OSError):  # a virtual machine may list caches without a size
            level, kind, room = (
                (place / name).read_text(encoding="utf-8").strip() for name in ("level", "type", "size")
            )
            if kind != "Instruction":
                rooms[int(level)] = int(room.removesuffix("K")) << 10
    return next((f"L{level}" for level in sorted(rooms) if size <= rooms[level]), "memory") if rooms else "unknown"


def sizes(T: int, B: int, N: int, arrays: int) -> dict[str, Any]:
    """What a row says of its arrays: T, B, N, and where so many float32 ones of (T, B, N) lie."""
    return {"T": T, "B": B, "N": N, "cache": cache(arrays * T * B * N * 4)}


def best(calls: dict[str, Callable[[], Any]], rounds: int, warm_up: int = 2) -> dict[str, float]:
    """The least time of every call, in ms: ``warm_up`` rounds that do not count, then ``rounds`` in turn."""
    times = dict.fromkeys(calls, float("inf"))
    for i in range(rounds + warm_up):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            ended = time.perf_counter()
            if i >= warm_up:
                times[name] = min(times[name], (ended - began) * 1e3)
    return times


def recurrences(rounds: int) -> list[dict[str, Any]]:
    """Forward against a torch.add that reads one array and writes one, backward against one that reads two.

    The two sides of a ratio take turns alone and read arrays of their own: then what one reads has left the cache as
    far as what the other reads. Where all take turns on the same arrays, some find theirs there that others just left.
    """
    rows = []
    for T, B, N in SHAPES:
        x, dh, a, b = (torch.randn(T, B, N) for _ in range(4))
        u = torch.rand(N, requires_grad=True)
        h = recurrence(x.requires_grad_(), u)
        backward = partial(torch.autograd.grad, h, (x, u), dh, retain_graph=True)
        pairs = {
            "forward": (partial(recurrence, x.detach(), u.detach()), partial(torch.add, a, 1.0), 2),
            "backward": (backward, partial(torch.add, a, b), 3),
        }
        for name, (call, add, arrays) in pairs.items():
            times = best({name: call, "add": add}, rounds if T < 5000 else max(3, rounds // 3))
            what = f"recurrence {name}"
            rows.append({"what": what} | sizes(T, B, N, 2 * arrays) | against(what, times[name], times["add"]))
    return rows


def layer_steps(rounds: int) -> list[dict[str, Any]]:
    """Forward and backward of one layer, M = N = 128 without batch norm, against W x, dz W and dzᵀ x."""
    rows = []
    for T, B, N in SHAPES:
        layer = IndRNNLayer(N, N, 1.0, (0.0, 1.0))
        x, dy = torch.randn(T, B, N, requires_grad=True), torch.randn(T, B, N)
        times = best(
            {
                "layer": partial(forward_backward, layer, x, dy),
                "products": partial(products, x.detach(), dy, layer.weight_ih.detach()),
            },
            rounds if T < 5000 else max(3, rounds // 3),
        )
        arrays = 4  # x, h, dy, dx: the gradient of h is never written whole
        rows.append({"what": "layer step"} | sizes(T, B, N, arrays)
                    | against("layer step", times["layer"], times["products"]))  # fmt: skip
    return rows


def forward_backward(cell: nn.Module, x: Tensor, dy: Tensor) -> tuple[Tensor, ...]:
    """The gradients of the input and of all parameters."""
    return torch.autograd.grad(cell(x)[0], [x, *cell.parameters()], dy)


def products(x: Tensor, dz: Tensor, W: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three matrix products of a layer's update, by the library that the layer takes."""
    return linear(x, W), linear(dz, W.t()), linear(dz.flatten(0, 1).t(), x.flatten(0, 1).t())


class Update:
    """One update of plain-6 on MNIST, that of train: batch norm after, dropout 0.1, clipping, Adam, bound."""

    def __init__(self, T: int, B: int):
        _, self.task = run.build(configs.build([*MNIST, f"data.seq_len={T}", f"data.batch_size={B}"]))
        self.batch = torch.rand(B, T, 1) * 2 - 1, torch.randint(10, (B,))
        # Operands of its products that are not in the cache already, as in the network.
        self.arrays = [(torch.randn(T, B, 128), torch.randn(T, B, 128)) for _ in range(5)]

    def __call__(self) -> None:
        self.task.make_update(self.batch)

    @torch.no_grad()
    def products(self) -> None:
        """All its matrix products: those of layer 1 and of the head are less than a hundredth."""
        for (x, dz), layer in zip(self.arrays, self.task.network.layers[1:], strict=True):
            products(x, dz, layer.weight_ih)

    def shares(self, updates: int = 5) -> dict[str, float]:
        """Percent of an update that each part takes, from torch's profiler."""
        with profile(activities=[ProfilerActivity.CPU]) as found:
            for _ in range(updates):
                self()
        shares: dict[str, float] = {}
        for event in found.key_averages():
            part = next((part for name, part in PARTS.items() if event.key.startswith(name)), "everything else")
            shares[part] = shares.get(part, 0.0) + event.self_cpu_time_total
        total = sum(shares.values())
        return {part: 100 * shares[part] / total for part in sorted(shares, key=shares.get, reverse=True)}


def update(rounds: int, T: int = 784, B: int = 32) -> dict[str, Any]:
    """A whole update of plain-6 against its matrix products, with each part's share; both also by torch's own mm."""
    step = Update(T, B)
    calls = {"update": step, "products": step.products}
    times = best(calls | {f"{name}, torch": partial(by_torch, call) for name, call in calls.items()}, rounds)
    arrays = 12  # h and y of six layers, kept for the backward pass
    row = {"what": "update"} | sizes(T, B, 128, arrays) | against("update", times["update"], times["products"])
    row |= {"library": library(), "torch_ms": times["update, torch"], "torch_products_ms": times["products, torch"]}
    return row | {"shares": step.shares()}


def by_torch(call: Callable[[], None]) -> None:
    """With matrix products by torch's mm, whatever is faster here (``indrnn.products``)."""
    enabled = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # its context manager sets TF32, too, and warns of it
    try:
        call()
    finally:
        torch.backends.mkldnn.enabled = enabled


def networks(rounds: int, B: int = 32, N: int = 128) -> list[dict[str, Any]]:
    """Forward and backward of IndRNN against torch's LSTM, GRU, RNN(relu) and the plain loop; M = N."""
    rows = []
    for T in LENGTHS:
        x, dy = torch.randn(T, B, N, requires_grad=True), torch.randn(T, B, N)
        cells: dict[str, nn.Module] = {
            "IndRNN, 1 layer": IndRNNLayer(N, N, 1.0, (0.0, 1.0)),
            "IndRNN, 2 layers": TwoLayers(N, N),
            "nn.LSTM": nn.LSTM(N, N),
            "nn.GRU": nn.GRU(N, N),
            "nn.RNN(relu)": nn.RNN(N, N, nonlinearity="relu"),
            "IndRNN, 1 layer, Python loop": IndRNNLayer(N, N, 1.0, (0.0, 1.0), backend="reference"),
        }
        times = best({name: partial(forward_backward, cell, x, dy) for name, cell in cells.items()}, rounds)
        rows += [{"what": name} | sizes(T, B, N, 4) | against("", ms, times["IndRNN, 1 layer"])
                 for name, ms in times.items()]  # fmt: skip
    return rows


class TwoLayers(nn.Module):
    """Two IndRNN layers."""

    def __init__(self, M: int, N: int):
        super().__init__()
        self.first, self.second = IndRNNLayer(M, N, 1.0, (0.0, 1.0)), IndRNNLayer(N, N, 1.0, (0.0, 1.0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.second(self.first(x)[0])


def against(what: str, ms: float, yardstick: float) -> dict[str, Any]:
    """A time, what it is compared with, their ratio, and the bar where there is one."""
    return {"ms": ms, "yardstick_ms": yardstick, "ratio": ms / yardstick, "bar": BARS.get(what)}
