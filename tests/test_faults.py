"""Kills at random moments, damaged files, a full disk: the table ends with the numbers of an undisturbed run.

A SIGKILL at any moment finds what tests of single functions do not: the moments between two lines of this repository,
of Lightning and of Hydra.
"""

import csv
import errno
import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import forked
import pytest
import torch

from indrnn import record

TABLE = ("--table", "figure2_adding", "--column", "T100", "--seeds", "0,1")
SIZES = ("data.val_examples=10", "data.test_examples=10", "model.hidden_size=4", "data.seq_len=10", "data.batch_size=8")
OTHERS = ("trainer.val_every=50", "logger=csv")
JOBLIB = ("--launcher", "joblib", "--jobs", "2")
NUMBERS = "signature config seed metrics status parameters updates examples".split()
PROVENANCE = "wall_seconds commits sources dirty devices versions".split()
PLACES = {"in save_tensors": "writing", "in write_whole": "writing", "in test": "test", "in on_run_end": "validation"}
PLACES |= {"in evaluation_step": "validation", "in on_train_batch_start": "update", "in run_training_batch": "update"}
LONGEST = 240  # seconds that no command here may take, on a busy machine either


@dataclass
class Attempt:
    """One start of scripts/reproduce.py."""

    runs: Path
    process: subprocess.Popen | BaseProcess
    said: Path
    stacks: Path

    @property
    def code(self) -> int | None:
        """The exit code, None while it lives."""
        process = self.process
        return process.exitcode if isinstance(process, BaseProcess) else process.poll()

    def end(self) -> tuple[int, str]:
        """Wait for it: exit code, and all that it said."""
        wait_for(lambda: self.code is not None)
        return self.code, self.said.read_text()

    def kill(self) -> str:
        """Kill all its processes; returns what the run in progress was doing, nothing if the kill hit none."""
        where = self.doing() if isinstance(self.process, BaseProcess) else "processes of their own"
        hit = [lock.parent for lock in self.runs.glob("*/lock") if held(lock)]
        for group in self.groups():
            signal_group(group, signal.SIGKILL)
        wait_for(lambda: self.code is not None and not held(self.runs / ".lock"))
        return where if any(state(folder) not in record.FINAL for folder in hit) else ""

    def doing(self) -> str:
        """One of PLACES, from the Python stack of the process that trains."""
        self.stacks.write_text("")
        signal_group(self.process.pid, signal.SIGUSR1)
        wait_for(lambda: "train.py" in self.stacks.read_text(), 0.05)
        text = self.stacks.read_text()
        return next((place for mark, place in PLACES.items() if mark in text), "starting or ending")

    def groups(self) -> list[int]:
        """The process groups of the script and of what it says it has started."""
        first, *others = (self.runs / ".lock").read_text().splitlines() or [""]
        mine = first == f"process {self.process.pid}"
        return [self.process.pid, *(int(line.split()[-1]) for line in others if mine)]


@dataclass
class Command:
    """``make reproduce-table`` for one folder of runs at tiny sizes."""

    runs: Path
    updates: int
    notes: Path
    every: float = 0  # seconds between checkpoints

    def fork(self) -> Attempt:
        return self._attempt(lambda arguments, said, stacks: forked.start(arguments, said, stacks))

    def start(self, *launcher: str) -> Attempt:
        """As a user starts it, with interpreters that have to import everything."""

        def popen(arguments: list[str], said: Path, stacks: Path) -> subprocess.Popen:
            command = [sys.executable, "scripts/reproduce.py", *launcher, *arguments]
            with open(said, "w") as file:
                return subprocess.Popen(command, cwd=record.ROOT, stdout=file, stderr=file, process_group=0)

        return self._attempt(popen)

    def _attempt(self, start: Callable) -> Attempt:
        said, stacks = self.notes / "said", self.notes / "stacks"
        said.write_text("")
        sizes = [*SIZES, f"trainer.max_updates={self.updates}", f"machine.checkpoint_seconds={self.every}"]
        arguments = ["--runs", str(self.runs), *TABLE, *sizes, *OTHERS]
        return Attempt(self.runs, start(arguments, said, stacks), said, stacks)


def wait_for(condition: Callable[[], object], seconds: float = LONGEST) -> bool:
    deadline = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.002)
    assert true or seconds < LONGEST
    return bool(true)


def signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:  # ended by itself, or is in the group of its parent
        pass


def held(lock: Path) -> bool:
    """Whether a process holds a lock file."""
    if not lock.exists():
        return False
    with open(lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def state(folder: Path) -> str:
    entry = record.read(folder)
    return entry["status"] if entry else "to do"


def finished(runs: Path) -> list[Path]:
    return [path.parent for path in sorted(runs.glob("*/run.json")) if state(path.parent) == "finished"]


def kill_at_random(command: Command, kills: int, real: int, seconds: float) -> Counter[str]:
    """Start the command and kill it until runs in progress were hit ``kills`` times; returns where, and how often.

    Args:
        real: so many of the kills, the last ones, hit processes of their own.
        seconds: from the start of a run to the kill, on average. Where the table is done, a run of it is removed.
    """
    dice = random.Random(0)
    hit: Counter[str] = Counter()
    while hit.total() < kills:
        forks = hit.total() < kills - real
        attempt = command.fork() if forks else command.start(*JOBLIB[: 4 * (hit.total() % 2)])
        wait_for(lambda a=attempt: any(map(held, a.runs.glob("*/lock"))) or a.code is not None)
        wait_for(lambda a=attempt: a.code is not None, dice.uniform(0, 2 * seconds))
        if attempt.code is None:
            hit.update(filter(None, [attempt.kill()]))
        else:
            assert attempt.code == 0, attempt.said.read_text()
            shutil.rmtree(dice.choice(finished(command.runs)))
    return hit


def damage(command: Command) -> tuple[Path, Path]:
    """Flip a bit in the checkpoint of an unfinished run, cut the record of a finished one; returns both paths."""

    def both() -> list[Path]:
        unfinished = [p for p in command.runs.glob("*/last.ckpt") if state(p.parent) not in record.FINAL]
        return [unfinished[0], finished(command.runs)[0] / "run.json"] if unfinished and finished(command.runs) else []

    while not both():
        attempt = command.fork()
        wait_for(lambda a=attempt: a.code is not None or both())
        attempt.kill()
        assert attempt.code != 0, "the table was done before there was something to damage"
    checkpoint, path = both()
    content = bytearray(checkpoint.read_bytes())
    with zipfile.ZipFile(checkpoint) as archive:
        tensor = archive.read(next(name for name in archive.namelist() if name.endswith("/data/0")))
    content[content.index(tensor)] ^= 16
    checkpoint.write_bytes(content)
    path.write_text(path.read_text()[:500])
    return checkpoint, path


def fill(disk: Path, left: int) -> Path:
    """Fill a disk with one file but for some bytes; returns the file."""
    ballast = disk / "ballast"
    with open(ballast, "ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC
        file.truncate(file.tell() // 4096 * 4096 - left)
    return ballast


def contents(runs: Path) -> dict[str, bytes]:
    """Everything that a run or a table has left, locks aside."""
    return {str(p.relative_to(runs)): p.read_bytes() for p in runs.rglob("*") if p.is_file() and "lock" not in p.name}


def numbers(runs: Path) -> dict[str, object]:
    """All that two folders of runs must share: records but for time and place, curves, weights, tables."""
    found: dict[str, object] = {}
    for folder in finished(runs):
        entry = json.loads((folder / "run.json").read_text())
        weights = torch.load(folder / "weights.pt", weights_only=True)
        found[folder.name] = {key: entry[key] for key in NUMBERS}
        found[folder.name, "curve"] = (folder / "curve.csv").read_text()
        found[folder.name, "weights"] = {name: tensor.numpy().tobytes() for name, tensor in weights.items()}
    tables = runs / "tables" / "quick"
    with open(tables / "figure2_adding.csv") as file:
        found["csv"] = [{k: v for k, v in line.items() if k not in PROVENANCE} for line in csv.DictReader(file)]
    found["md"] = (tables / "figure2_adding.md").read_text().partition("## Provenance")[0]
    found["png"] = (tables / "figure2_adding.png").read_bytes()
    return found


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A folder of 4 MB where this user may mount one (Linux, root), else an ordinary one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if sys.platform == "linux" and shutil.which("mount"):
        subprocess.run(mount, capture_output=True, check=False)
    yield folder
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    "kills, real, updates",
    [(6, 0, 150), pytest.param(50, 5, 300, marks=pytest.mark.slow)],
    ids=["6 kills", "50 kills"],
)
def test_killed_damaged_and_full_the_table_ends_with_the_same_numbers(tmp_path, disk, kills, real, updates):
    """Kills before, within and after updates, validations, tests and writes; then the damage; then the full disk."""
    undisturbed = Command(tmp_path / "undisturbed", updates, tmp_path, every=1e9).fork()
    wait_for(undisturbed.said.read_text)  # the server has imported everything
    began = time.monotonic()
    code, said = undisturbed.end()
    assert code == 0, said
    seconds = 0.6 * (time.monotonic() - began) / 8  # a kill hits its run or the next one
    expected = numbers(undisturbed.runs)
    assert len(expected) == 8 * 3 + 3

    command = Command(disk / "runs", updates, tmp_path)
    hit = kill_at_random(command, kills, real, seconds)
    print(f"{hit.total()} kills hit a run in progress, {seconds:.2f} s after its start on average: {dict(hit)}")
    checkpoint, path = damage(command)

    for left in (0, 4096) if disk.is_mount() else ():
        before = contents(command.runs)
        ballast = fill(disk, left)
        code, said = command.fork().end()
        assert code == 1 and "Traceback" not in said, said
        assert re.search(r"No space left to write \S+: make some and start the same command\.$", said, re.M), said
        ballast.unlink()
        assert contents(command.runs) == before

    code, said = (command.start(*JOBLIB) if real else command.fork()).end()
    assert code == 0 and "Traceback" not in said, said
    assert f"{path} cannot be read" in said and f"{checkpoint} is damaged" in said
    assert numbers(command.runs) == expected
    assert not list(disk.rglob("*.part"))
    if not disk.is_mount():
        pytest.skip("all of this held but for the full disk, which needs root on Linux to mount a small one")
