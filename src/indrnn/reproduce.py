"""From the tables' plan to this machine's runs/: train what is not done, print the tables beside the published numbers.

No torch here: the runs, in processes of their own, import it.
"""

import contextlib
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from indrnn import files, record
from indrnn.errors import UserError
from indrnn.tables import candidates, judged, plan, render, schema

LAUNCHERS = {  # how each is told how many runs to make at once, and what else it needs for ours
    "joblib": ("hydra.launcher.n_jobs={}",),
    "submitit_local": ("hydra.sweeper.max_batch_size={}", "hydra.launcher.timeout_min=525600"),  # it has 60 minutes
    "submitit_slurm": ("hydra.launcher.array_parallelism={}",),
    "slurm": ("hydra.launcher.array_parallelism={}",),
    "ray": ("++hydra.launcher.ray.init.num_cpus={}", "++hydra.launcher.ray.init.include_dashboard=false"),
}
CLUSTER = {"submitit_local": "submitit", "submitit_slurm": "submitit", "slurm": "submitit", "ray": "ray"}
JOBLIB = "hydra_plugins.hydra_joblib_launcher"
SMOKE = ["trainer.max_updates=2", "trainer.val_every=2", "logger=csv"]


@dataclass(frozen=True)
class Choice:
    """Which runs, how and where: the arguments of ``scripts/reproduce.py`` by their names.

    ``command``: what the user typed, where ``make reproduce-table`` would make other runs.
    """

    table: list[str] | None
    profile: str
    column: list[str] | None
    seeds: list[int] | None
    launcher: str
    jobs: int
    runs: Path
    only_list: bool
    smoke: bool
    overrides: list[str]
    fresh: bool = False
    command: str = ""

    @property
    def tables(self) -> list[str]:
        return self.table or schema.default_tables()

    @property
    def signed(self) -> list[str]:
        """The overrides that may decide what a run is; those of Hydra itself only say how it starts."""
        return [override for override in self.overrides if not override.startswith("hydra")]

    def planned(self) -> list[plan.Run]:
        """The runs that are asked for by now: a cell with several candidates chooses one on the way."""
        return plan.runs(self.table, self.profile, self.column, self.seeds, self.signed, self.smoke, self.runs)

    def waiting(self) -> int:
        """How many runs follow once candidates are chosen."""
        words = self.profile, self.column, self.seeds, self.signed, self.smoke
        return sum(
            candidates.later(cell.runs)
            for table in map(schema.load_table, self.tables)
            for cell in plan.plan(table, *words)
            if candidates.undecided(table, cell.runs, judged.records(cell.runs, self.runs))
        )


def main(choice: Choice) -> int:
    """List the planned runs, or make them, or try all tables at tiny sizes; returns the exit code.

    Raises:
        UserError, OSError: what is chosen does not exist, or cannot be made or written.
        KeyboardInterrupt: whatever asks this process to end is told to the runs as Ctrl-C.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, signal.default_int_handler)
    return (show if choice.only_list else smoke if choice.smoke else reproduce)(choice)


def show(choice: Choice) -> int:
    """Print every planned run with its signature, state and command."""
    states: Counter[str] = Counter()
    for run in choice.planned():
        state = plan.state(run, choice.runs)
        states[state] += 1
        print(f"{run.signature}  {state:13}  {run.table}: {run.name}")
        print(f"{'':29}{shlex.join(['python', '-m', 'indrnn.train', *run.overrides])}")
    print(f"{states.total()} runs: {', '.join(f'{count} {state}' for state, count in sorted(states.items()))}")
    if waiting := choice.waiting():
        print(f"{waiting} more follow when validation has chosen among candidates with their first seed.")
    return 0


def reproduce(choice: Choice) -> int:
    """Launch what is not done, or all runs if they are to be made anew; render all tables, say what is missing."""
    runs = choice.planned()
    if not runs:
        raise UserError(f"Profile {choice.profile} runs nothing of {', '.join(choice.tables)}.")
    out = choice.runs / "tables" / choice.profile
    with only_one(choice.runs) as lock:
        if left := len(runs) if choice.fresh else missing(runs, choice.runs):
            launch(replace(choice, jobs=min(choice.jobs, left)), runs[0].overrides[0], lock)
        else:
            print(plan.reused(runs, choice.runs) or f"All {len(runs)} runs are done.")
        runs = choice.planned()  # candidates may have been chosen
        if not any(judged.records(runs, choice.runs).values()):
            raise UserError("No run was made; the reason stands above.")
        files.remove_parts(out)
        reports = list(rendered(choice, out))
        for report in [] if choice.smoke else reports:
            print("\n" + render.markdown(report.of(choice.column) if choice.column else report, None))
    if not choice.smoke:
        if choice.table and any(report.table.pairs for report in reports):
            compare_pairs(choice, reports)
        print(f"Tables: {out}")
    if left := missing(runs, choice.runs):
        print(f"{left} of {len(runs)} runs are not done; the same command tries them again.", file=sys.stderr)
    return 1 if left else 0


def rendered(choice: Choice, out: Path) -> Iterator[judged.Report]:
    """Judge each table and write it, all its columns, into ``out``."""
    how = choice.profile, choice.runs, choice.seeds, choice.signed, choice.smoke, choice.command
    for name in choice.tables:
        report = judged.report(name, *how)
        with drawn(f"{name}.png"):
            render.write(report, out, choice.runs)
        yield report


def compare_pairs(choice: Choice, reports: list[judged.Report]) -> None:
    """Of tables whose rows are compared seed by seed: all of them on one page, too."""
    with drawn("the page of pairs"):
        from indrnn.studies.ablations import report  # matplotlib takes a second to import

        if text := report.write(choice.runs, choice.runs / "tables", [] if choice.command else reports):
            print("\n" + text)


@contextlib.contextmanager
def drawn(what: str) -> Iterator[None]:
    """A picture is made last: where there is nothing to draw with, it alone is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        print(f"matplotlib is not installed here: {what} is left out.", file=sys.stderr)


def missing(runs: list[plan.Run], folder: Path) -> int:
    return sum(plan.state(run, folder) not in record.FINAL for run in runs)


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[TextIO]:
    """Hold runs/.lock while this process or the runs that it started are alive; UserError where another one does."""

    def busy(lock: TextIO) -> UserError:
        who = ", ".join(lock.read().split("\n")[:-1]) or "another process"
        return UserError(f"{folder} is in use by {who}: wait for it, or stop it.")

    try:
        with files.lock(folder / ".lock", busy) as lock:
            lock.truncate(0)
            print(f"process {os.getpid()}", file=lock, flush=True)
            yield lock
    except OSError as error:
        if error.filename:
            raise
        raise OSError(f"{error}: {folder}") from error  # a full disk has no name


def launch(choice: Choice, first: str, lock: TextIO) -> None:
    """Start the Hydra multirun and wait for it; which runs it could not make is seen in their records.

    Args:
        first: an override that names an experiment, which Hydra composes before the sweeper does the runs.
        lock: is held while the multirun lives, and says who that is.

    Raises:
        UserError: the launcher is not installed.
    """
    if choice.launcher in CLUSTER and not importlib.util.find_spec(CLUSTER[choice.launcher]):
        raise UserError(f"The launcher {choice.launcher} is not installed here: run `make setup EXTRAS=cluster`.")
    if choice.launcher == "joblib" and not importlib.util.find_spec(JOBLIB):
        raise UserError("The launcher joblib is not installed here: leave --launcher out, or run `make setup`.")
    sweeper = {"tables": choice.table, "columns": choice.column, "seeds": choice.seeds}
    command = [sys.executable, "-m", "indrnn.train", "-m", first, "hydra/sweeper=indrnn_plan"]
    command += [f"hydra.sweeper.{name}=[{','.join(map(str, what))}]" for name, what in sweeper.items() if what]
    command += [f"hydra.sweeper.profile={choice.profile}", f"hydra.sweeper.smoke={choice.smoke}"]
    command += [f"hydra/launcher={choice.launcher}"]
    command += [option.format(choice.jobs) for option in LAUNCHERS.get(choice.launcher, ())]
    if choice.fresh:
        command.append("machine.fresh=true")
    if choice.runs != files.ROOT / "runs":
        command.append(f"machine.runs={plan.quoted(str(choice.runs))}")
    # A process group of its own: Ctrl-C, which a terminal sends to all, reaches every run once and not twice.
    child = subprocess.Popen([*command, *choice.overrides], cwd=files.ROOT, pass_fds=[lock.fileno()], process_group=0)
    print(f"which started {child.pid}", file=lock, flush=True)
    try:
        child.wait()
    except KeyboardInterrupt:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(child.pid, signal.SIGINT)
            child.wait(timeout=30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        raise


def smoke(choice: Choice) -> int:
    """Compose every table, train its cells at quick sizes for 2 updates, render, and look for holes.

    A table that names its ``smoke`` columns is trained in these alone.
    """
    tables = choice.table or schema.table_names()
    composed = sum(len(plan.runs(tables, profile)) for profile in schema.PROFILES)
    print(f"{composed} runs of all profiles compose", flush=True)
    tiny = replace(choice, table=tables, profile="quick", seeds=[0], overrides=[*SMOKE, *choice.overrides])
    with tempfile.TemporaryDirectory(prefix="indrnn-smoke-") as folder:
        code = reproduce(replace(tiny, runs=Path(folder).resolve()))
    print(f"smoke: {'no cell is missing' if code == 0 else 'cells are missing'}")
    return code
