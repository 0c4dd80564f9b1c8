"""How much memory an update of a language model takes, P18 Section 5.3.1, counted without making it.

The count runs on torch's meta device, where tensors have sizes and no values: no time, no memory, the same on every
machine. Shapes: T time, B columns. ``python -m indrnn.bench.cpu.memory OVERRIDES`` makes one real update on the CPU and
prints the bytes that its process had at most; ``make bench`` holds that against the count.
"""

import contextlib
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from indrnn import configs, markdown_text
from indrnn.errors import UserError
from indrnn.tasks.language import LanguageModel

CHARACTERS = "experiment=ptb_char"
NETWORKS = {
    "plain, 6 layers x 2000": (CHARACTERS, "model=indrnn"),
    "residual, 11 layers x 2000": (CHARACTERS, "model=res_indrnn", "model.num_layers=11"),
    "residual, 21 layers x 2000": (CHARACTERS, "model=res_indrnn", "model.num_layers=21"),
    "dense (8, 6, 4), k = 256, words": ("experiment=ptb_word", "model=dense_indrnn"),
}
LENGTHS = (50, 150)
CHECKED = "residual, 21 layers x 2000"  # the network that a real update is made of, at the longer T
CHECKED_COLUMNS = (2, 6)
STATE_BYTES = 16  # of a parameter: itself, its gradient, Adam's two averages
GIB = 2**30
CARDS = {"P100": 16 * GIB, "1080 Ti": 11 * GIB}  # of 2018: NVIDIA's Tesla and GeForce


def rows() -> list[dict[str, Any]]:
    """Every network at every T with and without ``save_memory``, at its published B."""
    found = []
    for name, overrides in NETWORKS.items():
        for T in LENGTHS:
            for save in (False, True):
                cfg = configs.build([*overrides, f"data.seq_len={T}", f"machine.save_memory={save}"])
                found.append({"network": name, "T": T, "B": cfg.data.batch_size, "save_memory": save} | needed(cfg))
    return found


def needed(cfg: DictConfig) -> dict[str, Any]:
    """Bytes of an update: what it keeps for the backward pass and has at most, by token; all in all; where it fits."""
    task = build(cfg, "meta")
    tokens = cfg.data.seq_len * cfg.data.batch_size
    kept, peak = count(task, cfg.data.seq_len, cfg.data.batch_size)
    parameters = sum(p.numel() for p in task.network.parameters())
    total = STATE_BYTES * parameters + peak
    return {
        "parameters": parameters,
        "kept_per_token": kept / tokens,
        "peak_per_token": peak / tokens,
        "state_bytes": STATE_BYTES * parameters,
        "bytes": total,
        "fits": {card: total <= size for card, size in CARDS.items()},
    }


def build(cfg: DictConfig, device: str) -> LanguageModel:
    """The task of a config, with room for its gradients; not by ``run.build``, which lets malloc keep freed memory."""
    with torch.device(device):
        network = instantiate(cfg.model)
        network.save_memory = cfg.machine.save_memory
        task: LanguageModel = instantiate(cfg.task, network=network)
        for parameter in task.network.parameters():
            parameter.grad = torch.full_like(parameter, 0.0)  # zeros would not be there until they are written to
    return task


def loss(task: LanguageModel, T: int, B: int) -> Tensor:
    """The loss of one batch, whatever stands in it; the state after it stays with the task."""
    x = torch.zeros(B, T, dtype=torch.long, device=next(task.network.parameters()).device)
    return task.measure((x, x, None, task.carried is None))[0]


def count(task: LanguageModel, T: int, B: int) -> tuple[int, int]:
    """Bytes besides parameters and their gradients: kept for the backward pass, and at the peak of an update."""
    task.carried = None
    with saved(task.network) as sizes:
        loss(task, T, B)
    with Live(task.network) as live:
        loss(task, T, B).backward()
    return sum(sizes.values()), live.peak


@contextlib.contextmanager
def saved(network: torch.nn.Module) -> Iterator[dict[int, int]]:
    """The bytes of every storage that is saved for the backward pass, each once, parameters left out."""
    own, sizes, storages = storages_of(network), {}, []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            sizes[storage._cdata] = storage.nbytes()
            storages.append(storage)  # so that no other one takes its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


class Live(TorchDispatchMode):
    """Follows the bytes of all storages that torch's operators make, until they die; ``network``'s own do not count.

    What an operator needs inside itself and gives back before it returns is not seen.
    """

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network  # alive, so that no other storage takes the address of one of its own
        self.own, self.alive = storages_of(network), {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._see(tensor.untyped_storage())
        return result

    def _see(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.own or key in self.alive:
            return

        def dies(_: Any) -> None:
            self.now -= size
            del self.alive[key]

        self.alive[key] = weakref.ref(storage, dies)
        self.now += size
        self.peak = max(self.peak, self.now)


def storages_of(network: torch.nn.Module) -> set[int]:
    """The storages of all parameters, gradients and buffers."""
    parameters = list(network.parameters())
    tensors = [*parameters, *network.buffers(), *(p.grad for p in parameters if p.grad is not None)]
    return {tensor.untyped_storage()._cdata for tensor in tensors}


# The count against real updates


def checks() -> list[dict[str, Any]]:
    """Peak resident memory of real updates at two B: bytes a further token takes, counted and measured."""
    T, (few, many) = LENGTHS[-1], CHECKED_COLUMNS
    found = []
    for save in (False, True):
        overrides = [*NETWORKS[CHECKED], f"data.seq_len={T}", f"machine.save_memory={save}"]
        task = build(configs.build(overrides), "meta")
        peaks = [(count(task, T, B)[1], resident([*overrides, f"data.batch_size={B}"])) for B in (few, many)]
        counted, measured = ((after - before) / (T * (many - few)) for before, after in zip(*peaks, strict=True))
        found.append({"network": CHECKED, "T": T, "B": [few, many], "save_memory": save}
                     | {"counted_per_token": counted, "measured_per_token": measured})  # fmt: skip
    return found


def resident(overrides: list[str]) -> int:
    """Peak resident bytes of a process that makes one update.

    Raises:
        UserError: it failed.
    """
    # What is freed goes back at once and pages are small, so that what is resident is what is in use.
    plain = {"MALLOC_MMAP_THRESHOLD_": "65536", "THP_MEM_ALLOC_ENABLE": "0"}
    command = [sys.executable, "-m", "indrnn.bench.cpu.memory", *overrides]
    done = subprocess.run(command, env=os.environ | plain, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        raise UserError(f"An update could not be made: {(done.stderr.strip() or 'no output').splitlines()[-1]}")
    return int(done.stdout)


def main() -> int:
    cfg = configs.build(sys.argv[1:])
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    loss(build(cfg, "cpu"), cfg.data.seq_len, cfg.data.batch_size).backward()
    with open(
        "/proc/self/status", encoding="utf-8", errors="replace"
    ) as lines:  # getrusage also counts what the parent had
        print(next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")))
    return 0


# The section of make bench


def markdown(counted: list[dict[str, Any]], checked: list[dict[str, Any]]) -> list[str]:
    heads = ["network", "T", "save_memory", "kept", "at the peak", "GiB in all"]
    heads += [f"{card}, {size // GIB} GiB" for card, size in CARDS.items()]
    cells = [
        [x["network"], str(x["T"]), yes(x["save_memory"]), f"{x['kept_per_token']:,.0f}"]
        + [f"{x['peak_per_token']:,.0f}", f"{x['bytes'] / GIB:.2f}"]
        + ["fits" if x["fits"][card] else "does not fit" for card in CARDS]
        for x in counted
    ]
    lines = ["", f"## Memory of an update of a language model, B = {counted[0]['B']}", ""]
    lines += markdown_text.bullets(
        [
            "Counted over the tensors of an update on torch's meta device, float32. Kept: bytes per token for the "
            "backward pass. At the peak: bytes per token of everything alive at once, the insides of the part that is "
            f"computed anew and gradients of activations included. In all: the peak and {STATE_BYTES} bytes a "
            "parameter (itself, gradient, Adam).",
            "Cards of 2018 (Tesla P100, GeForce GTX 1080 Ti), whose driver takes some of their memory. The paper had "
            "to cut 21 layers to 11 at T = 150.",
        ]
    )
    lines += ["", *markdown_text.aligned(heads, cells)]
    if checked:
        x = checked[0]
        lines += ["", f"Peak resident memory of a process that makes one update ({x['network']}, T = {x['T']}):"]
        lines += [f"bytes that each further token takes, from B = {x['B'][0]} to B = {x['B'][1]}.", ""]
        lines += markdown_text.aligned(
            ["save_memory", "counted", "measured", "measured / counted"],
            [
                [yes(x["save_memory"]), f"{x['counted_per_token']:,.0f}", f"{x['measured_per_token']:,.0f}"]
                + [f"{x['measured_per_token'] / x['counted_per_token']:.3f}"]
                for x in checked
            ],
        )
    return lines


def yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    sys.exit(main())
