"""Configs: composed as Hydra composes them, and the part of one that says what a run is, with its signature.

Neither torch nor Lightning is imported, so that tables and plans start fast.
"""

import copy
import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from indrnn import overrides as words
from indrnn.errors import UserError
from indrnn.files import ROOT

CONF = ROOT / "conf"
UNSIGNED = ("machine", "logger", "hydra")
PROFILES = {
    "quick": "small enough for two CPU cores in minutes; claims are judged, the paper's decimals are not, because they "
    "are about converged models",
    "fast": "the paper's data, model and protocol with at most a tenth of its updates and examples",
    "paper": "as published",
}
# The address that was signed first, of every class that has moved since: a move renames no run.
SIGNED_AS = {
    "indrnn.networks.dense.DenseIndRNN": "indrnn.dense.DenseIndRNN",
    "indrnn.tasks.dynamic.Dynamic": "indrnn.dynamic.Dynamic",
    "indrnn.tasks.language.LanguageModel": "indrnn.language.LanguageModel",
    "indrnn.tasks.recognition.Recognition": "indrnn.recognition.Recognition",
    "indrnn.tasks.schedules.Constant": "indrnn.schedules.Constant",
    "indrnn.tasks.schedules.OneCycle": "indrnn.schedules.OneCycle",
    "indrnn.tasks.schedules.Plateau": "indrnn.schedules.Plateau",
    "indrnn.tasks.schedules.Step": "indrnn.schedules.Step",
}

# What a null stands for, where the signature has to hold the value and not the null.
OmegaConf.register_new_resolver("or", lambda value, otherwise: otherwise if value is None else value, replace=True)
# How many a list names; null of null. What is no list counts as one: its class says that it has to be a list.
OmegaConf.register_new_resolver(
    "count", lambda words: None if words is None else len(words) if OmegaConf.is_list(words) else 1, replace=True
)
# One of two words, by whether something is given.
OmegaConf.register_new_resolver(
    "given", lambda value, then, otherwise: otherwise if value is None else then, replace=True
)
# Where a sweep of Hydra writes: below machine.runs, wherever it is started.
OmegaConf.register_new_resolver("in_repository", lambda path: str(ROOT / str(path)), replace=True)


def build(overrides: Iterable[str]) -> DictConfig:
    """The composed config of some overrides, also inside a running Hydra app; UserError where they do not fit.

    Composing takes a tenth of a second, and a table asks for the same configs several times: they are remembered.
    """
    return copy.deepcopy(_composed(CONF, tuple(overrides)))


@functools.cache
def _composed(conf: Path, overrides: tuple[str, ...]) -> DictConfig:
    outer, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        words.refuse_no_choice(overrides, conf)
        for override in OverridesParser.create().parse_overrides(list(overrides)):
            if override.is_sweep_override():
                raise UserError(f"A planned run takes one value, not a sweep: {override.input_line}.")
        with initialize_config_dir(str(conf), job_name="plan", version_base="1.3"):
            return compose("config", list(overrides))
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise UserError(f"{sentence(error)} (in: {' '.join(overrides)})") from None
    finally:
        GlobalHydra.instance().hydra = outer


def refuse_unread(cfg: DictConfig, overrides: Iterable[str]) -> None:
    """Raise UserError where an override of a composed config says what nothing in there reads."""
    words.refuse_unread(cfg, overrides, _composed(CONF, ()), CONF)


def sentence(error: Exception) -> str:
    """What Hydra says in several lines of overrides that do not compose, as one, without its full stop."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).partition("/")
        there = sorted(
            path.relative_to(CONF / group).with_suffix("").as_posix() for path in (CONF / group).rglob("*.yaml")
        )
        return f"There is no {group} {name!r}{words.nearest(name, there)}; there are: {', '.join(there)}"
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} is not an override"
    cause = error.__cause__
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        meant = words.meant(cause.full_key.split("."), _composed(CONF, ()))
        return f"There is no {cause.full_key} in the config{meant}"
    return str(cause or error).splitlines()[0].rstrip(".")


def signed(cfg: DictConfig) -> dict[str, Any]:
    """The resolved part of a config that says what a run is: all but machine, logger, hydra, trainer.max_time."""
    what = OmegaConf.masked_copy(cfg, [key for key in cfg if key not in UNSIGNED])
    config = OmegaConf.to_container(what, resolve=True)
    config["trainer"].pop("max_time", None)
    return config


def signature(config: dict[str, Any]) -> str:
    """First 12 hex digits of sha256 over canonical JSON: keys sorted, nulls dropped, numbers as floats.

    Addresses of classes count as those that were signed first (SIGNED_AS).
    """

    def canonical(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(k): canonical(v) for k, v in value.items() if v is not None}
        if isinstance(value, list | tuple):
            return [canonical(v) for v in value]
        if isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        return SIGNED_AS.get(value, value) if isinstance(value, str) else value

    text = json.dumps(canonical(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def moved(config: dict[str, Any]) -> dict[str, Any]:
    """A config of a record with the addresses that its classes have today."""
    today = {old: new for new, old in SIGNED_AS.items()}

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: renamed(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [renamed(entry) for entry in value]
        return today.get(value, value) if isinstance(value, str) else value

    return renamed(config)
