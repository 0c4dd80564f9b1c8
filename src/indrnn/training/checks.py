"""What a config may say of a run, looked at before anything is built: one sentence each."""

import math
import re
from typing import Any

from omegaconf import DictConfig, OmegaConf

from indrnn.errors import UserError, at_least, positive
from indrnn.training.kinds import check_arguments, check_kind, fits

NODES = ("data", "recipe", "model", "task", "trainer", "machine", "logger")
ACCELERATORS = ("cpu", "gpu", "cuda")
COUNTS = ("threads", "devices", "eval_factor", "together")  # of machine, at least 1
MACHINE = {
    "accelerator": str,
    "devices": int,
    "runs": str,
    "checkpoint_seconds": float,
    "progress": bool,
    "save_memory": bool,
    "compile": str | None,
    "graph": bool,
    "fresh": bool,
}
TRAINER = {"max_updates": int, "val_every": int, "precision": str, "clip": float | None, "clip_by": str | None}
NUMBER = r"(\d+(?:\.\d+)?)"
UNITS = re.compile(f"(?:{NUMBER}h)?(?:{NUMBER}m)?(?:{NUMBER}s?)?")


def check(cfg: DictConfig) -> None:
    """Raise UserError where a node is missing, a word unknown to its class, or a value of the wrong kind."""
    for node in NODES:
        if not isinstance(cfg.get(node), DictConfig):
            none = "; logger=csv is none" if node == "logger" else ""
            raise UserError(f"{node} must be what conf/ has there, not {cfg.get(node)!r}: leave it in{none}.")
    seed = cfg.get("seed")
    if not fits(seed, int) or not 0 <= seed < 2**32:
        raise UserError(f"seed must be a whole number of at least 0 and below 2^32, not {seed!r}.")
    for name, kinds in (("machine", MACHINE), ("trainer", TRAINER)):
        node = OmegaConf.to_container(cfg[name], resolve=True)
        for key, kind in kinds.items():
            check_kind(f"{name}.{key}", node.get(key), kind)
    check_machine(cfg.machine)
    at_least(0, **{"trainer.clip": cfg.trainer.get("clip") or 0})
    seconds(cfg.trainer.get("max_time"))
    for name in ("data", "model", "task"):
        check_arguments(name, OmegaConf.to_container(cfg[name], resolve=True))
    check_finite("", OmegaConf.to_container(cfg, resolve=True))


def check_finite(name: str, value: Any) -> None:
    """Raise UserError, with the key, where a config holds NaN or an infinite number, wherever it is."""
    if isinstance(value, dict | list):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            check_finite(f"{name}.{key}".lstrip("."), entry)
    elif isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name} must be a number, not {value}.")


def check_machine(machine: DictConfig) -> None:
    if machine.accelerator not in ACCELERATORS:
        raise UserError(f"machine.accelerator must be {', '.join(ACCELERATORS)}, not {machine.accelerator!r}.")
    positive(**{f"machine.{key}": machine.get(key) for key in COUNTS})
    for key in COUNTS:
        if machine[key] >= 2**31:
            raise UserError(f"machine.{key} must be below 2^31, not {machine[key]}.")
    at_least(0, **{"machine.checkpoint_seconds": machine.checkpoint_seconds})
    if not machine.runs.strip():
        raise UserError("machine.runs must name a folder, such as runs.")


def seconds(time: Any) -> float | None:
    """``trainer.max_time`` in seconds: a number of them, or hours, minutes, seconds such as 90, 1m, 2h, 1h30m."""
    if time is None:
        return None
    parts = UNITS.fullmatch(str(time).replace(" ", ""))
    if not parts or not any(parts.groups()):
        raise UserError(f"trainer.max_time must be seconds or a time such as 90, 1m, 2h, 1h30m, not {time!r}.")
    return sum(float(part or 0) * unit for part, unit in zip(parts.groups(), (3600, 60, 1), strict=True))
