"""The README's commands run, its tables are the published ones, its links lead somewhere."""

import re
import shlex
import subprocess
import sys

import pytest

from indrnn import configs, files, publish
from indrnn.data.stand_in.recordings import Recordings

README = (files.ROOT / "README.md").read_text()
BLOCKS = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.S))
COMMANDS = [line.split("#")[0].strip() for line in BLOCKS.splitlines() if line.split("#")[0].strip()]
TRAIN = (".venv/bin/python -m indrnn.train ", "PYTHONPATH=src python -m indrnn.train ")
REPRODUCE = "python scripts/reproduce.py "


def test_there_are_commands():
    assert "make test" in COMMANDS and "make reproduce-table" in COMMANDS and len(COMMANDS) > 8


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith(TRAIN)])
def test_training_commands_compose(config, command):
    words = shlex.split(command.partition(" -m indrnn.train ")[2])
    if "-m" in words:
        words = [re.sub(r"=([^,\[]*),.*", r"=\1", word) for word in words if word != "-m"]
    words = [word for word in words if not word.startswith("hydra")]
    configs.refuse_unread(config(*words), words)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith(REPRODUCE)])
def test_tables_without_make_can_be_planned(command):
    words = shlex.split(command.removeprefix("python "))
    done = subprocess.run([sys.executable, *words, "--plan"], cwd=files.ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and " runs: " in done.stdout, done.stderr


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_make_commands_exist(command):
    done = subprocess.run([*shlex.split(command), "--dry-run"], cwd=files.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_other_commands_are_known():
    others = [c for c in COMMANDS if not c.startswith(("make ", *TRAIN, REPRODUCE))]
    assert others == []


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(((?!http|#)[^)]+)\)", README))))
def test_links_lead_somewhere(path):
    assert (files.ROOT / path).exists()


def test_tables_are_the_published_ones():
    assert publish.with_tables(README) == README


@pytest.mark.parametrize("network", ["IndRNN", "LSTM"])
def test_the_drop_in_example_runs_before_and_after_the_swap(network):
    """The block after the heading: as it stands, and with the commented line of nn.LSTM in place of the next one."""
    _, found, rest = README.partition("## A drop-in for nn.LSTM\n")
    assert found
    code = re.search(r"```python\n(.*?)```", rest, re.S)[1]
    if network == "LSTM":
        code = re.sub(r"# (rnn = torch\.nn\.LSTM.*)\nrnn = IndRNN.*", r"\1", code)
    names = {}
    exec(code, names)
    assert type(names["rnn"]).__name__ == network and names["loss"] < names["first"]


def test_the_example_of_skeletons_runs(tmp_path, monkeypatch):
    _, found, rest = README.partition("## Skeletons: NTU RGB+D from the raw files\n")
    assert found
    name = "S001C001P001R001A001.skeleton"
    (tmp_path / name).write_bytes(Recordings().read(name))
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(re.search(r"```python\n(.*?)```", rest, re.S)[1], names)
    assert names["sequence"].shape[1:] == (2, 25, 3) and len(names["bodies"]) >= 1


def test_the_example_of_a_published_network_runs(monkeypatch):
    _, found, rest = README.partition("Two trained networks are published with their records")
    assert found
    monkeypatch.chdir(files.ROOT)
    names = {}
    exec(re.search(r"```python\n(.*?)```", rest, re.S)[1], names)
    assert len(names["memory"]) == 2 and 0.99 < max(names["memory"]) <= 2 ** (1 / 1000) + 1e-6
