"""A Hydra sweeper whose sweep is conf/table: it hands the runs that are not done to whichever launcher is chosen.

    python -m indrnn.train -m hydra/sweeper=indrnn_plan hydra.sweeper.tables=[figure2_adding] hydra/launcher=joblib

Further overrides on the command line hold for every run. Hydra imports this file at each of its starts, so whatever
takes time is imported when a sweep begins.
"""

import logging
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from indrnn.tables.plan import Run


@dataclass
class PlanSweeperConf:
    """What hydra.sweeper.* may say; null means the default tables, all of a table."""

    _target_: str = "hydra_plugins.indrnn_plan.PlanSweeper"
    tables: list[str] | None = None
    profile: str = "quick"
    columns: list[str] | None = None
    seeds: list[int] | None = None
    smoke: bool = False
    max_batch_size: int | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="indrnn_plan", node=PlanSweeperConf, provider="indrnn")


class PlanSweeper(Sweeper):
    """Launches the planned runs without a final record, each once, in the order of ``indrnn.tables.queue``.

    Args:
        tables: names in conf/table, the default ones if null.
        profile: quick, fast or paper.
        columns, seeds: instead of all of the tables'.
        smoke: what a smoke test trains, as in ``plan.plan``.
        max_batch_size: how many runs the launcher gets at a time, all if null; for launchers that start them all at
            once (as the option of this name of Hydra's own sweeper).
    """

    def __init__(
        self,
        tables: list[str] | None,
        profile: str,
        columns: list[str] | None,
        seeds: list[int] | None,
        smoke: bool,
        max_batch_size: int | None = None,
    ):
        self.tables, self.profile, self.columns = tables, profile, columns
        self.seeds, self.smoke, self.max_batch_size = seeds, smoke, max_batch_size
        self.folder, self.fresh, self.accelerator, self.here = "runs", False, "cpu", False

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from indrnn.missing_data import launched_here

        self.folder, self.fresh = config.machine.runs, config.machine.fresh
        self.accelerator, self.here = config.machine.accelerator, launched_here(config)
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        """Train what is not done; a run that fails does not stop the others, but the exit code says so.

        With machine.fresh=true what there is of the planned runs is first set aside, all of it. Runs whose data are not
        on this machine are left out, and that is told before the first of the others.

        Raises:
            CompactHydraException: a name that does not exist, or runs that failed; one sentence.
        """
        from indrnn import aloud, files, missing_data, record
        from indrnn.errors import UserError
        from indrnn.tables import plan, queue

        # Hydra composes a config of its own before any sweep and may need an experiment for it; the plan has its own.
        arguments = [argument for argument in arguments if not argument.startswith(("experiment=", "machine.fresh="))]
        folder = files.ROOT / self.folder
        what = self.tables, self.profile, self.columns, self.seeds, arguments, self.smoke

        def not_done(planned: "list[Run]") -> "list[Run]":
            return [place.run for place in queue.places(planned, folder, self.accelerator)]

        try:
            if self.fresh:
                for run in plan.runs(*what):
                    record.set_aside(folder / run.signature)
            with aloud.Step("planning the runs", first=False):
                planned = plan.runs(*what, folder)
                todo = not_done(planned)
        except UserError as error:
            raise CompactHydraException(str(error)) from None
        print(f"{len(planned)} runs planned, {len(planned) - len(todo)} done before, {len(todo)} to do", flush=True)
        if older := plan.reused(planned, folder):
            print(older, flush=True)
        for name in ("hydra", "hydra_plugins"):  # launchers would list all overrides of every run
            logging.getLogger(name).setLevel(logging.WARNING)
        seen = {run.signature for run in todo}
        with aloud.Step("looking whether all data are here", first=False):
            todo, lacking = missing_data.sorted_out(todo, folder) if self.here else (todo, [])
        for sentence in lacking:
            print(sentence, file=sys.stderr, flush=True)
        tried, returns = [], []
        while todo:
            jobs = [["machine.progress=false", *run.labels, *run.overrides] for run in todo]
            try:
                with Watch(todo, folder):
                    returns += self._launch(jobs)
            except KeyboardInterrupt:
                raise SystemExit(130) from None
            tried += todo
            todo = [run for run in not_done(plan.runs(*what, folder)) if run.signature not in seen]
            seen |= {run.signature for run in todo}
            if todo:
                print(f"{len(todo)} more to do, with what validation chose", flush=True)
        self._complain(tried, returns)
        if lacking:
            raise CompactHydraException("Not all data are here, as told above.")
        return returns

    def _launch(self, jobs: list[list[str]]) -> list[JobReturn]:
        size, returns = self.max_batch_size or len(jobs), []
        for start in range(0, len(jobs), size):
            try:
                returns += self.launcher.launch(jobs[start : start + size], initial_job_idx=start)
            except Exception as error:  # not a run's, which launchers hand back: the launcher's own, of whatever kind
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                name = type(self.launcher).__name__
                raise CompactHydraException(
                    f"{name} gave up, though runs that it started may go on: {reason}"
                ) from error
        return returns

    def _complain(self, todo: "list[Run]", returns: Sequence[JobReturn]) -> None:
        """One sentence per kind of failure, with the runs it hit."""
        hit: dict[str, list[Run]] = {}
        for run, job in zip(todo, returns, strict=True):
            if job.status == JobStatus.FAILED:
                error = job._return_value
                text = str(error) if isinstance(error, CompactHydraException) else trace(error)
                hit.setdefault(text, []).append(run)
        for text, runs in hit.items():
            names = "; ".join(run.name for run in runs[:3]) + f" and {len(runs) - 3} more" * (len(runs) > 3)
            print(f"failed: {names}\n  {text}", file=sys.stderr, flush=True)
        if hit:
            raise CompactHydraException(f"{sum(map(len, hit.values()))} of {len(todo)} runs failed.")


def trace(error: BaseException) -> str:
    """An error nobody foresaw, with its traceback."""
    return "".join(traceback.format_exception(error)).rstrip().replace("\n", "\n  ")


class Watch(threading.Thread):
    """Looks at the launched runs once a second: a line per run that ended, and a bar, or a line from time to time.

    Launchers only return when all is over, and their workers are other processes or other machines; the records are
    what all of them share.
    """

    def __init__(self, runs: "list[Run]", folder: Path):
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.folder = folder
        self.runs = runs
        self.seen = {run.signature: self._stamp(run) for run in runs}
        self.ended = 0

    def __enter__(self) -> "Watch":
        from tqdm import tqdm

        from indrnn.how_far import BAR, HowFar

        self.far = HowFar(self.runs, self.folder)
        self.bar = tqdm(total=1.0, bar_format=BAR, disable=not sys.stderr.isatty(), dynamic_ncols=True)
        self.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.over.set()
        self.join()
        self.look()
        self.bar.close()

    def run(self) -> None:
        while not self.over.wait(1.0):
            self.look()
            self.far.show(self.bar)

    def look(self) -> None:
        from indrnn import record

        for run in self.runs:
            stamp = self._stamp(run)
            if stamp == self.seen[run.signature]:
                continue
            self.seen[run.signature] = stamp
            if done := record.read(self.folder / run.signature):
                self.ended += 1
                self.far.end(run.signature)
                self.bar.write(f"{self.ended:>3}/{len(self.runs)}  {line(run, done)}")
                sys.stdout.flush()

    def _stamp(self, run: "Run") -> int:
        """Changes whenever the record is written; a file is only read when it did."""
        try:
            return (self.folder / run.signature / "run.json").stat().st_mtime_ns
        except OSError:
            return 0


def line(run: "Run", done: dict[str, Any]) -> str:
    """A run that ended, such as ``finished  figure2_adding  IndRNN, T = 100, seed 0  test/mse 0.0021  14 s``."""
    value = done["metrics"].get(run.metric)
    measured = "-" if value is None else f"{run.metric} {value:.4g}"
    return f"{done['status']:<9}  {run.table}  {run.name}  {measured}  {done['wall_seconds']:.0f} s"
