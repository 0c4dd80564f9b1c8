"""docs/add_a_*.md: each diff fits the repository as it is, and what it adds composes, builds, trains and is planned."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from indrnn import files, record

PAGES = {name: (files.ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
         for name in ("add_a_row", "add_a_task", "add_a_model")}  # fmt: skip
TWO = ("trainer.max_updates=2", "trainer.val_every=2", "logger=csv", "machine.progress=false", "machine.runs=made")


@pytest.fixture
def changed(tmp_path):
    """changed("add_a_row") -> a copy of the repository to which the diff of a page was applied."""

    def apply(name: str) -> Path:
        for part in ("conf", "scripts", "src"):
            shutil.copytree(files.ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
        (diff,) = re.findall(r"```diff\n(.*?)```", PAGES[name], re.S)
        environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
        done = subprocess.run(["git", "apply", "-v"], cwd=tmp_path, env=environment, input=diff, text=True,
                              capture_output=True)  # fmt: skip
        assert done.returncode == 0 and "Skipped" not in done.stderr, done.stderr
        return tmp_path

    return apply


def run(place: Path, *words: str) -> str:
    """What a command prints in a copy of the repository, by its code."""
    environment = os.environ | {"PYTHONPATH": str(place / "src")}
    done = subprocess.run([sys.executable, *words], cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def trained(place: Path, *words: str) -> dict:
    """The record of two updates of a run."""
    run(place, "-m", "indrnn.train", *words, *TWO)
    (path,) = (place / "made").glob("*/run.json")
    return record.read(path.parent)


def test_a_row_is_planned_and_its_run_trains(changed):
    place = changed("add_a_row")
    plan = run(place, "scripts/reproduce.py", "--plan", "--table", "figure2_adding", "--profile", "quick")
    assert len(re.findall(r"model=gru", plan)) == 6 and "GRU" in plan
    done = trained(place, "experiment=quick/adding", "model=gru", "data.seq_len=10")
    assert done["status"] == "finished" and done["config"]["model"]["_target_"].endswith("gru")


def test_a_task_trains(changed):
    place = changed("add_a_task")
    done = trained(place, "experiment=quick/echo", "model=indrnn")
    assert done["status"] == "finished" and done["metrics"]["test/mse"] > 0
    assert done["config"]["task"]["_target_"] == "indrnn.tasks.every_step.EveryStep"
    assert "quick/echo" in PAGES["add_a_task"].partition("```sh")[2]


@pytest.mark.parametrize("experiment", ["quick/adding", "csv"])
def test_a_model_trains_and_builds_in_every_kind_of_experiment(changed, experiment):
    place = changed("add_a_model")
    words = [f"experiment={experiment}", "model=summed_indrnn", "data.seq_len=10"]
    if experiment == "csv":
        rows = "".join(f"{i},{i % 7},{i}\n{i},{i % 5},{i}\n" for i in range(20))
        (place / "t.csv").write_text("id,x,y\n" + rows)
        words.append("data.path=t.csv")
    done = trained(place, *words)
    assert done["status"] == "finished" and done["config"]["model"]["_target_"].endswith("SummedIndRNN")


@pytest.mark.parametrize("name", PAGES)
def test_what_is_new_keeps_the_style(changed, name):
    place = changed(name)
    shutil.copy(files.ROOT / "pyproject.toml", place)
    for words in (["check"], ["format", "--check"]):
        run(place, "-m", "ruff", *words, ".")


@pytest.mark.parametrize(
    "name, path", [(name, path) for name, text in PAGES.items() for path in re.findall(r"\]\(((?!http)[^)]+)\)", text)]
)
def test_links_lead_somewhere(name, path):
    assert (files.ROOT / "docs" / path).exists()
