"""W&B listens to a run: same metric names in every task, x-axis in updates. Nothing here is read by a table.

wandb is imported where a run logs to it and not before: a machine without it trains all the same.
"""

import contextlib
import difflib
import functools
import inspect
import logging
import netrc
import os
import socket
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger, WandbLogger

from indrnn import files
from indrnn.errors import UserError, positive
from indrnn.training.kinds import check_kind

MODES = ("online", "offline", "shared", "disabled", "dryrun", "run")  # of wandb.Settings

log = logging.getLogger(__name__)


def imported() -> ModuleType:
    """wandb; ImportError where it is not installed."""
    os.environ.setdefault("WANDB_SILENT", "true")  # read at the import: its greetings would bury the bars
    import wandb.errors

    return wandb


@functools.cache  # once for all runs of a sweep
def say_missing(reason: str) -> None:
    log.warning("W&B cannot be imported (%s): runs go on without it.", reason)


def gone() -> tuple[type[Exception], ...]:
    """What is raised when W&B's own process has died."""
    return (imported().errors.Error, ConnectionError, TimeoutError)


class Listener(WandbLogger):
    """W&B's logger that falls silent, instead of ending the run, when W&B's own process has died.

    Args:
        every: updates between what ``training.dials`` tells; none, and it tells nothing.
        others: as for WandbLogger.
    """

    deaf = False

    def __init__(self, *arguments: Any, every: int | None = None, **others: Any):
        super().__init__(*arguments, **others)
        self.every = every

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


def mode_of(wandb: ModuleType) -> str:
    """online for who has a key and a network, else offline; WANDB_MODE has the last word."""
    settings = wandb.setup().settings
    return os.environ.get("WANDB_MODE") or mode_with(settings.api_key, settings.base_url)


@functools.cache  # once for all runs of a process
def mode_with(key: str | None, address: str) -> str:
    """The mode for W&B's server at an address; who has no key never waits for it, and others two seconds at most."""
    server = urlsplit(address)
    if not key and not in_netrc(server.hostname):
        return "offline"
    try:
        socket.create_connection((server.hostname, server.port or (80 if server.scheme == "http" else 443)), 2).close()
        return "online" if imported().login(prompt=False) else "offline"
    except (OSError, imported().errors.Error) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        log.warning("W&B does not let us in (%s): runs are logged offline, for make wandb-sync.", reason)
        return "offline"


def in_netrc(host: str | None) -> bool:
    try:
        return netrc.netrc().authenticators(host or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False


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
        logger = instantiate(cfg, **words, settings=settings, **(labels or {}))
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
    for word in ("project", "group", "job_type", "name"):
        check_kind(f"logger.{word}", cfg.get(word), str | None)
    check_kind("logger.save_dir", cfg.get("save_dir"), str)
    check_kind("logger.every", cfg.get("every"), int | None)
    if cfg.get("every") is not None:
        positive(**{"logger.every": cfg.every})
    words = inspect.signature(wandb.init).parameters
    if any(word.kind is word.VAR_KEYWORD for word in words.values()):  # one that takes any
        return
    takes = {*inspect.signature(WandbLogger.__init__).parameters, *words, "_target_", "every"}
    for word in set(cfg) - takes:
        near = difflib.get_close_matches(word, takes, 1)
        raise UserError(f"logger.{word}: W&B takes no such word{f' (did you mean {near[0]}?)' if near else ''}.")


def stop_listening(logger: Logger | None, metrics: dict[str, float], update: int, summary: dict[str, str]) -> None:
    """Send test metrics and what stands in the summary, and close W&B's run: the next one here gets its own."""
    if logger:
        wandb = imported()
        logger.log_metrics(metrics | {"update": update}, step=update)
        try:
            if not logger.deaf:
                logger.experiment.summary.update(summary)
            wandb.finish()
        except gone():  # the next run of this process gets a W&B of its own
            with contextlib.suppress(*gone()):
                wandb.teardown()
            wandb.run = None
