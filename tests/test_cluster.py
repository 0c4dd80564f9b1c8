"""Sweeps through submitit and Ray, for real; through Slurm with programs that stand in for it."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_commands import REPRODUCE, TINY, TRAIN, call, records

from indrnn import files, record

MISSING = [name for name in ("submitit", "ray") if not importlib.util.find_spec(name)]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"without {', '.join(MISSING)}: make test-slow installs them"),
]
LAUNCHERS = {
    "submitit_local": ["hydra/launcher=submitit_local"],
    "ray": ["hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2"],
}
SWEEP = ["experiment=quick/adding", "data.seq_len=10", "model=indrnn,lstm", *TINY]


def metrics(runs: Path) -> dict[str, dict[str, float]]:
    return {r["signature"]: r["metrics"] for r in records(runs) if r["status"] == "finished"}


@pytest.fixture(scope="session")
def expected(tmp_path_factory) -> dict[str, dict[str, float]]:
    """What the launcher basic makes of the sweep."""
    runs = tmp_path_factory.mktemp("basic")
    call(*TRAIN, "-m", *SWEEP, "seed=0,1", f"machine.runs={runs}")
    return metrics(runs)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_sweep_trains_as_with_the_basic_launcher_and_goes_on_after_a_failing_run(tmp_path, launcher, expected):
    before = status()
    sweep = [*SWEEP, "seed=-1,0,1", *LAUNCHERS[launcher], f"machine.runs={tmp_path}"]
    done = call(*TRAIN, "-m", *sweep, code=1)
    assert "seed must be a whole number of at least 0 and below 2^32, not -1." in done.stderr
    assert len(expected) == 4 and metrics(tmp_path) == expected
    assert status() == before, "something was left in the repository"


def status() -> str:
    command = ["git", "-C", str(files.ROOT), "status", "--porcelain", "--ignored", "--", ":!*__pycache__*"]
    return subprocess.run(command, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def tables(tmp_path_factory) -> dict[str, dict[str, float]]:
    runs = tmp_path_factory.mktemp("tables")
    call(*REPRODUCE, *TABLE, "--launcher", "joblib", "--jobs", "2", "--runs", str(runs))
    return metrics(runs)


TABLE = ["--table", "figure2_adding", "--column", "T100", "--seeds", "0", *TINY]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_table_is_reproduced_through_it(tmp_path, launcher, tables):
    done = call(*REPRODUCE, *TABLE, "--launcher", launcher, "--jobs", "2", "--runs", str(tmp_path))
    assert "4 runs planned, 0 done before, 4 to do" in done.stdout and "4 of 4 done" in done.stdout
    assert len(tables) == 4 and metrics(tmp_path) == tables


def test_a_preempted_run_writes_its_checkpoint_and_submitit_starts_it_again(tmp_path):
    command = [
        *TRAIN,
        "-m",
        "experiment=quick/adding",
        "seed=0",
        *TINY,
        "data.seq_len=10",
        *LAUNCHERS["submitit_local"],
    ]
    command += ["trainer.max_updates=1500", "trainer.val_every=1500", "machine.checkpoint_seconds=0"]
    with subprocess.Popen([*command, f"machine.runs={tmp_path}"], cwd=files.ROOT, stderr=subprocess.PIPE) as process:
        (checkpoint,) = wait_for(lambda: list(tmp_path.glob("*/last.ckpt")))
        os.kill(pid_of_job(tmp_path), signal.SIGUSR2)
        wait_for(lambda: (checkpoint.parent / "run.json").exists())
        stopped = record.read(checkpoint.parent)
        _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    done = record.read(checkpoint.parent)
    assert stopped["status"] == "interrupted" and 0 < stopped["updates"] < 1500
    assert done["status"] == "finished" and done["updates"] == 1500 and done["started"] == stopped["started"]
    (log,) = tmp_path.rglob("*_log.out")
    assert "Requeued job" in log.read_text() + "".join(p.read_text() for p in tmp_path.rglob("*_log.err"))


def pid_of_job(runs: Path) -> int:
    command = ["pgrep", "-f", f"submitit.core._submit {runs}"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0])


def wait_for(what, seconds: float = 120):
    deadline = time.monotonic() + seconds
    while not (there := what()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert there, "did not come in time"
    return there


SBATCH = """#!{python}
import os, pathlib, re, subprocess, sys
here, script = pathlib.Path(__file__).parent, sys.argv[-1]
text = pathlib.Path(script).read_text()
(here / "submitted").write_text(text)
for task in range(int(re.search(r"--array=0-(\\d+)", text)[1]) + 1):
    env = dict(os.environ, SLURM_JOB_ID=str(70 + task), SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID=str(task))
    env.update(SLURM_NTASKS="1", SLURM_JOB_NUM_NODES="1", SLURM_NODEID="0", SLURM_PROCID="0", SLURM_LOCALID="0")
    env.update(SLURM_JOB_NODELIST="here", SLURM_JOB_NAME="indrnn")
    with open(here / f"log{{task}}", "w") as log:
        subprocess.Popen(["bash", script], env=env, stdout=log, stderr=log)
print("Submitted batch job 7")
"""
SRUN = """#!/bin/bash
while [[ $1 == -* ]]; do [[ $1 == --output || $1 == --error ]] && shift; shift; done
exec "$@"
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    """A folder on PATH whose sbatch keeps the script and runs it here, one process for each task of the array."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH.format(python=sys.executable), "srun": SRUN, "sacct": "#!/bin/sh\n"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def options(script: str) -> dict[str, str]:
    return dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", script, re.MULTILINE))


ASKED = ["partition=long", "timeout_min=90", "cpus_per_task=4", "gpus_per_node=1", "mem_gb=12", "array_parallelism=2"]


@pytest.mark.parametrize("launcher", ["submitit_slurm", "slurm"])
def test_slurm_gets_what_was_asked_for_and_its_jobs_are_runs(tmp_path, slurm, launcher, expected):
    launch = [f"hydra/launcher={launcher}", *(f"hydra.launcher.{word}" for word in ASKED)]
    call(*TRAIN, "-m", *SWEEP, "seed=0,1", *launch, f"machine.runs={tmp_path / 'runs'}")
    script = (slurm / "submitted").read_text()
    told = options(script)
    asked = {"partition": "long", "time": "90", "cpus-per-task": "4", "gpus-per-node": "1", "mem": "12GB"}
    asked |= {"array": "0-3%2", "ntasks-per-node": "1", "nodes": "1", "signal": "USR2@120"}
    assert asked.items() <= told.items(), told
    assert told["job-name"] == {"submitit_slurm": "train", "slurm": "indrnn"}[launcher]
    (command,) = re.findall(r"^srun .*$", script, re.MULTILINE)
    assert f" {sys.executable} -u -m submitit.core._submit {tmp_path}/runs/.hydra/.submitit/" in command
    assert "%A_%a" in told["output"] and str(tmp_path) in told["output"]
    assert metrics(tmp_path / "runs") == expected


def test_a_table_through_slurm_makes_as_many_runs_at_once_as_jobs_says(tmp_path, slurm, tables):
    call(*REPRODUCE, *TABLE, "--launcher", "slurm", "--jobs", "3", "--runs", str(tmp_path / "runs"))
    assert options((slurm / "submitted").read_text())["array"] == "0-3%3"
    assert metrics(tmp_path / "runs") == tables


def test_without_slurm_the_launcher_says_so_in_a_sentence(tmp_path):
    command = [*REPRODUCE, *TABLE, "--launcher", "submitit_slurm", "--runs", str(tmp_path)]
    assert "SlurmLauncher gave up" in call(*command, code=1).stderr
