"""LightningModules by kind of problem. Shapes: T time, B batch, M input, K outputs; batch first at this door.

What makes a run the same bits after a kill: every update is a function of the weights, the optimizer, the schedule and
(seed, update). ``Task.state`` holds the first three; data and noise are drawn anew for each update.

On several devices (``indrnn.training.ranks``) each rank trains on its part of the batch; sums of losses are made common
after every update and each rank validates on the whole split, so that all hold the same state and decide the same.
"""

import copy
import math
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from indrnn.data import noise_seed
from indrnn.errors import UserError, positive
from indrnn.layers import IndRNNUnit
from indrnn.layers.norm_dropout import recompute_batch_norm
from indrnn.networks import Network
from indrnn.tasks.off_states import Watched
from indrnn.tasks.schedules import Constant

CALIBRATION_EXAMPLES = 2000
CLIP = {"value": nn.utils.clip_grad_value_, "norm": nn.utils.clip_grad_norm_}


class Diverged(Exception):
    """The training loss is no longer a number."""


class Task(LightningModule):
    """Training of a network: Adam, schedule, bound on u, choice of the best weights by validation.

    A subclass sets ``metric`` (also the name in records, curves and W&B) and gives ``measure``.

    Args:
        network: maps (T, B, M) to (T, B, K).
        schedule: of ``indrnn.tasks.schedules``; holds the learning rate.
        seed: of the run; noise of update i is a function of (seed, i).
        max_updates: budget, in optimizer steps.
        val_every: updates between validations; the last one follows the last update.
        weight_decay: Adam's coupled L2 on matrices; not on u, biases, batch norm (P19 Section 5.1).
        decay_u: put it on u, too.
        watch_states: at every validation, measure the states of IndRNN layers (``off_states``) for the curve.

    Set from outside: ``clip``, the largest gradient, none if 0 or None, by ``clip_by``: of each value, or the norm of
    all; ``bf16``, whether losses are computed under autocast to bfloat16.
    """

    metric: str
    lower_is_better = True
    carries_state = False  # from batch to batch
    clip: float | None = None
    clip_by = "norm"
    bf16 = False

    def __init__(
        self,
        network: Network,
        schedule: Constant,
        seed: int,
        max_updates: int,
        val_every: int,
        weight_decay: float = 0.0,
        decay_u: bool | None = None,
        watch_states: bool | None = None,
    ):
        super().__init__()
        self.automatic_optimization = False  # Lightning's word for: training_step makes the whole update
        positive(max_updates=max_updates, val_every=val_every)
        if weight_decay < 0:
            raise UserError(f"weight_decay must not be negative, but is {weight_decay}.")
        self.network, self.schedule, self.seed = network, schedule, seed
        self.max_updates, self.val_every, self.weight_decay = max_updates, val_every, weight_decay
        self.decay_u, self.watched = bool(decay_u), Watched(network) if watch_states else None
        self.update = 0
        self.stopped = False  # by the schedule, before max_updates
        self.best: dict[str, Any] | None = None
        self.curve: list[dict[str, float]] = []
        self._adam: torch.optim.Adam | None = None
        self._adam_state: dict[str, Any] | None = None  # of a checkpoint, until the optimizer exists
        # sums of loss and metric since the last validation, and how many
        self.register_buffer("train_sum", torch.zeros(3, dtype=torch.float64))

    def measure(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The loss to be minimised and the metric, both means over the batch."""
        raise NotImplementedError

    # One update

    def next_updates(self) -> range:
        """The updates until the next validation."""
        return range(self.update, min((self.update // self.val_every + 1) * self.val_every, self.max_updates))

    @property
    def validation_due(self) -> bool:
        return self.update % self.val_every == 0 or self.update == self.max_updates

    @property
    def validated(self) -> bool:
        """No validation is owed for the last update."""
        made = self.curve[-1]["update"] if self.curve else 0
        return made == self.update or not self.validation_due

    @property
    def finished(self) -> bool:
        """The last update was made and validated."""
        return self.stopped or (self.update == self.max_updates and self.validated)

    @property
    def adam(self) -> torch.optim.Adam:
        if self._adam is None:
            units = [module for module in self.network.modules() if isinstance(module, IndRNNUnit)]
            also = {id(unit.u) for unit in units if self.decay_u}
            matrices = [p for p in self.network.parameters() if p.ndim > 1 or id(p) in also]
            vectors = [p for p in self.network.parameters() if p.ndim <= 1 and id(p) not in also]
            groups = [{"params": matrices, "weight_decay": self.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
            self._adam = torch.optim.Adam(groups, lr=self.schedule.rate(0), fused=True)
            if self._adam_state is not None:
                self._adam.load_state_dict(self._adam_state)
                self._adam_state = None
        return self._adam

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.adam

    def make_update(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Make the next update: loss, gradients, clipping, Adam, the bound on u.

        Returns loss and metric of the batch before it; gradients stay, clipped, until the next.
        """
        torch.manual_seed(noise_seed(self.seed, self.update, self.global_rank))
        for group in self.adam.param_groups:
            group["lr"] = self.schedule.rate(self.update)
        self.adam.zero_grad()
        loss, metric = self.measured(batch)
        with torch.autograd.set_multithreading_enabled(False):  # a GPU's backward here, not handed to another thread
            if self._trainer is None:
                loss.backward()
            else:
                self.manual_backward(loss)  # several devices make their gradients common in there
        self.apply_gradients()
        self.update += 1
        return loss.detach(), metric

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

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        self.train_sum += self.sums(*self.make_update(batch))
        if self.update % 50 == 0 or self.validation_due:  # each look waits for the device
            if not math.isfinite(self.train_sum[0]):
                raise Diverged

    def sums(self, loss: Tensor, metric: Tensor) -> Tensor:
        """What an update adds to ``train_sum``, over all devices."""
        measured = torch.stack([loss.double(), metric.double(), torch.ones_like(self.train_sum[0])])
        return self.trainer.strategy.reduce(measured, reduce_op="mean")

    def training_means(self) -> dict[str, float]:
        """Loss and metric since the last validation."""
        loss, metric = (self.train_sum[:2] / self.train_sum[2]).tolist()
        return {"train/loss": loss, f"train/{self.metric}": metric}

    # Validation and test

    def on_validation_start(self) -> None:
        self.recalibrate()
        if self.watched:
            self.watched.begin()

    def on_test_start(self) -> None:
        self.recalibrate()

    def recalibrate(self) -> None:
        """Batch-norm statistics from fixed training examples, dropout off (DESIGN: batch norm at evaluation)."""
        batches = self.trainer.datamodule.calibration_batches(CALIBRATION_EXAMPLES)
        inputs = (self.time_first(x.to(self.device)) for x, *_ in batches)
        recompute_batch_norm(self.network, inputs, carry=self.carries_state)

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        self._log("val", batch)

    def test_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        self._log("test", batch)

    def _log(self, split: str, batch: tuple[Tensor, ...]) -> None:
        loss, metric = self.measured(batch)
        values = {f"{split}/loss": loss, f"{split}/{self.metric}": metric}
        self.log_dict(values, batch_size=len(batch[0]), on_epoch=True, logger=False, sync_dist=True)

    def on_validation_end(self) -> None:
        """Write a row of the curve, keep the best weights, ask the schedule."""
        row = {"update": self.update, "learning_rate": self.schedule.rate(self.update - 1)}
        row |= self.training_means()
        row |= {k: float(v) for k, v in self.trainer.callback_metrics.items() if k.startswith("val/")}
        if self.watched:
            row |= self.watched.end()
        self.train_sum.zero_()
        self.curve.append(row)
        for logger in self.loggers:
            logger.log_metrics(row, step=self.update)
        value = row[f"val/{self.metric}"]
        sign = 1 if self.lower_is_better else -1
        if math.isfinite(value) and (self.best is None or sign * value < sign * self.best["value"]):
            self.best = {"value": value, "update": self.update, "network": self._weights()}
            if self.schedule.needs_best_optimizer:
                self.best["optimizer"] = copy.deepcopy(self.adam.state_dict())
        decision = self.schedule.observe(sign * value)
        if decision == "reload" and self.best:
            self.network.load_state_dict(self.best["network"])
            self.adam.load_state_dict(copy.deepcopy(self.best["optimizer"]))
        self.stopped = decision == "stop"
        self.trainer.should_stop = self.finished

    # Checkpoints

    def state(self) -> dict[str, Any]:
        """All that the next update depends on, and the curve so far; tensors, numbers and strings only."""
        return {
            "update": self.update,
            "stopped": self.stopped,
            "task": self.state_dict(),
            "optimizer": self.adam.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best": self.best,
            "curve": self.curve,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what ``state`` gave; on the meta device, which holds no numbers, how far it came."""
        if self.device.type != "meta":
            self.load_state_dict(state["task"])
        self.schedule.load_state_dict(state["schedule"])
        self.update, self.stopped = state["update"], state["stopped"]
        self.best, self.curve = state["best"], state["curve"]
        self._adam, self._adam_state = None, state["optimizer"]

    def load_best(self) -> None:
        """The weights that validation chose."""
        self.network.load_state_dict(self.best["network"])

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    def time_first(self, x: Tensor) -> Tensor:
        """(B, T, M) -> (T, B, M)."""
        return x.transpose(0, 1).contiguous()
