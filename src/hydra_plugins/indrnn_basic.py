"""Hydra's own sweeper for ``-m``, which composes every job once more before the first one starts.

Jobs that differ in the seed alone are composed alike, as nothing is chosen by the seed: one of them is looked at here.
Asking again for runs that are done then costs half the time. When a sweep is over, its runs are compared, whoever
launched them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import CompactHydraException
from omegaconf import DictConfig


@dataclass
class SeedsAlikeConf(BasicSweeperConf):
    """What hydra.sweeper.* may say: all that Hydra's own sweeper takes."""

    _target_: str = "hydra_plugins.indrnn_basic.SeedsAlike"


ConfigStore.instance().store(group="hydra/sweeper", name="indrnn_basic", node=SeedsAlikeConf, provider="indrnn")


class SeedsAlike(BasicSweeper):
    """``BasicSweeper`` that looks at one job of those with the same overrides but for ``seed``, and ends in a table."""

    def sweep(self, arguments: list[str]) -> Any:
        made, launch = [], self.launcher.launch

        def kept(jobs: Sequence[Sequence[str]], **more: Any) -> Sequence[JobReturn]:
            self.refuse_without_data(jobs)
            returns = launch(jobs, **more)
            made.extend(returns)
            return returns

        self.launcher.launch = kept  # a job that failed ends the sweep with its error; what the others came to is told
        try:
            return super().sweep(arguments)
        finally:
            tell(made)

    def refuse_without_data(self, jobs: Sequence[Sequence[str]]) -> None:
        """One sentence, before the first job, where data are missing; of jobs that read the same, one is asked."""
        from indrnn import missing_data
        from indrnn.errors import UserError

        def config(job: Sequence[str]) -> DictConfig:
            return self.hydra_context.config_loader.load_sweep_config(self.config, list(job))

        def read(job: Sequence[str]) -> tuple[str, ...]:
            return tuple(word for word in job if word.startswith(("experiment=", "data", "+data")))

        if not missing_data.launched_here(self.config):
            return
        kinds = {words: config(job) for words, job in {read(job): job for job in jobs}.items()}
        lacking = {words for words, cfg in kinds.items() if missing_data.of_job(cfg)}
        try:
            missing_data.refuse(config(job) for job in jobs if read(job) in lacking)
        except UserError as error:
            raise CompactHydraException(str(error)) from None

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        alike = {tuple(word for word in job if not word.startswith("seed=")): job for job in batch}
        super().validate_batch_is_legal(list(alike.values()))


def tell(made: Sequence[JobReturn]) -> None:
    """Print the runs of a sweep beside each other, and which jobs failed."""
    from indrnn import compare, configs, files, record, runs

    found = []
    for job in made:
        if job.status == JobStatus.COMPLETED:
            folder = files.ROOT / job.cfg.machine.runs
            found += filter(None, [runs.of(folder / configs.signature(configs.signed(job.cfg)))])
    failed = [" ".join(record.told(job.overrides)) for job in made if job.status == JobStatus.FAILED]
    lines = [f"\n{compare.told(found, folder)}"] if found else []
    lines += [f"\n{len(failed)} of {len(made)} jobs failed:", *failed] if failed else []
    if lines:
        print("\n".join(lines), flush=True)
