"""LightningModules by kind of problem. Shapes: T time, B batch, M input, K outputs; batch first at this door.

What makes a run the same bits after a kill: every update is a function of the weights, the optimizer, the schedule and
(seed, update). ``Task.state`` holds the first three; data and noise are drawn anew for each update.

On several devices (``indrnn.training.ranks``) each rank trains on its part of the batch; sums of losses are made common
after every update and each rank validates on the whole split, so that all hold the same state and decide the same.
"""

import copy
import math
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor

from indrnn.errors import positive
from indrnn.layers.norm_dropout import recompute_batch_norm
from indrnn.networks import Network
from indrnn.tasks.fits import need, need_adam, need_keys, need_like, number, whole
from indrnn.tasks.off_states import Watched
from indrnn.tasks.schedules import Constant
from indrnn.tasks.updating import Updating

CALIBRATION_EXAMPLES = 2000


class Task(Updating):
    """Training of a network: updates, validations that choose the best weights, checkpoints.

    A subclass sets ``metric`` (also the name in records, curves and W&B) and gives ``measure``.

    Args:
        max_updates: budget, in optimizer steps.
        val_every: updates between validations; the last one follows the last update.
        watch_states: at every validation, measure the states of IndRNN layers (``off_states``) for the curve.
        others: as for Updating.
    """

    metric: str
    lower_is_better = True
    carries_state = False  # from batch to batch
    carried: Any = None  # the state after the last batch, where it is carried on
    together = 1  # updates; set from outside

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
        decay_norm: str | None = None,
    ):
        super().__init__(network, schedule, seed, weight_decay, decay_u, decay_norm)
        positive(max_updates=max_updates, val_every=val_every)
        self.max_updates, self.val_every = max_updates, val_every
        self.watched = Watched(network) if watch_states else None
        self.stopped = False  # by the schedule, before max_updates
        self.best: dict[str, Any] | None = None
        self.curve: list[dict[str, float]] = []
        self._stretch: tuple[int, float] | None = None  # the update and the time at which the last one began

    # How far it is

    def next_updates(self) -> list[range]:
        """The updates until the next validation, in stretches that are made together."""
        end = min((self.update // self.val_every + 1) * self.val_every, self.max_updates)
        now, together = time.monotonic(), 1
        if self._stretch:
            since, then = self._stretch
            in_a_second = (self.update - since) / max(now - then, 1e-9)
            together = max(1, int(min(self.together, in_a_second)))
        self._stretch = self.update, now
        return [range(start, min(start + together, end)) for start in range(self.update, end, together)]

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
        self.take_statistics(self.trainer.datamodule.calibration_batches(CALIBRATION_EXAMPLES))

    def take_statistics(self, batches: Iterable[tuple[Tensor, ...]]) -> None:
        """What the device computes for that; on a GPU it is recorded as one graph, as an update is."""
        recompute_batch_norm(self.network, map(self.calibrating, batches), carry=self.carries_state)

    def calibrating(self, batch: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, Tensor]:
        """What the network reads of a batch, (T, B, M); with lengths (B,) where it is padded."""
        return self.time_first(batch[0].to(self.device))

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        self._log("val", batch)

    def test_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        self._log("test", batch)

    def _log(self, split: str, batch: tuple[Tensor, ...]) -> None:
        loss, metric = self.measured(batch)
        values = {f"{split}/loss": loss, f"{split}/{self.metric}": metric}
        self.log_dict(values, batch_size=len(batch[0]), on_epoch=True, logger=False, sync_dist=True)

    def on_validation_end(self) -> None:
        """Write a row of the curve, keep the best weights, ask the schedule; only a loss and a metric that are numbers
        count."""
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
        counts = self._counts(row)
        sign = 1 if self.lower_is_better else -1
        if counts and (self.best is None or sign * value < sign * self.best["value"]):
            self.best = {"value": value, "update": self.update, "network": self._weights()}
            if self.schedule.needs_best_optimizer:
                self.best["optimizer"] = copy.deepcopy(self.adam.state_dict())
        decision = self.schedule.observe(sign * value if counts else math.inf)
        if decision == "reload" and self.best:
            self.network.load_state_dict(self.best["network"])
            if self.schedule.needs_best_optimizer:
                self.reload_adam(self.best["optimizer"])
        self.stopped = decision == "stop"
        self.trainer.should_stop = self.finished

    def _counts(self, row: dict[str, float]) -> bool:
        """Logits that are NaN have an error, too, that of always saying the first class: the loss tells."""
        return math.isfinite(row[f"val/{self.metric}"]) and math.isfinite(row["val/loss"])

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

    def check_state(self, state: dict[str, Any], batch_size: int) -> None:
        """Raise Unfit, with the name of a part, unless ``state`` is one of this task: then it can be taken up, and what
        follows is what would have followed. On the meta device, which has no optimizer, that is not looked at.

        Args:
            state: whatever a checkpoint has in the place of what ``state`` gave.
            batch_size: B of training.
        """
        need_keys(state, ("update", "stopped", "task", "optimizer", "schedule", "best", "curve"), "task")
        update, curve, best = state["update"], state["curve"], state["best"]
        need(whole(update, 0, self.max_updates), "update")
        need_like(state["task"], dict(self.state_dict()), "task")
        need(isinstance(curve, list) and all(isinstance(row, dict) for row in curve), "curve")
        for row in curve:
            need(all(isinstance(name, str) and type(value) in (int, float) for name, value in row.items()), "curve")
        last = {update} if update == self.max_updates and update else set()
        due = sorted({*range(self.val_every, update + 1, self.val_every), *last})
        made = [row.get("update") for row in curve]
        need(made == due or [*made, update] == due, "curve")  # the last one may be owed
        need(all(whole(made_at, 1, update) for made_at in made), "curve")
        need(all({"val/loss", f"val/{self.metric}"} <= set(row) for row in curve), "curve")
        need(isinstance(state["stopped"], bool), "stopped")
        need(not state["stopped"] or made == due and type(self.schedule).observe is not Constant.observe, "stopped")
        self._check_schedule(state["schedule"], update, len(curve))
        counted = {row["update"]: row[f"val/{self.metric}"] for row in curve if self._counts(row)}
        need((best is None) == (not counted), "best")
        if best is not None:
            also = ["optimizer"] * self.schedule.needs_best_optimizer
            need_keys(best, ("value", "update", "network", *also), "best")
            need(best["update"] in counted and best["value"] == counted[best["update"]], "best")
            need_like(best["network"], dict(self.network.state_dict()), "best.network")
        if self.device.type != "meta":
            groups, self._adam = self.adam.param_groups, None
            need_adam(state["optimizer"], groups, update, "optimizer")
            if best and "optimizer" in best:
                need_adam(best["optimizer"], groups, best["update"], "best.optimizer")

    def _check_schedule(self, state: Any, update: int, validations: int) -> None:
        mine = self.schedule.state_dict()
        need_keys(state, mine, "schedule")
        for name, value in mine.items():
            if isinstance(value, int):
                need(whole(state[name], 0, validations), f"schedule.{name}")
            else:
                need(number(state[name]) and state[name] > -math.inf, f"schedule.{name}")

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what ``state`` gave; on the meta device, which holds no numbers, how far it came."""
        if self.device.type != "meta":
            self.load_state_dict(state["task"])
        self.schedule.load_state_dict(state["schedule"])
        self.update, self.stopped = state["update"], state["stopped"]
        self.best, self.curve = state["best"], state["curve"]
        self._adam, self._adam_state = None, state["optimizer"]

    def chosen(self) -> dict[str, float]:
        """The validation that chose the weights, and its update; empty where none was a number."""
        if self.best is None:
            return {}
        return {f"val/{self.metric}": self.best["value"], "best_update": self.best["update"]}

    def predictions(self) -> dict[str, np.ndarray] | None:
        """What was answered to each test example, see ``indrnn.predictions``; None where that is too much to keep."""
        return None

    def load_best(self) -> None:
        """The weights that validation chose."""
        self.network.load_state_dict(self.best["network"])

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    def time_first(self, x: Tensor) -> Tensor:
        """(B, T, M) -> (T, B, M)."""
        return x.transpose(0, 1).contiguous()
