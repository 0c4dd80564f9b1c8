"""From the tables' plan to this machine's runs/: train what is not done, print the tables beside the published numbers.

No torch here: the runs, in processes of their own, import it.
"""

import contextlib
import os
import shlex
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from omegaconf import DictConfig

from indrnn import aloud, configs, files, missing_data, record, table_run
from indrnn.errors import UserError
from indrnn.launching import IN_TIME, launch
from indrnn.tables import candidates, judged, plan, queue, render, schema

SHORTEST = 5.0  # seconds, below which no run is worth its start
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
    minutes: float | None = None
    command: str = ""

    @property
    def tables(self) -> list[str]:
        return self.table or schema.default_tables()

    def logger(self, first: str) -> DictConfig:
        """The node ``logger`` of these runs; ``first`` as for ``launch``."""
        cfg = configs.build([first, *self.overrides])
        cfg.machine.runs = str(self.runs)  # where W&B's files go
        return cfg.logger

    @property
    def signed(self) -> list[str]:
        """The overrides that may decide what a run is; those of Hydra itself only say how it starts."""
        return [override for override in self.overrides if not override.startswith("hydra")]

    def planned(self) -> list[plan.Run]:
        """The runs that are asked for by now: a cell with several candidates chooses one on the way."""
        return plan.runs(self.table, self.profile, self.column, self.seeds, self.signed, self.smoke, self.runs)

    def in_order(self, runs: list[plan.Run]) -> list[queue.Place]:
        """Those of the planned runs that are not done, in the order in which they are made."""
        accelerator = configs.build([runs[0].overrides[0], *self.overrides]).machine.accelerator if runs else "cpu"
        return queue.places(runs, self.runs, accelerator)

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
    """Print every planned run with signature, state and command: what is done, then the queue in its order."""
    runs = choice.planned()
    waiting = choice.in_order(runs)
    words = {place.run.signature: place.words() for place in waiting}
    final = [run for run in runs if run.signature not in words]
    states: Counter[str] = Counter()
    for run in [*final, *(place.run for place in waiting)]:
        state = plan.state(run, choice.runs)
        states[state] += 1
        place = f"  ({words[run.signature]})" if run.signature in words else ""
        print(f"{run.signature}  {state:13}  {run.table}: {run.name}{place}")
        print(f"{'':29}{shlex.join(['python', '-m', 'indrnn.train', *run.overrides])}")
    print(f"{states.total()} runs: {', '.join(f'{count} {state}' for state, count in sorted(states.items()))}")
    if later := choice.waiting():
        print(f"{later} more follow when validation has chosen among candidates with their first seed.")
    if waiting:
        print(f"{queue.ORDER}\n\n{queue.costs(waiting)}")
    return 0


def reproduce(choice: Choice) -> int:
    """Launch what is not done, or all runs if they are to be made anew; render all tables, say what is missing.

    With ``choice.minutes`` the runs are stopped, each with its checkpoint, so that the tables are written in time.
    """
    began = time.time()
    with aloud.Step("planning the runs", first=False):
        runs = choice.planned()
    if not runs:
        raise UserError(f"Profile {choice.profile} runs nothing of {', '.join(choice.tables)}.")
    out, ended = choice.runs / "tables" / choice.profile, True
    with only_one(choice.runs) as lock:
        if left := len(runs) if choice.fresh else missing(runs, choice.runs):
            until = choice.minutes and until_(choice, runs, began)
            ended = launch(replace(choice, jobs=min(choice.jobs, left)), runs[0].overrides[0], lock, until)
            for place in [] if ended else choice.in_order(runs):
                if place.made:
                    print(f"stopped: {place.run.table}: {place.run.name} ({place.words()})")
        else:
            print(plan.reused(runs, choice.runs) or f"All {len(runs)} runs are done.")
        runs = choice.planned()  # candidates may have been chosen
        if not any(judged.records(runs, choice.runs).values()):
            raise UserError(f"No run was {'made; the reason stands above' if ended else 'begun: give more minutes'}.")
        files.remove_parts(out)
        with aloud.Step("judging and rendering the tables", first=False):
            reports = list(rendered(choice, out))
        for report in [] if choice.smoke else reports:
            print("\n" + render.markdown(report.of(choice.column) if choice.column else report, None))
    if not choice.smoke:
        if choice.table and any(report.table.pairs for report in reports):
            compare_pairs(choice, reports)
        print(f"Tables: {out}")
        if ended:
            table_run.tell(choice.logger(runs[0].overrides[0]), reports, out)
    if left := missing(runs, choice.runs):
        goes_on = "tries them again" if ended else "goes on with them"
        print(f"{left} of {len(runs)} runs are not done; the same command {goes_on}.", file=sys.stderr)
    return 1 if left and ended else 0


def until_(choice: Choice, runs: list[plan.Run], began: float) -> float:
    """When the runs have to be told to stop, by time.time(); says which are begun with and what each table costs.

    Raises:
        UserError: planning and tables alone take the time.
    """
    waiting = [place for place in choice.in_order(runs) if missing_data.there(place.run.config["data"])]
    planning = time.time() - began
    afterwards = IN_TIME + 2 + planning  # the tables take less than the plan, parts of which are remembered
    end = began + 60 * choice.minutes - afterwards
    if end - time.time() < SHORTEST:
        least = (planning + SHORTEST + afterwards) / 60
        raise UserError(f"{choice.minutes:g} minutes do not do for plan, run and tables: give {least:.1f} or more.")
    print(f"{choice.minutes:g} minutes, {choice.jobs} at once, to begin with:")
    for place in waiting[: choice.jobs]:
        print(f"  {place.run.table}: {place.run.name} ({place.words()})")
    print(f"\n{queue.costs(waiting)}\n", flush=True)
    return end


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
