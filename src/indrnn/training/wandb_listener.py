"""W&B listens to a run: same metric names in every task, x-axis in updates. Nothing here is read by a table."""

import contextlib
import difflib
import functools
import inspect
import logging
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger, WandbLogger

from indrnn import files
from indrnn.errors import UserError, positive
from indrnn.training.kinds import check_kind
from indrnn.wandb_mode import gone, imported, mode_of

OURS = ("row", "column")  # words of the node ``logger`` that are told W&B in the run's config
MODES = ("online", "offline", "shared", "disabled", "dryrun", "run")  # of wandb.Settings

log = logging.getLogger(__name__)


@functools.cache  # once for all runs of a sweep
def say_missing(reason: str) -> None:
    log.warning("W&B cannot be imported (%s): runs go on without it.", reason)


class Listener(WandbLogger):
    """W&B's logger that falls silent, instead of ending the run, when W&B's own process has died.

    Args:
        every: updates between what ``training.dials`` tells; none, and it tells nothing.
        artifact_below: parameters; what a run with fewer leaves goes along as an artifact. None: no run's does.
        others: as for WandbLogger.
    """

    deaf = False

    def __init__(self, *arguments: Any, every: int | None = None, artifact_below: int | None = None, **others: Any):
        super().__init__(*arguments, **others)
        self.every, self.artifact_below = every, artifact_below

    def keeps(self, parameters: int) -> bool:
        """Whether what a finished run of so many parameters leaves goes along."""
        return not self.deaf and parameters < (self.artifact_below or 0)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if not self.deaf:
            try:
                super().log_metrics(metrics, step)
            except gone() as error:
                self.deaf = True
                log.warning("W&B is gone (%s): the run goes on without it.", type(error).__name__)

    def finalize(self, status: str) -> None:
        """Lightning calls this at the end of a fit; nothing is left to be said to one who is gone."""
        if not self.deaf:
            super().finalize(status)


def listener(
    cfg: DictConfig, identity: str, config: dict[str, Any], labels: dict[str, Any] | None = None
) -> Logger | None:
    """The logger of conf/logger, with the run's config; None for logger=csv, or where W&B is missing or cannot start.

    Args:
        cfg: the node ``logger``.
        identity: the W&B run that further sittings of this run go on with.
        config: resolved, with its signature.
        labels: of ``training.listening``, in place of what the node says of name, group, job type and tags.

    Raises:
        UserError: as ``refuse_unknown``.
    """
    if "_target_" not in cfg:
        return None
    try:
        wandb = imported()
    except ImportError as error:
        say_missing(str(error))
        return None
    refuse_unknown(cfg, wandb)
    folder = files.ROOT / cfg.save_dir
    folder.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(silent=True, console="off", init_timeout=30)
    try:
        words = {"save_dir": str(folder), "id": identity, "resume": "allow", "mode": mode_of(wandb)}
        node = OmegaConf.masked_copy(cfg, [word for word in cfg if word not in OURS])
        logger = instantiate(node, **words, settings=settings, **(labels or {}))
        logger._wandb_init.pop("anonymous", None)  # Lightning passes it unasked, and W&B warns that it means nothing
        logger.log_hyperparams(config)
        logger.experiment.define_metric("*", step_metric="update")
    except (wandb.errors.CommError, wandb.errors.UsageError) as error:
        log.warning("W&B does not answer (%s): the run goes on without it.", str(error).splitlines()[0])
        wandb.teardown()
        return None
    return logger


def refuse_unknown(cfg: DictConfig, wandb: ModuleType) -> None:
    """Raise UserError where WANDB_MODE or the node ``logger`` says a word that W&B does not know."""
    mode = os.environ.get("WANDB_MODE")
    if mode and mode not in MODES:
        raise UserError(f"WANDB_MODE must be one of {', '.join(MODES)}, not {mode!r}.")
    for word in ("project", "group", "job_type", "name", *OURS):
        check_kind(f"logger.{word}", cfg.get(word), str | None)
    check_kind("logger.save_dir", cfg.get("save_dir"), str)
    for word in ("every", "artifact_below"):
        check_kind(f"logger.{word}", cfg.get(word), int | None)
    if cfg.get("every") is not None:
        positive(**{"logger.every": cfg.every})
    words = inspect.signature(wandb.init).parameters
    if any(word.kind is word.VAR_KEYWORD for word in words.values()):  # one that takes any
        return
    takes = {*inspect.signature(WandbLogger.__init__).parameters, *words, *OURS, "_target_", "every", "artifact_below"}
    for word in set(cfg) - takes:
        near = difflib.get_close_matches(word, takes, 1)
        raise UserError(f"logger.{word}: W&B takes no such word{f' (did you mean {near[0]}?)' if near else ''}.")


def stop_listening(
    logger: Logger | None, metrics: dict[str, float], update: int, summary: dict[str, Any], folder: Path | None = None
) -> None:
    """Send test metrics, summary and artifact, and close W&B's run: the next one of this process gets its own.

    Args:
        metrics: of the test.
        summary: what stands for the whole run: the best validation, which is not the last, status, record.
        folder: of the run, whose weights and record become an artifact; none where they are not to.
    """
    if logger:
        wandb = imported()
        if metrics:
            logger.log_metrics(metrics | {"update": update}, step=update)
        try:
            if not logger.deaf:
                logger.experiment.summary.update(summary)
                if folder:
                    logger.experiment.log_artifact(artifact(wandb, folder))
            wandb.finish()
        except gone():  # the next run of this process gets a W&B of its own
            with contextlib.suppress(*gone()):
                wandb.teardown()
            wandb.run = None


def artifact(wandb: ModuleType, folder: Path) -> Any:
    """Weights and record of a finished run, by its signature: ``indrnn.load`` reads the folder that it unpacks to."""
    found = wandb.Artifact(f"run-{folder.name}", type="run")
    for name in ("run.json", "weights.pt"):
        found.add_file(str(folder / name), skip_cache=True, policy="immutable")  # no copies: they stay where they are
    return found
