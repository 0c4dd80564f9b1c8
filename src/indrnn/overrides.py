"""What is typed on a command line decides something, or it is refused: a mistyped word would train in silence.

Words of data, model and task need no look here: they are arguments of classes, which know their own.
"""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from indrnn.errors import UserError

READERS = ("data", "model", "task", "trainer")  # what recipe is written for
UNREAD = "\0unread"  # a value that nobody has


def refuse_unread(cfg: DictConfig, overrides: Iterable[str], known: DictConfig, conf: Path) -> None:
    """Raise UserError where an override says what nothing in the config reads.

    A recipe is read by whatever interpolates it, directly or through other words of it. Words of a schedule that
    another has replaced may stay: tables give a row's patience at every profile.

    Args:
        cfg: as composed.
        overrides: those that it was composed with.
        known: any other composed config; its nodes, and what ``trainer`` and ``machine`` have there, are all there are.
        conf: the folder of the configs.
    """
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        node, *rest = path = path_of(override)
        if node not in known:
            if node in cfg:  # a group such as experiment leaves no node of its own
                raise UserError(f"{override.input_line}: nothing reads {node}{meant(path, known)}.")
        elif node in ("trainer", "machine") and rest and rest[0] not in known[node]:
            raise UserError(f"{override.input_line}: nothing reads {node}.{rest[0]}{meant(path, known)}.")
        elif node == "recipe" and rest and rest[0] not in of_schedules(conf) and not is_read(cfg, ".".join(path)):
            name = ".".join(path)
            what = meant(path, cfg) if override.is_add() or override.is_force_add() else instead(rest[-1], cfg)
            raise UserError(f"{override.input_line}: model {class_of(cfg)} with this task reads no {name}{what}.")


def refuse_no_choice(words: Iterable[str], conf: Path) -> None:
    """Raise UserError where a word on the command line leaves a group of conf/ without a choice, such as logger=null.

    Hydra has a traceback for it. What is no override, such as an option, is passed over.
    """
    for word in words:
        try:
            override = OverridesParser.create().parse_override(word)
        except HydraException:
            continue
        group = conf / override.key_or_group
        if (
            override.key_or_group
            and group.is_dir()
            and not override.is_delete()
            and not isinstance(override.value(), str | list | ChoiceSweep)
        ):
            there = ", ".join(sorted(path.stem for path in group.glob("*.yaml")))
            raise UserError(f"{word}: {override.key_or_group} is one of {there}.")


def path_of(override: Override) -> list[str]:
    """Where in a config an override writes."""
    name = override.package or override.key_or_group.replace("/", ".")
    return name.removeprefix("_global_.").split(".")


def is_read(cfg: DictConfig, name: str) -> bool:
    """Whether the nodes that a run is built from are others when a word of the recipe is."""
    probe = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
    try:
        before = resolved(probe)
        OmegaConf.update(probe, name, UNREAD, merge=False, force_add=True)
        return resolved(probe) != before
    except OmegaConfBaseException:  # a reader that needs something else of it
        return True


def resolved(cfg: DictConfig) -> list[Any]:
    nodes = (cfg.get(node) for node in READERS)
    return [OmegaConf.to_container(node, resolve=True) for node in nodes if OmegaConf.is_config(node)]


def of_schedules(conf: Path) -> set[str]:
    """The words of a recipe that some schedule reads."""
    texts = (path.read_text(encoding="utf-8") for path in (conf / "schedule").glob("*.yaml"))
    return {word for text in texts for word in re.findall(r"recipe\.(\w+)", text)}


def meant(path: list[str], cfg: DictConfig) -> str:
    """The nearest word that there is, as the end of a sentence; empty where none is near."""
    name = ".".join(path)
    nodes = {"recipe", "trainer", "machine", path[0]} & {node for node in cfg if OmegaConf.is_dict(cfg[node])}
    words = [f"{node}.{key}" for node in sorted(nodes) for key in cfg[node]] + [*cfg] * (len(path) == 1)
    words = [word for word in words if word != name]
    ends = {word.rpartition(".")[2]: word for word in words}
    close = [ends[end] for end in difflib.get_close_matches(path[-1], ends, 1)]
    return nearest(name, words) or (f" (did you mean {close[0]}?)" if close else "")


def nearest(name: str, words: list[str]) -> str:
    """The nearest of some words, as the end of a sentence; empty where none is near."""
    near = difflib.get_close_matches(name, words, 1)
    return f" (did you mean {near[0]}?)" if near else ""


def instead(word: str, cfg: DictConfig) -> str:
    """The model's own word, where it has one of the same name, as the end of a sentence."""
    return f": say model.{word}" if word in cfg.model else ": leave it out"


def class_of(cfg: DictConfig) -> str:
    return str(cfg.model.get("_target_")).rpartition(".")[2]
