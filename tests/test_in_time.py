"""``--minutes`` for real: runs that stop in time and go on at the next call. It takes two minutes, so it is slow."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from test_commands import REPRODUCE, call, records

from indrnn import files

pytestmark = pytest.mark.slow
SMALL = ["data.val_examples=10", "data.test_examples=10", "model.hidden_size=4", "data.seq_len=10", "logger=csv"]
LONG = ["trainer.max_updates=10000000", "trainer.val_every=1000", "machine.checkpoint_seconds=1"]
TABLE = ["--table", "figure2_adding", "--column", "T100", "--seeds", "0", *SMALL, *LONG]


def made(runs: Path) -> dict[str, int]:
    return {entry["signature"]: entry["updates"] for entry in records(runs)}


def test_runs_stop_in_time_and_the_next_call_goes_on_with_them_even_after_a_kill(tmp_path):
    command = [*REPRODUCE, *TABLE, "--launcher", "joblib", "--jobs", "2", "--runs", str(tmp_path), "--minutes", "0.8"]
    began = time.monotonic()
    done = call(*command)
    assert time.monotonic() - began < 60
    assert "stopped: figure2_adding: IndRNN, T = 100, seed 0 (" in done.stdout
    assert "4 of 4 runs are not done; the same command goes on with them." in done.stderr
    assert (tmp_path / "tables/quick/figure2_adding.md").exists()
    first = made(tmp_path)
    assert 1 <= len(first) <= 2 and all(updates > 0 for updates in first.values())

    with subprocess.Popen(command, cwd=files.ROOT, stdout=subprocess.PIPE, start_new_session=True) as process:
        checkpoints = [tmp_path / signature / "last.ckpt" for signature in first]
        began, before = time.time(), {path: path.stat().st_mtime for path in checkpoints}
        while not all(path.stat().st_mtime > before[path] for path in checkpoints) and time.time() < began + 40:
            time.sleep(0.1)
        subprocess.run(["pkill", "-9", "-f", f"machine.runs='{tmp_path}'"], check=False)
        os.killpg(process.pid, signal.SIGKILL)
    call(*command)
    assert all(made(tmp_path)[signature] > updates for signature, updates in first.items())
