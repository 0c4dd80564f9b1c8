"""Updates as train makes them, one at a time and without Lightning: for what looks at them closely."""

from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from indrnn.data import noise_seed
from indrnn.training import run


class Updates:
    """Data, task and optimizer of a run. The seed decides weights, batches and noise, as in a run.

    Args:
        cfg: of the run; its network is built on the CPU.
    """

    def __init__(self, cfg: DictConfig):
        self.data, self.task = run.build(cfg)
        self.clip = {"value": nn.utils.clip_grad_value_, "norm": nn.utils.clip_grad_norm_}[cfg.trainer.clip_by]
        self.largest, self.seed = cfg.trainer.clip, cfg.seed
        self.parameters = list(self.task.network.parameters())
        self.adam = self.task.configure_optimizers()
        self.task.train()

    def make(self, batch: Any) -> float:
        """Make the next update and return the loss before it; gradients stay, clipped, until the one after."""
        torch.manual_seed(noise_seed(self.seed, self.task.update))
        for group in self.adam.param_groups:
            group["lr"] = self.task.schedule.rate(self.task.update)
        self.adam.zero_grad()
        loss, _ = self.task.measure(batch)
        loss.backward()
        self.clip(self.parameters, self.largest)
        self.adam.step()
        self.task.network.constrain_()
        self.task.update += 1
        return loss.item()
