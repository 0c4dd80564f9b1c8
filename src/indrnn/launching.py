"""The Hydra multirun that makes a choice of runs: how it is started, and how it ends in time."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, TextIO

from indrnn import files
from indrnn.errors import UserError
from indrnn.tables import plan

if TYPE_CHECKING:
    from indrnn.reproduce import Choice

LAUNCHERS = {  # how each is told how many runs to make at once, and what else it needs for ours
    "joblib": ("hydra.launcher.n_jobs={}",),
    "submitit_local": ("hydra.sweeper.max_batch_size={}", "hydra.launcher.timeout_min=525600"),  # it has 60 minutes
    "submitit_slurm": ("hydra.launcher.array_parallelism={}",),
    "slurm": ("hydra.launcher.array_parallelism={}",),
    "ray": ("++hydra.launcher.ray.init.num_cpus={}", "++hydra.launcher.ray.init.include_dashboard=false"),
}
CLUSTER = {"submitit_local": "submitit", "submitit_slurm": "submitit", "slurm": "submitit", "ray": "ray"}
JOBLIB = "hydra_plugins.hydra_joblib_launcher"
TO_WRITE = 30.0  # seconds that runs have after Ctrl-C to write their checkpoints
IN_TIME = 8.0  # the same, where the minutes are counted


def launch(choice: "Choice", first: str, lock: TextIO, until: float | None = None) -> bool:
    """Start the Hydra multirun and wait for it; returns whether it came to its end before it was told to stop.

    Which runs it could not make is seen in their records.

    Args:
        first: an override that names an experiment, which Hydra composes before the sweeper does the runs.
        lock: is held while the multirun lives, and says who that is.
        until: time.time() at which the runs are told to stop; they write their checkpoints before the next update.

    Raises:
        UserError: the launcher is not installed, or its runs are not stopped with it.
    """
    if choice.launcher in CLUSTER and not importlib.util.find_spec(CLUSTER[choice.launcher]):
        raise UserError(f"The launcher {choice.launcher} is not installed here: run `make setup EXTRAS=cluster`.")
    if choice.launcher == "joblib" and not importlib.util.find_spec(JOBLIB):
        raise UserError("The launcher joblib is not installed here: leave --launcher out, or run `make setup`.")
    if until is not None and choice.launcher in CLUSTER:
        raise UserError(
            f"--minutes stops the runs of this machine, not those that {choice.launcher} hands to others: "
            "leave it out; hydra.launcher.timeout_min is theirs."
        )
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
        child.wait(None if until is None else max(0.0, until - time.time()))
    except subprocess.TimeoutExpired:
        stop(child, IN_TIME)
        return False
    except KeyboardInterrupt:
        stop(child, TO_WRITE)
        raise
    return True


def stop(child: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Ctrl-C for a multirun and all its runs, and the end of those that live on for so many seconds.

    A launcher may end before the runs that it started have written their records.
    """
    with contextlib.suppress(ProcessLookupError, KeyboardInterrupt):
        os.killpg(child.pid, signal.SIGINT)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            child.poll()  # or it stays in the group for ever
            os.killpg(child.pid, 0)
            time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
