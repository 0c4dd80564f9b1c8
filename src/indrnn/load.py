"""A trained network from the folder of its run, published or of this machine.

Shapes: B batch, T time, M input, N neurons, K outputs.

``indrnn.load(folder)`` is ``load`` here; batch first, as in data modules.
"""

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from indrnn import checksums, configs, files, record
from indrnn.errors import UserError
from indrnn.layers import IndRNNUnit
from indrnn.networks import Network
from indrnn.studies.memory_length import memory_length
from indrnn.tasks import LastStep, Task
from indrnn.training.tensors import load_tensors


class Answer(nn.Module):
    """What a run's task answers to raw inputs, x (B, T, M): numbers in and out are in the units of the data.

    Args:
        task: of the run.
        scales: how a csv was standardised, from the record; empty where data were not.
    """

    def __init__(self, task: Task, scales: dict[str, Any]):
        super().__init__()
        self.task = task
        for name, otherwise in (("mean", 0.0), ("std", 1.0), ("target_mean", 0.0), ("target_std", 1.0)):
            self.register_buffer(name, torch.tensor(scales.get(name, otherwise), dtype=torch.float64))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """x (B, T, M), lengths (B,) where sequences are padded -> (B, K); see ``Trained.predict``."""
        if x.is_floating_point():
            x = ((x - self.mean) / self.std).float()
        if isinstance(self.task, LastStep):
            y = self.task.scores(x, *() if lengths is None else (lengths,))
        else:
            y = self.task.network(x.transpose(0, 1), None, lengths)[0].transpose(0, 1)
        return (y * self.target_std + self.target_mean).float()


@dataclass(frozen=True)
class Trained:
    """A finished run: the network with the weights that validation chose, in eval mode on the CPU, config, record."""

    network: Network
    config: DictConfig
    record: dict[str, Any]
    answer: Answer

    @torch.no_grad()
    def predict(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The answers to sequences.

        Args:
            x: (B, T, M) as in the data, a csv's numbers as they stand in the file; (B, T) tokens of a text.
            lengths: (B,), whole numbers, where the sequences are padded to one length.

        Returns:
            (B, K): the number, in the units of the file; or a score for each class, of which the largest answers. Of a
            text (B, T, K): a score for each token that may follow.
        """
        return self.answer(x, lengths)

    @property
    def u(self) -> dict[str, Tensor]:
        """The recurrent weights u (N,) of every IndRNN layer by its name; none in a network of others."""
        layers = self.network.named_modules()
        return {name: layer.u.detach() for name, layer in layers if isinstance(layer, IndRNNUnit)}

    def memory(self, eps: float = 0.01) -> dict[str, Tensor]:
        """For how many steps each neuron keeps at least a share ``eps`` of its state, (N,) by layer; P19 Table 1."""
        return {name: memory_length(u, eps) for name, u in self.u.items()}

    def export(self, x: Tensor) -> torch.export.ExportedProgram:
        """``predict`` without lengths as a program that runs without this config: torch.export.save and load it.

        B is free; so is T, but for torch's own networks, whose steps are written out: there it is that of x. The
        recurrence stays one node: whoever loads the program imports ``indrnn.recurrence`` first.

        Args:
            x: an example, (B, T, M), with B and T above 1.
        """
        free = {0: torch.export.Dim("B")} | ({1: torch.export.Dim("T")} if self.u else {})
        with torch.no_grad(), warnings.catch_warnings():
            # torch says it of its own networks, whose list of weights is of their parameters
            warnings.filterwarnings("ignore", message="The tensor attributes? .*_flat_weights")
            return torch.export.export(self.answer, (x,), dynamic_shapes=(free,))


def load(folder: Path | str) -> Trained:
    """A finished run, ready to answer.

    Args:
        folder: holds run.json and weights.pt, such as ``runs/<signature>`` or ``results/runs/827a92e8814a``; from where
            one is or, if it is not there, in the repository.

    Raises:
        UserError: there is no record or no network, or it differs from SHA256SUMS beside it.
    """
    folder = Path(folder) if Path(folder).exists() else files.ROOT / folder
    entry, path = record.read(folder), folder / "weights.pt"
    if not entry or not path.exists():
        raise UserError(f"{folder} holds no trained network (run.json and weights.pt of a finished run).")
    if (folder / checksums.NAME).exists():
        expected, found = checksums.read(folder / checksums.NAME).get("weights.pt"), checksums.sha256(path)
        if found != expected:
            raise UserError(f"{path} is damaged: SHA256SUMS says {expected or 'nothing of it'}, and it has {found}.")
    cfg = OmegaConf.create(configs.moved(entry["config"]))
    task = instantiate(cfg.task, network=instantiate(cfg.model))
    try:
        task.network.load_state_dict(load_tensors(path))
    except Exception as error:  # a damaged file raises whatever the unpickler meets first
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".:")
        raise UserError(f"{path} is damaged, or of another network than its record's ({reason}).") from None
    answer = Answer(task, entry["data"]).eval()
    return Trained(task.network, cfg, entry, answer)


def load_network(folder: Path | str) -> Network:
    """The network of ``load`` alone."""
    return load(folder).network


class _Module(ModuleType):
    """This module, which can be called as its function: ``indrnn.load`` names the one or the other."""

    def __call__(self, folder: Path | str) -> Trained:
        return load(folder)


sys.modules[__name__].__class__ = _Module
