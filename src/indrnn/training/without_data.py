"""The record of a run whose data are not there, written by whoever found that out before it was started."""

import torch
from omegaconf import DictConfig

from indrnn import record
from indrnn.training.run import build
from indrnn.training.sitting import Sitting, folder_of, only_one


def note(cfg: DictConfig, overrides: list[str]) -> None:
    """Write what the run would: no_data, and how far an earlier sitting came. A final record stays.

    Args:
        overrides: that the config was composed with.

    Raises:
        UserError: the config is of no run, or another process trains it.
    """
    folder = folder_of(cfg)
    with only_one(folder):
        done = record.read(folder)
        if done and done["status"] in record.FINAL:
            return
        with torch.device("meta"):
            sitting = Sitting(cfg, *build(cfg))
        sitting.overrides = record.told(overrides)
        sitting.end("no_data", {})
