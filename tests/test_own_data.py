"""docs/own_data.md as a stranger follows it, from a folder of their own outside of the repository."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from indrnn import files, record

PAGE = (files.ROOT / "docs" / "own_data.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
MAKES, LOADS, ECHO = re.findall(r"```python\n(.*?)```", PAGE, re.S)
DATA, EXPERIMENT = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("own")


def typed(place: Path, command: str) -> str:
    """What a command of the page prints, typed in a folder; its runs stay there."""
    command = command.replace(".venv/bin/python", sys.executable)
    command += f" logger=csv machine.progress=false machine.runs={place / 'runs'}"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command, shell=True, cwd=place, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_files_are_where_the_test_looks():
    assert len(COMMANDS) == 3 and all(" -m indrnn.train " in command for command in COMMANDS)


@pytest.fixture(scope="module")
def waves(place) -> Path:
    """The page's example file."""
    subprocess.run([sys.executable, "-c", MAKES], cwd=place, check=True)
    return place / "waves.csv"


def test_from_the_csv_to_an_exported_network(place, waves, monkeypatch):
    """Numbers of another CPU may differ from those of the page, signatures may not."""
    for command in COMMANDS[:2]:
        typed(place, command)
    lines = re.findall(r"^finished (\w+)  val/(\w+) (\S+) .* test/\w+ (\S+)  \((.*?), \d+ s\)", PAGE, re.M)
    assert len(lines) == 3
    for signature, metric, validated, tested, rest in lines:
        entry = record.read(place / "runs" / signature)
        assert entry["status"] == "finished" and entry["data"]["digest"] and entry["data"]["steps"] == [20, 40]
        near = {"abs": 5.0} if metric == "error" else {"rel": 0.3}
        assert entry["metrics"][f"val/{metric}"] == pytest.approx(float(validated), **near)
        assert entry["metrics"][f"test/{metric}"] == pytest.approx(float(tested), **near)
        assert rest == f"{entry['updates']} updates, {entry['parameters']:,} parameters"
    monkeypatch.chdir(place)
    names = {}
    exec(LOADS, names)
    assert 6 < names["period"] < 10  # the example has 8
    assert names["long_neurons"] > 0 and len(names["memory"]) == 128
    code = f"import torch, indrnn.recurrence\nx = torch.tensor({names['x'].tolist()})\n"
    code += f"assert abs(torch.export.load('waves.pt2').module()(x).item() - {names['period']}) < 1e-3"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=place, check=True, timeout=120)


def test_a_class_of_ones_own_is_short_and_trains_with_its_hash_in_the_record(place):
    assert len(ECHO.strip().splitlines()) <= 28
    for name, text in (
        ("echo.py", ECHO),
        ("conf/sequences/echo.yaml", DATA),
        ("conf/experiment/echo.yaml", EXPERIMENT),
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    said = typed(place, COMMANDS[2].replace("experiment=echo", "experiment=echo trainer.max_updates=10"))
    (code,) = re.findall(r"sequences/echo.yaml is code: it names echo.Echo.*\((\w+) in the record", said)
    made = [record.read(path.parent) for path in (place / "runs").glob("*/run.json")]
    (own,) = [entry for entry in made if "echo" in entry["data"]["name"]]
    assert own["status"] == "finished" and own["code_files"] == {"sequences/echo.yaml": code}


def test_its_table_is_that_of_the_published_runs():
    section = PAGE.partition("## Which model when")[2].partition("## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    published = (files.ROOT / "results" / "milestones" / "own_series.md").read_text(encoding="utf-8")
    assert len(rows) >= 5 and "\n".join(rows) in published


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(((?!http|#)[^)]+)\)", PAGE))))
def test_links_lead_somewhere(path):
    assert (files.ROOT / "docs" / path).exists()


@pytest.mark.parametrize("sentence", re.findall(r"such as `waves.csv:(.*?)`", PAGE))
def test_the_mistake_is_told_as_the_page_says(place, waves, sentence):
    """The line that the sentence names gets the field that it tells."""
    number, value = re.match(r"(\d+): column 'x' is '(.*?)'", sentence).groups()
    lines = waves.read_text().splitlines()
    fields = lines[int(number) - 1].split(",")
    lines[int(number) - 1] = ",".join([fields[0], f'"{value}"', *fields[2:]])
    (place / "broken.csv").write_text("\n".join(lines))
    command = [sys.executable, "-m", "indrnn.train", "experiment=csv", "data.path=broken.csv", "data.target=period"]
    done = subprocess.run([*command, "logger=csv", f"machine.runs={place}"], cwd=place, capture_output=True, text=True)
    assert f"broken.csv:{sentence}" in done.stderr and done.returncode == 1
