"""Data that are not on this machine, found before the first run of many and told once."""

import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from indrnn import configs, digests, files, record
from indrnn.errors import NoData, UserError

if TYPE_CHECKING:
    from indrnn.tables.plan import Run

ELSEWHERE = ("submitit", "ray")  # launchers whose workers may have other disks


def launched_here(config: DictConfig) -> bool:
    """Whether the runs of a sweep are made on this machine, where their data would have to be."""
    return not any(word in config.hydra.launcher._target_ for word in ELSEWHERE)


def there(data: Mapping[str, Any]) -> bool:
    """Whether the ``data`` of a signed config are here, or can be made; without torch.

    What has a digest is here. Classes from elsewhere are not asked, which may take long, and what else is wrong with
    data the run itself says.
    """
    if str(data.get("_target_")) not in digests.OF or data.get("source") == "stand_in":
        return True
    try:
        return digests.of(data) is not None
    except (ValueError, TypeError, KeyError, OSError):  # such as a length of 1, or a file that cannot be read
        return True


def of(data: Mapping[str, Any]) -> str:
    """What the ``data`` of a signed config lack here, and how to get it, in a sentence; empty where nothing is missing.

    The data module is asked, where ``there`` says no.
    """
    if there(data):
        return ""
    return _asked(json.dumps({key: value for key, value in data.items() if key != "seed"}, sort_keys=True))


@functools.cache
def _asked(data: str) -> str:
    from hydra.utils import instantiate  # this, and the module, import torch, which takes seconds

    try:
        instantiate(json.loads(data) | {"seed": 0}).setup()
    except NoData as error:
        return str(error)
    except (UserError, HydraException, OSError):
        return ""
    return ""


def sorted_out(runs: "Iterable[Run]", folder: Path) -> "tuple[list[Run], list[str]]":
    """The planned runs whose data are here, and a sentence for each kind of data that the others lack.

    The others get a record that says no_data, as they would write it themselves: the tables read it there.
    """
    here, lacking = [], {}
    for run in runs:
        sentence = of(run.config["data"])
        if sentence and _noted(run, folder):
            lacking.setdefault(sentence, []).append(run)
        else:
            here.append(run)
    count = len(here) + sum(map(len, lacking.values()))
    return here, [f"{len(some)} of {count} runs are left out: {sentence}" for sentence, some in lacking.items()]


def _noted(run: "Run", folder: Path) -> bool:
    """Write the record of a run without data, if it has none yet; false where more is wrong with it, as it will say."""
    done = record.read(folder / run.signature)
    if done and done["status"] == "no_data":
        return True
    from indrnn.training.without_data import note

    cfg = configs.build([word for word in run.overrides if not word.startswith("seed=")])  # composed before
    cfg.seed = run.seed
    try:
        note(cfg, list(run.overrides))
    except (UserError, HydraException):
        return False
    return True


def of_job(cfg: DictConfig) -> str:
    """The same of a composed config; what is wrong with a config its own run says."""
    try:
        data = OmegaConf.to_container(cfg.data, resolve=True)
    except (OmegaConfBaseException, ValueError):
        return ""
    return of(data) if isinstance(data, dict) else ""


def refuse(jobs: Iterable[DictConfig]) -> None:
    """Raise UserError where a job of a sweep is not done and lacks its data: nothing has been started by then."""
    for job in jobs:
        if sentence := of_job(job):
            done = record.read(files.ROOT / job.machine.runs / configs.signature(configs.signed(job)))
            if not done or done["status"] not in record.FINAL:
                raise UserError(f"Nothing was started: {sentence}")
