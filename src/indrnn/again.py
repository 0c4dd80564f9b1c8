"""A published run trained again: equal to the bit, moved by so many deviations of its cell, or off; and what differs.

Trained as a user does it, in a process of its own, into a folder of its own.
"""

import contextlib
import itertools
import math
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indrnn import configs, files, record
from indrnn.errors import UserError
from indrnn.tables import milestones, plan
from indrnn.tables.judged import Report, Result

TOLERANCE = 5.0  # deviations: Student's 95% interval of a fourth seed beside three reaches 4.97 to each side
ROUNDING = 1e-3  # of the value: seeds that learn nothing are nearly alike, and their deviation says little

PATIENCE = 20.0  # seconds that a run has to end when it is told to
HINT = "HYDRA_FULL_ERROR"  # of the line that Hydra adds to every error


@dataclass(frozen=True)
class Published:
    """A published run to train again.

    ``std``: sample deviation of its cell, NaN where it has none; ``metric``: that of its cell, or the record's own.
    """

    where: str
    signature: str
    name: str
    overrides: tuple[str, ...]
    record: dict[str, Any]
    metric: str
    std: float


@dataclass(frozen=True)
class Outcome:
    """What training again came to: ``word`` is equal, moved, off or failed, and ``text`` says it."""

    run: Published
    word: str
    text: str

    @property
    def right(self) -> bool:
        return self.word in ("equal", "moved")

    def __str__(self) -> str:
        lines = [f"{self.run.signature}  {self.run.where}: {self.run.name}", *self.text.split("\n")]
        return f"  {self.word:7} " + f"\n{'':10}".join(lines)


def cheapest(reports: Iterable[Report]) -> list[Published]:
    """Of every table the published finished run that took least time, the longest of these first."""
    chosen: dict[str, Published] = {}
    for report in reports:
        finished = [
            (entry["wall_seconds"], run.signature, result, run)
            for result, run, entry in made(report)
            if entry["status"] == "finished"
        ]
        for _, signature, result, run in sorted(finished, key=lambda found: found[:2])[:1]:
            chosen.setdefault(signature, of_cell(report, result, run))
    return sorted(chosen.values(), key=lambda run: -run.record["wall_seconds"])


def signature(word: str, results: Path) -> str:
    """The published run whose signature begins with a word; UserError where there is none, or not one."""
    there = sorted(path.parent.name for path in (results / "runs").glob("*/run.json"))
    found = [name for name in there if name.startswith(word)]
    if len(found) != 1:
        many = f"{len(found)} published runs begin" if found else "No published run begins"
        raise UserError(f"{many} with {word!r}: name one of the folders of {results / 'runs'}.")
    return found[0]


def named(name: str, results: Path, reports: Iterable[Report]) -> Published:
    """A published run by its signature, with the cell that it stands in, if any.

    Raises:
        UserError: it has not ended, or today's configs give another run.
    """
    entry = record.read(results / "runs" / name)
    if not entry or entry["status"] not in record.FINAL:
        raise UserError(f"The published run {name} has not ended: there is nothing to compare with.")
    cells = [of_cell(report, x, run) for report in reports for x, run, _ in made(report) if run.signature == name]
    if cells:
        return min(cells, key=lambda run: math.isnan(run.std))
    overrides, where = elsewhere(entry)
    metric = min((key for key in entry["metrics"] if key.startswith("test/")), key="test/loss".__eq__, default="")
    return Published(where, name, " ".join(overrides), overrides, entry, metric, math.nan)


def made(report: Report) -> Iterator[tuple[Result, plan.Run, dict[str, Any]]]:
    for results in report.columns.values():
        for result in results.values():
            for run, entry in zip(result.runs, result.records, strict=True):
                if entry:
                    yield result, run, entry


def of_cell(report: Report, result: Result, run: plan.Run) -> Published:
    entry, where = report.found[run.signature], f"{report.profile}/{report.table.name}"
    return Published(where, run.signature, run.name, run.overrides, entry, result.metric, result.ours.std)


def elsewhere(entry: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    """The overrides of a run that no table plans, and where they were found; UserError where they give another run."""
    tried = [(run.overrides, f"milestones/{name}") for name in milestones.names() for run in milestones.load(name).runs]
    told = record.told(entry["overrides"])
    forced = [f"++{word}" if "." in word.partition("=")[0] else word for word in told]  # a + that was typed is not kept
    tried += [(told, "its record"), (forced, "its record")]
    for overrides, where in tried:
        with contextlib.suppress(UserError):
            if configs.signature(configs.signed(configs.build(overrides))) == entry["signature"]:
                return tuple(overrides), where
    raise UserError(f"Today's configs do not give run {entry['signature']} any more: it cannot be trained again here.")


@contextlib.contextmanager
def training(runs: Iterable[Published], jobs: int, results: Path, folder: Path) -> Iterator[list[Future[Outcome]]]:
    """Train runs, ``jobs`` at a time, into ``folder`` while the block lasts; what it leaves unfinished is ended."""
    processes: list[subprocess.Popen] = []

    def one(run: Published) -> Outcome:
        words = [f"machine.runs={plan.quoted(str(folder))}", "machine.progress=false", "logger=csv"]
        command = [sys.executable, "-m", "indrnn.train", *run.overrides, *words]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(command, cwd=files.ROOT, text=True, encoding="utf-8", errors="replace", **pipes)
        processes.append(process)
        told = [line for line in process.communicate()[0].splitlines() if line.strip() and HINT not in line]
        entry = record.read(folder / run.signature)
        if not entry or entry["status"] not in record.FINAL:
            return Outcome(run, "failed", told[-1] if told else f"it ended with code {process.returncode}")
        return compare(run, entry, record.curve(results / "runs" / run.signature), record.curve(folder / run.signature))

    pool = ThreadPoolExecutor(jobs)
    outcomes = [pool.submit(one, run) for run in runs]
    try:
        yield outcomes
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        began = time.monotonic()
        while not all(outcome.done() for outcome in outcomes):  # at most an update goes on, or a start
            for process in processes:
                process.terminate() if time.monotonic() < began + PATIENCE else process.kill()
            time.sleep(0.1)


def compare(run: Published, new: dict[str, Any], old_curve: list[dict], new_curve: list[dict]) -> Outcome:
    """A published run against the same one trained here; what either measures alone, as other versions may, is passed.

    moved: by at most TOLERANCE deviations of its cell or ROUNDING of its value; off: by more, or another end.
    """
    old, other = run.record, differing(run.record, new)
    if new["status"] != old["status"]:
        return Outcome(run, "off", f"{old['status']} -> {new['status']}\n{other}")
    update = parting(old_curve, new_curve)
    metrics = old["metrics"].keys() & new["metrics"].keys()
    if update is None and all(old["metrics"][name] == new["metrics"][name] for name in metrics):
        return Outcome(run, "equal", f"to the bit, metrics and curve\n{other}")
    before, after = (entry["metrics"].get(run.metric, math.nan) for entry in (old, new))
    moved = abs(after - before)
    near = moved <= TOLERANCE * run.std or moved <= ROUNDING * abs(before)
    how = f"{moved / run.std:.2g} deviations of its cell" if run.std > 0 else "its cell has no deviation to judge by"
    where = "" if update is None else f"; the curve parts by update {update:,}"
    return Outcome(run, "moved" if near else "off", f"{run.metric} {before:.6g} -> {after:.6g}: {how}{where}\n{other}")


def parting(old: list[dict[str, float]], new: list[dict[str, float]]) -> int | None:
    """The first update at which two curves differ in what both measure; None where they do not."""
    for before, after in itertools.zip_longest(old, new):
        if before is None or after is None:
            return (before or after)["update"]
        if any(repr(before[name]) != repr(after[name]) for name in before.keys() & after.keys()):
            return before["update"]
    return None


def differing(old: dict[str, Any], new: dict[str, Any]) -> str:
    """What of code, versions, device and data a record has otherwise than the one made here, in words."""
    found = [f"source {old['source']}"] if old["source"] != new["source"] else []
    for name in sorted(old["versions"].keys() | new["versions"].keys()):
        before, after = (entry["versions"].get(name, "none") for entry in (old, new))
        found += [f"{name} {before} (here {after})"] if before != after else []
    before, after = (" and ".join(record.devices([entry])) for entry in (old, new))
    found += [before] if before != after else []
    for name in sorted(old["data"].keys() & new["data"].keys()):
        found += [f"other data ({name})"] if old["data"][name] != new["data"][name] else []
    return f"not as here: {', '.join(found)}" if found else "code, versions, device and data as here"
