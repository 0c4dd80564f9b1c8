"""One update: everything that one is, in one place. Shapes: T time, B batch, M input, K outputs."""

import math
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from indrnn.data import noise_seed
from indrnn.errors import UserError
from indrnn.layers import IndRNNUnit
from indrnn.networks import Network
from indrnn.networks.last_transition import last_norms
from indrnn.tasks.schedules import Constant

CLIP = {"value": nn.utils.clip_grad_value_, "norm": nn.utils.clip_grad_norm_}


class Diverged(Exception):
    """The training loss is no longer a number."""


class Updating(LightningModule):
    """Makes updates of a network, with Lightning's Trainer or without.

    A subclass gives ``measure``, and ``validation_due``.

    Args:
        network: maps (T, B, M) to (T, B, K).
        schedule: of ``indrnn.tasks.schedules``; holds the learning rate.
        seed: of the run; noise of update i is a function of (seed, i).
        weight_decay: Adam's coupled L2 on matrices; not on u and biases (P19 Section 5.1), nor on batch norm.
        decay_u: put it on u, too.
        decay_norm: put it on the scale of batch norm, too: of ``all`` (the authors' MNIST code), or of the ``last``,
            which a LastTransition adds (their language code).

    Set from outside: ``clip``, the largest gradient, none if 0 or None, by ``clip_by``: of each value, or the norm of
    all; ``bf16``, whether losses are computed under autocast to bfloat16.
    """

    clip: float | None = None
    clip_by = "norm"
    bf16 = False

    def __init__(
        self,
        network: Network,
        schedule: Constant,
        seed: int,
        weight_decay: float = 0.0,
        decay_u: bool | None = None,
        decay_norm: str | None = None,
    ):
        super().__init__()
        self.automatic_optimization = False  # Lightning's word for: training_step makes the whole update
        if weight_decay < 0:
            raise UserError(f"weight_decay must not be negative, but is {weight_decay}.")
        if decay_norm not in (None, "all", "last"):
            raise UserError(f"task.decay_norm must be all, last or null, not {decay_norm}.")
        self.network, self.schedule, self.seed = network, schedule, seed
        self.weight_decay, self.decay_u, self.decay_norm = weight_decay, bool(decay_u), decay_norm
        self.update = 0
        self._adam: torch.optim.Adam | None = None
        self._adam_state: dict[str, Any] | None = None  # of a checkpoint, until the optimizer exists
        # sums of loss and metric since the last validation, and how many
        self.register_buffer("train_sum", torch.zeros(3, dtype=torch.float64))

    def measure(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The loss to be minimised and the metric, both means over the batch."""
        raise NotImplementedError

    @property
    def adam(self) -> torch.optim.Adam:
        if self._adam is None:
            units = [module for module in self.network.modules() if isinstance(module, IndRNNUnit)]
            norms = [module for module in self.network.modules() if isinstance(module, nn.BatchNorm1d)]
            norms = {"all": norms, "last": last_norms(self.network), None: []}[self.decay_norm]
            also = {id(unit.u) for unit in units if self.decay_u} | {id(norm.weight) for norm in norms}
            matrices = [p for p in self.network.parameters() if p.ndim > 1 or id(p) in also]
            vectors = [p for p in self.network.parameters() if p.ndim <= 1 and id(p) not in also]
            groups = [{"params": matrices, "weight_decay": self.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
            self._adam = torch.optim.Adam(groups, lr=self.schedule.rate(0), fused=True)
            if self._adam_state is not None:
                mine = self._adam.state_dict()["param_groups"]  # of the config, whatever a checkpoint says
                self._adam.load_state_dict({"state": self._adam_state["state"], "param_groups": mine})
                self._adam_state = None
            gpu = self.device.type == "cuda"  # where a graph reads the rate; a checkpoint may be of another device
            rate = torch.zeros((), device=self.device) if gpu else self.schedule.rate(0)
            for group in self._adam.param_groups:
                group |= {"lr": rate, "capturable": gpu}
        return self._adam

    def reload_adam(self, state: dict[str, Any]) -> None:
        """Take up a state of ``adam``, in place: a graph reads it where it was."""
        parameters = [p for group in self.adam.param_groups for p in group["params"]]
        for number, found in state["state"].items():
            for name, value in found.items():
                self.adam.state[parameters[number]][name].copy_(value)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.adam

    def make_update(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Make the next update: loss, gradients, clipping, Adam, the bound on u.

        Returns loss and metric of the batch before it; gradients stay, clipped, until the next.
        """
        torch.manual_seed(noise_seed(self.seed, self.update, self.global_rank))
        for group in self.adam.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(self.schedule.rate(self.update))
            else:
                group["lr"] = self.schedule.rate(self.update)
        loss, metric = self.on_device(batch)
        self.update += 1
        return loss, metric

    def on_device(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """What the device computes for an update; on a GPU it is recorded as one graph (``indrnn.training.graph``).

        Nothing in here waits for the device, and what changes from update to update are tensors.
        """
        self.adam.zero_grad()
        loss, metric = self.measured(batch)
        with torch.autograd.set_multithreading_enabled(False):  # a GPU's backward here, not handed to another thread
            if self._trainer is None:
                loss.backward()
            else:
                self.manual_backward(loss)  # several devices make their gradients common in there
        self.apply_gradients()
        loss = loss.detach()
        self.train_sum += self.sums(loss, metric)
        return loss, metric

    def alike(self, batch: tuple[Any, ...]) -> bool:
        """Whether a batch, or what was drawn of it, is of the kind that a graph is made for, if its shape is, too."""
        return True

    def measured(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """``measure`` in the precision of the run."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.measure(batch)

    def apply_gradients(self) -> None:
        """Clip the gradients, step, bring every u back into its bound."""
        if self.clip:
            CLIP[self.clip_by]([p for group in self.adam.param_groups for p in group["params"]], self.clip)
        self.adam.step()
        self.network.constrain_()

    def training_step(self, batches: list[tuple[Tensor, ...]], batch_idx: int) -> None:
        """Make an update of each batch; Lightning and its callbacks hear of them together."""
        for batch in batches:
            self.make_update(batch)
            if self.update % 50 == 0 or self.validation_due:  # each look waits for the device
                if not math.isfinite(self.train_sum[0]):
                    raise Diverged

    def sums(self, loss: Tensor, metric: Tensor) -> Tensor:
        """What an update adds to ``train_sum``, over all devices."""
        measured = torch.stack([loss.double(), metric.double(), torch.ones_like(self.train_sum[0])])
        return measured if self._trainer is None else self.trainer.strategy.reduce(measured, reduce_op="mean")
