"""W&B is told which run it hears: name, group, job type and tags, from what a user typed."""

from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger

from indrnn import record
from indrnn.training.sitting import Sitting
from indrnn.training.wandb_listener import listener

DEFAULTS = {"experiment": "quick/adding", "model": "indrnn"}  # of conf/config.yaml

LONGEST = 128  # characters of a name in W&B


def choices(overrides: list[str]) -> dict[str, str]:
    """Which experiment and model a run is, by their names in conf/."""
    if HydraConfig.initialized():
        found = HydraConfig.get().runtime.choices
        return {group: found[group] for group in DEFAULTS}
    words = dict(word.split("=", 1) for word in overrides if "=" in word)
    return {group: words.get(group, default) for group, default in DEFAULTS.items()}


def about(overrides: list[str]) -> dict[str, str]:
    """experiment without its profile, profile, and model_name (``model`` is a node of the config)."""
    chosen = choices(overrides)
    profile, _, experiment = chosen["experiment"].rpartition("/")
    return {"experiment": experiment, "profile": profile or "paper", "model_name": chosen["model"]}


def labels(logger: DictConfig, overrides: list[str], seed: int) -> dict[str, Any]:
    """name, group, job_type and tags of a run: what the node ``logger`` says, else from the overrides.

    A run of a table has the table as its group and the cell as its name, which the plan gives it.
    """
    of_run = about(overrides)
    more = [word for word in record.told(overrides) if word.partition("=")[0] not in (*DEFAULTS, "seed")]
    name = ", ".join([of_run["model_name"], *more, f"seed {seed}"])
    group = of_run["experiment"] if of_run["profile"] == "paper" else f"{of_run['profile']}/{of_run['experiment']}"
    tags = [of_run["profile"], of_run["experiment"], of_run["model_name"]]
    return {
        "name": logger.get("name") or name[:LONGEST],
        "group": logger.get("group") or group,
        "job_type": logger.get("job_type") or of_run["experiment"],
        "tags": [*dict.fromkeys([*tags, *[logger.group] * bool(logger.get("group")), *(logger.get("tags") or [])])],
    }


def cell(logger: DictConfig, overrides: list[str]) -> dict[str, str]:
    """row and column of a run, by which dashboards group and filter: of its table, else model and experiment."""
    of_run = about(overrides)
    return {"row": logger.get("row") or of_run["model_name"], "column": logger.get("column") or of_run["experiment"]}


def listen(sitting: Sitting) -> Logger | None:
    """The logger of conf/logger for a sitting of a run; further sittings go on with the same run of W&B."""
    cfg, overrides = sitting.cfg, sitting.overrides
    identity = f"{sitting.signature}-{sitting.started[:19].replace(':', '')}"
    told = sitting.config | about(overrides) | {"signature": sitting.signature, "parameters": sitting.parameters}
    told |= cell(cfg.logger, overrides)
    return listener(cfg.logger, identity, told, labels(cfg.logger, overrides, cfg.seed))
