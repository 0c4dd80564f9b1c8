"""Configs from elsewhere that name classes from elsewhere: they are code that ``source`` of a record does not cover."""

import hashlib
import logging
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)


def code_files(cfg: DictConfig) -> dict[str, dict[str, str]]:
    """For the record: ``code_files``, the hash of each file of --config-dir that names a class in use outside indrnn.

    First 12 hex digits of sha256, by the file's name there; nothing where there is no such file.
    """
    if not HydraConfig.initialized():
        return {}
    used, found = targets(OmegaConf.to_container(cfg, resolve=False)), {}
    for source in HydraConfig.get().runtime.config_sources:
        if source.schema != "file" or source.provider == "main":
            continue
        for path in sorted(Path(source.path).rglob("*.yaml")):
            for target in sorted(used & targets_of(path)):
                name = path.relative_to(source.path).as_posix()
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
                log.warning(
                    "%s is code: it names %s, which is not indrnn's (%s in the record).", path, target, found[name]
                )
    return {"code_files": found} if found else {}


def targets_of(path: Path) -> set[str]:
    """The classes outside indrnn that a file names; none where it is no yaml, which Hydra says of what it composes."""
    try:
        return targets(yaml.safe_load(path.read_bytes()))
    except yaml.YAMLError:
        return set()


def targets(node: Any) -> set[str]:
    """The classes outside indrnn that a config names."""
    if isinstance(node, list):
        return set().union(*map(targets, node))
    if not isinstance(node, dict):
        return set()
    own = node.get("_target_")
    named = {own} if isinstance(own, str) and not own.startswith("indrnn.") else set()
    return named.union(*map(targets, node.values()))
