"""Sweeps of Hydra's own: where they write, what ends them in one sentence, what is composed before them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from hydra_plugins.indrnn_basic import SeedsAlike
from indrnn import files


def said(cwd: Path, *words: str) -> str:
    """What ``python -m indrnn.train`` says of words that end it before a run, in one sentence and code 1."""
    command = [sys.executable, "-m", "indrnn.train", *words]
    kept = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    done = subprocess.run(command, cwd=cwd, env=kept, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    return done.stderr.strip()


@pytest.mark.parametrize("relative", [True, False])
def test_a_sweep_writes_below_machine_runs_wherever_it_is_started(tmp_path, relative):
    (tmp_path / "elsewhere").mkdir()
    runs = os.path.relpath(tmp_path / "runs", files.ROOT) if relative else tmp_path / "runs"
    assert "lstm1" in said(tmp_path / "elsewhere", "-m", f"machine.runs={runs}", "seed=0,1", "model=lstm1,lstm2")
    written = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert written == ["runs/.hydra/multirun.yaml"]


def test_a_sweep_below_a_file_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    text = said(tmp_path, "-m", f"machine.runs={tmp_path}/file/runs", "seed=0,1")
    assert text == f"{tmp_path}/file/runs/.hydra: Not a directory."


BROKEN = {"half": (b"data: [1", "line 1"), "a tab": (b"a:\n\tb: 1", "line 2"), "bytes": (b"\xff\xfe\x00", "0xff"),
          "twice": (b"a: 1\na: 2\n", "duplicate key a")}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("multirun", [(), ("-m", "seed=0,1")], ids=["one run", "a sweep"])
def test_a_broken_experiment_is_one_sentence(tmp_path, how, multirun):
    content, told = BROKEN[how]
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_bytes(content)
    words = ("--config-dir", str(tmp_path), *multirun, "experiment=mine", f"machine.runs={tmp_path}/runs")
    text = said(tmp_path, *words)
    assert "\n" not in text and told in text and "mine" in text


def test_the_users_own_word_shows_the_traceback(tmp_path):
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "indrnn.train", "-m", f"machine.runs={tmp_path}/file/runs", "seed=0,1"]
    done = subprocess.run(command, env=os.environ | {"HYDRA_FULL_ERROR": "1"}, capture_output=True, timeout=120)
    assert b"Traceback" in done.stderr


def test_jobs_that_differ_in_the_seed_alone_are_composed_once_beforehand(monkeypatch):
    looked_at = []
    basic = SeedsAlike.__mro__[1]  # Hydra may have imported its plugins again since: not any class of this name
    monkeypatch.setattr(basic, "validate_batch_is_legal", lambda self, batch: looked_at.extend(batch))
    words = OverridesParser.create().parse_overrides(["model=lstm,indrnn", "seed=range(0,30)"])
    (batch,) = SeedsAlike.split_arguments(words, None)
    SeedsAlike.__new__(SeedsAlike).validate_batch_is_legal(batch)
    assert len(batch) == 60 and looked_at == [["model=lstm", "seed=29"], ["model=indrnn", "seed=29"]]
