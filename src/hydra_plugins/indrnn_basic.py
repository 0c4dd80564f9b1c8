"""Hydra's own sweeper for ``-m``, which composes every job once more before the first one starts.

Jobs that differ in the seed alone are composed alike, as nothing is chosen by the seed: one of them is looked at here.
Asking again for runs that are done then costs half the time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore


@dataclass
class SeedsAlikeConf(BasicSweeperConf):
    """What hydra.sweeper.* may say: all that Hydra's own sweeper takes."""

    _target_: str = "hydra_plugins.indrnn_basic.SeedsAlike"


ConfigStore.instance().store(group="hydra/sweeper", name="indrnn_basic", node=SeedsAlikeConf, provider="indrnn")


class SeedsAlike(BasicSweeper):
    """``BasicSweeper`` that looks at one job of those with the same overrides but for ``seed``."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        alike = {tuple(word for word in job if not word.startswith("seed=")): job for job in batch}
        super().validate_batch_is_legal(list(alike.values()))
