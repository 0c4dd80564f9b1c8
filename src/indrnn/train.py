"""The Hydra entrance: one run, or a sweep of runs.

python -m indrnn.train experiment=quick/adding model=indrnn seed=0
"""

import errno
import logging
import math
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, InstantiationException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from indrnn import configs, files, overrides, record, runs
from indrnn.errors import UserError, in_one_line, speak_utf8

# Huge pages for large tensors: long sequences would wait for the page tables. Torch reads this at its first tensor.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

OF_EXTRAS = {"hydra/sweeper/optuna": "sweep", "hydra/launcher/submitit": "cluster", "hydra/launcher/ray": "cluster"}

log = logging.getLogger(__name__)


class RunError(CompactHydraException):
    """One sentence for the user: Hydra prints it without a traceback, and the other runs of a sweep go on."""


@hydra.main(config_path=str(files.ROOT / "conf"), config_name="config", version_base="1.3")
def main(cfg: DictConfig) -> float:
    """Train one run unless it is done; returns its ``objective``, for sweepers that optimise."""
    return run(cfg, HydraConfig.get().overrides.task)


def run(cfg: DictConfig, typed: list[str]) -> float:
    """What ``main`` does with a config and the overrides that made it; RunError for all that a user can mend."""
    from indrnn.training.parent import ends_with_its_parent
    from indrnn.training.run import train  # imports torch, which takes seconds: a mistyped word is told before
    from indrnn.training.sitting import folder_of

    speak_utf8()  # here, too: a launcher's workers are processes of their own
    began = time.time_ns()
    try:
        configs.refuse_unread(cfg, typed)
        with ends_with_its_parent():
            done = train(cfg)
    except (UserError, InstantiationException, OmegaConfBaseException) as error:
        raise RunError(sentence(error)) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(f"No space left to write {error.filename}: make some and start the same command.") from None
        if error.filename is None:  # no file of the user's
            raise
        raise RunError(f"{error.filename}: {error.strerror}.") from None
    if cfg.machine.progress:
        of_many = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
        log.info(ended(done, folder_of(cfg), began, of_many))
    return objective(done, cfg)


def ended(done: dict[str, Any], folder: Path, began: int, of_many: bool) -> str:
    """What a run came to, where it lies and what lies there; and when that was, where it was done before.

    Args:
        began: of this command, in nanoseconds since 1970.
        of_many: of a sweep, where the same files would be named again and again.
    """
    lines = [record.summary(done), runs.shown(folder) if of_many else runs.where(folder)]
    if (folder / "run.json").stat().st_mtime_ns < began:
        lines.insert(0, runs.before(folder, done))
    return "\n".join(lines)


def objective(done: dict[str, Any], cfg: DictConfig) -> float:
    """What a sweeper that optimises is told of a run: its best validation metric.

    A run that diverged, or that was stopped before its first validation, is as bad as can be: an infinity, on the
    other side where higher is better. (Optuna orders infinities; a NaN ends its whole sweep with an error.)
    """
    from hydra.utils import get_object

    lower = getattr(get_object(cfg.task._target_), "lower_is_better", True)  # true, where a function makes the task
    values = [value for name, value in done["metrics"].items() if name.startswith("val/")]
    if done["status"] == "diverged" or not values:
        return math.inf if lower else -math.inf
    return min(values)


def sentence(error: Exception) -> str:
    """What a config is wrong in: Hydra wraps what a class raises, and both it and OmegaConf add lines of detail."""
    if isinstance(error, OmegaConfBaseException):
        return f"{str(error).splitlines()[0]} (in {error.full_key})."
    for told in (error, error.__cause__):
        if isinstance(told, UserError):
            return str(told)
    return f"{str(error).splitlines()[0]} {str(error.__cause__ or '').strip().partition(chr(10))[0]}".strip()


def told(error: Exception) -> str | None:
    """In words, what went wrong before or between the runs, in composing or in a sweep's folder; None for a bug."""
    if isinstance(error, MissingConfigException):
        for name, extra in OF_EXTRAS.items():
            if re.match(rf"(In .*: )?Could not (load|find) '{name}", str(error)):
                return f"{name} is not installed here: run `make setup EXTRAS={extra}`."
        # Choices of Hydra's own groups lie in packages: it lists them itself.
        if error.missing_cfg_file and not str(error.missing_cfg_file).startswith("hydra/"):
            return f"{configs.sentence(error)}."
    if isinstance(error, CompactHydraException):  # some are OSErrors, too
        cause = error.__cause__
        if isinstance(cause, ConfigAttributeError | ConfigKeyError):
            return f"{configs.sentence(error)}."
        return "\n".join(map(str, [error, cause] if isinstance(cause, OmegaConfBaseException) else [error]))
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, YAMLError | UnicodeDecodeError | OmegaConfBaseException):
        return f"A config file cannot be read: {in_one_line(error)} (in: {' '.join(sys.argv[1:])})."
    return f"{error.filename}: {error.strerror}." if isinstance(error, OSError) and error.filename else None


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its starts to its makers
    everything = "HYDRA_FULL_ERROR" in os.environ
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then hands its errors on; else it prints a traceback for most
    speak_utf8()
    try:
        overrides.refuse_no_choice(sys.argv[1:], configs.CONF)
        main()
    except Exception as error:
        if everything or (text := told(error)) is None:
            raise
        sys.exit(text)
    except KeyboardInterrupt:
        sys.exit("Stopped: the same command goes on from the last checkpoint.")
