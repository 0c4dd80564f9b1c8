"""What W&B hears of a run on its way, beside its curve: how fast it learns and trains, and what becomes of u.

Only looked at, never changed: a run has the same bits with dials and without, and they are no part of its signature.
"""

import time
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn

from indrnn.layers import IndRNNUnit
from indrnn.tasks import Task
from indrnn.tasks.off_states import Watched
from indrnn.wandb_mode import imported

AT_BOUND = 1e-6  # relative: closer to its bound than this abs(u) is at it, where clipping put it


class Dials(Callback):
    """Tells W&B every so many updates, by the same names in every task:

    gradient_norm, of all parameters after clipping; learning_rate; examples_a_second since the last time; and of each
    IndRNN layer, counted from the input, ``layer1/u``, a histogram, and ``layer1/u_at_bound``, the share of abs(u) at
    the bound in %. At each validation also the states that are off, ``layer1/off_share`` and the like
    (``indrnn.tasks.off_states``).

    Args:
        logger: W&B's.
        every: updates.
        batch_size: B of training, over all devices.
    """

    def __init__(self, logger: Logger, every: int, batch_size: int):
        self.logger, self.every, self.batch_size = logger, every, batch_size
        self.watched: Watched | None = None
        self.told: int | None = None
        self.then = 0.0

    def on_train_batch_end(self, trainer: Trainer, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = time.monotonic()
        if self.told is None:  # the first updates of a sitting compile and record
            self.told, self.then = task.update, now
        elif task.update // self.every > self.told // self.every:
            rate = (task.update - self.told) * self.batch_size / max(now - self.then, 1e-9)
            self.told, self.then = task.update, now
            self.tell(task, {"examples_a_second": rate, **trained(task), **of_u(task)})

    # After the statistics of batch norm are computed anew, whose states are not those of the validation.
    def on_validation_batch_start(
        self, trainer: Trainer, task: Task, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if batch_idx == 0 and task.watched is None:
            self.watched = Watched(task.network)
            self.watched.begin()

    def on_validation_end(self, trainer: Trainer, task: Task) -> None:
        if self.watched:
            self.tell(task, self.watched.end())
            self.watched = None

    def on_exception(self, trainer: Trainer, task: Task, exception: BaseException) -> None:
        if self.watched:
            self.watched.end()
            self.watched = None

    def tell(self, task: Task, values: dict[str, Any]) -> None:
        if values:
            self.logger.log_metrics(values | {"update": task.update}, step=task.update)


def trained(task: Task) -> dict[str, float]:
    """Gradient norm and rate of the last update."""
    gradients = [p.grad for group in task.adam.param_groups for p in group["params"] if p.grad is not None]
    norm = float(nn.utils.get_total_norm(gradients)) if gradients else 0.0
    return {"gradient_norm": norm, "learning_rate": task.schedule.rate(task.update - 1)}


def of_u(task: Task) -> dict[str, Any]:
    """Distribution of u and the share at its bound, a layer each."""
    units = [module for module in task.network.modules() if isinstance(module, IndRNNUnit)]
    found: dict[str, Any] = {}
    for i, unit in enumerate(units, 1):
        u: Tensor = unit.u.detach()
        found[f"layer{i}/u"] = imported().Histogram(u.float().cpu().numpy())
        at_bound = u.abs() >= unit.bound * (1 - AT_BOUND)
        found[f"layer{i}/u_at_bound"] = 100 * float(at_bound.to(torch.float64).mean())
    return found
