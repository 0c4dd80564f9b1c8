"""``scripts/reproduce.py`` at tiny sizes, to be killed; in forks, because its two interpreters import for ten seconds.

A server process imports everything once and forks a child per command; the child is the script, and where the script
starts ``python -m indrnn.train`` the child forks once more. Both are one process group, so that one kill hits both.
"""

import contextlib
import faulthandler
import fcntl
import importlib.util
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from indrnn import files, launching, record, train

TABLE = ("--table", "figure2_adding", "--column", "T100", "--seeds", "0,1")
SIZES = ("data.val_examples=10", "data.test_examples=10", "model.hidden_size=4", "data.seq_len=10", "data.batch_size=8")
BUDGET = ("trainer.max_updates=150", "trainer.val_every=50", "logger=csv")
PLACES = {"in save_tensors": "writing", "in write_whole": "writing", "in test": "test"}  # by frames of the stack
PLACES |= {"evaluation_loop.py": "validation", "training_epoch_loop.py": "update"}
LONGEST = 600  # seconds that no command here may take, on a busy machine either
PRELOAD = [
    "forked",
    "indrnn.training.run",
    "indrnn.recurrence.cpu",
    "indrnn.data.adding",
    "indrnn.tables.figures",
    "indrnn.tables.plan",
]


class Fork:
    """What ``indrnn.launching`` uses of subprocess.Popen, for the command ``python -m indrnn.train ...`` alone."""

    def __init__(self, command: list[str], **options: object):
        assert command[1:3] == ["-m", "indrnn.train"]
        self.pid = os.fork()
        if not self.pid:
            with leaving():
                sys.argv = command[2:]
                train.main()

    def wait(self, timeout: float | None = None) -> None:
        os.waitpid(self.pid, 0)


@contextlib.contextmanager
def leaving() -> Iterator[None]:
    """End this process with the body, with the exit code that an interpreter would give."""
    code = 0
    try:
        yield
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else 1 if leave.code else 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main(arguments: list[str], said: str, stacks: str) -> None:
    """The forked child: be the script; write to a file, and on SIGUSR1 what the main threads are doing to another."""
    os.setpgid(0, 0)
    multiprocessing.set_start_method("fork", force=True)  # or the locks of killed children are reported as leaked
    with leaving():
        for descriptor in (1, 2):
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
        faulthandler.register(signal.SIGUSR1, file=open(stacks, "a"), all_threads=False)
        os.chdir(files.ROOT)
        path = files.ROOT / "scripts" / "reproduce.py"
        spec = importlib.util.spec_from_file_location("reproduce_script", path)
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
        launching.subprocess = types.SimpleNamespace(Popen=Fork, TimeoutExpired=TimeoutError)
        sys.argv = [str(path), *arguments]
        sys.exit(script.main())


@dataclass
class Command:
    """``make reproduce-table`` for one folder of runs; what it says goes to another folder, ``notes``."""

    runs: Path
    notes: Path
    every: float = 0  # seconds between checkpoints

    def fork(self) -> "Attempt":
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(PRELOAD)
        attempt = self._attempt()
        arguments = (self.arguments(), str(attempt.said), str(attempt.stacks))
        attempt.process = server.Process(target=main, args=arguments, daemon=True)
        attempt.process.start()
        return attempt

    def start(self, *launcher: str) -> "Attempt":
        """As a user starts it, with interpreters that have to import everything."""
        attempt = self._attempt()
        command = [sys.executable, "scripts/reproduce.py", *launcher, *self.arguments()]
        with open(attempt.said, "w") as file:
            attempt.process = subprocess.Popen(command, cwd=files.ROOT, stdout=file, stderr=file, process_group=0)
        return attempt

    def arguments(self) -> list[str]:
        return ["--runs", str(self.runs), *TABLE, *SIZES, *BUDGET, f"machine.checkpoint_seconds={self.every}"]

    def _attempt(self) -> "Attempt":
        (self.notes / "said").write_text("")
        before = {path: path.stat().st_mtime_ns for path in self.runs.glob("*/last.ckpt")}
        return Attempt(self.runs, self.notes / "said", self.notes / "stacks", before)


@dataclass
class Attempt:
    """One start of the command."""

    runs: Path
    said: Path
    stacks: Path
    before: dict[Path, int]  # when the checkpoints of earlier attempts were written
    process: subprocess.Popen | BaseProcess | None = None

    @property
    def code(self) -> int | None:
        """The exit code, None while it lives."""
        process = self.process
        return process.exitcode if isinstance(process, BaseProcess) else process.poll()

    def end(self) -> tuple[int, str]:
        """Wait for it: exit code, and all that it said."""
        wait_for(lambda: self.code is not None)
        return self.code, self.said.read_text()

    def holds_a_run(self) -> bool:
        """A run of it has started."""
        return any(held(lock) for lock in self.runs.glob("*/lock"))

    def trains(self) -> bool:
        """A run of it has written a checkpoint."""
        with contextlib.suppress(FileNotFoundError):
            return any(path.stat().st_mtime_ns != self.before.get(path) for path in self.runs.glob("*/last.ckpt"))
        return False

    def kill(self) -> str:
        """Kill all its processes; returns what the run in progress was doing, nothing if the kill hit none."""
        where = self.doing() if isinstance(self.process, BaseProcess) else "processes of their own"
        hit = [lock.parent for lock in self.runs.glob("*/lock") if held(lock)]
        for group in self.groups():
            signal_group(group, signal.SIGKILL)
        wait_for(lambda: self.code is not None and not held(self.runs / ".lock"))
        return where if any(status(folder) not in record.FINAL for folder in hit) else ""

    def doing(self) -> str:
        """One of PLACES, from the Python stack of the process that trains."""
        self.stacks.write_text("")
        signal_group(self.process.pid, signal.SIGUSR1)
        wait_for(lambda: "train.py" in self.stacks.read_text() or self.code is not None, 5)
        text = self.stacks.read_text()
        return next((place for mark, place in PLACES.items() if mark in text), "starting or ending")

    def groups(self) -> list[int]:
        """The process groups of the script and of what it says it has started."""
        first, *others = (self.runs / ".lock").read_text().splitlines() or [""]
        mine = first == f"process {self.process.pid}"
        return [self.process.pid, *(int(line.split()[-1]) for line in others if mine)]


def wait_for(condition: Callable[[], object], seconds: float = LONGEST) -> None:
    """Until it is true, or as long as given; LONGEST without it is a failure."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            assert seconds < LONGEST, "nothing happened for too long"
            return
        time.sleep(0.002)


def signal_group(group: int, number: int) -> None:
    assert group > 1 and group != os.getpgrp()  # never everything, never the tests
    with contextlib.suppress(ProcessLookupError):  # ended by itself, or is in the group of its parent
        os.killpg(group, number)


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


def status(folder: Path) -> str:
    """Of the run in a folder."""
    entry = record.read(folder)
    return entry["status"] if entry else "to do"
