"""A worker whose sweep is killed stops its run as at SIGTERM and ends; who is nobody's worker goes on."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked import status, wait_for

# A process that starts a worker, tells its id and waits; the worker says in a file what becomes of it.
SWEEP = """
import contextlib, multiprocessing, os, signal, sys, time
from indrnn.training import parent

def work(told, between):
    parent.LOOK = 0.05
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.suppress(SystemExit), parent.ends_with_its_parent():
        try:
            time.sleep(0 if between else 60)
        except SystemExit:  # in there, as a run writes its checkpoint: behind it the process may end at once
            open(told, "w").write("stopped as at SIGTERM")
            raise
    time.sleep(60)

if __name__ == "__main__":
    worker = multiprocessing.get_context("fork").Process(target=work, args=(sys.argv[1], len(sys.argv) > 2))
    worker.start()
    print(worker.pid, flush=True)
    worker.join()
"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and whose new parent does not ask counts as ended."""
    said = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(said) and not said.startswith("Z")


@pytest.mark.parametrize("between", [False, True], ids=["in a run", "between two runs"])
def test_a_worker_ends_with_the_process_that_started_it(tmp_path, between):
    told = tmp_path / "told"
    words = [sys.executable, "-c", SWEEP, str(told), *["between"] * between]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as sweep:
        worker = int(sweep.stdout.readline())
        time.sleep(0.5)
        assert alive(worker)
        sweep.kill()
        sweep.wait()
        try:
            wait_for(lambda: not alive(worker), 20)
            assert not alive(worker)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
    assert between or told.read_text() == "stopped as at SIGTERM"


def test_a_process_that_a_user_started_goes_on_without_its_shell(tmp_path):
    code = "import time; from indrnn.training.parent import ends_with_its_parent as with_it\n"
    code += f"with with_it(): time.sleep(2.5); open({str(tmp_path / 'done')!r}, 'w').close()"
    shell = subprocess.Popen(["sh", "-c", '"$0" -c "$1" & wait', sys.executable, code])
    time.sleep(0.3)
    shell.kill()
    shell.wait()
    wait_for((tmp_path / "done").exists, 30)
    assert (tmp_path / "done").exists()


def children(of: int) -> list[int]:
    said = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [pid for pid, parent in (map(int, line.split()) for line in said.splitlines()) if parent == of]


@pytest.mark.slow
def test_kill_minus_9_of_a_sweep_ends_its_workers_which_write_their_checkpoints(tmp_path):
    """A real one of joblib, which imports for ten seconds and more."""
    runs: Path = tmp_path / "runs"
    command = [
        sys.executable,
        "-m",
        "indrnn.train",
        "-m",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "seed=0,1",
    ]
    command += ["experiment=quick/adding", "model=indrnn", "data.seq_len=8", "model.hidden_size=4", "logger=csv"]
    command += [
        "data.val_examples=20",
        "trainer.max_updates=200000",
        "trainer.val_every=100000",
        f"machine.runs={runs}",
    ]
    command += ["machine.checkpoint_seconds=0.5", "machine.progress=false"]
    sweep = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(list(runs.glob("*/last.ckpt"))) == 2 or sweep.poll() is not None)
    started = children(sweep.pid)
    assert len(started) >= 2
    sweep.kill()
    sweep.wait()
    wait_for(lambda: not any(map(alive, started)), 60)
    assert not any(map(alive, started))
    assert [status(path.parent) for path in runs.glob("*/last.ckpt")] == ["interrupted"] * 2
