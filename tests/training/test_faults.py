"""Kills at random moments, damaged files, a full disk: the table ends with the numbers of an undisturbed run.

A SIGKILL at any moment finds what tests of single functions do not: the moments between two lines of this repository,
of Lightning and of Hydra.
"""

import csv
import errno
import json
import random
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from forked import Command, status, wait_for

from indrnn import record

JOBLIB = ("--launcher", "joblib", "--jobs", "2")
NUMBERS = "signature config seed metrics status parameters updates examples".split()
UNFINISHED = ("lock", ".part", "progress.json")  # files of runs that go on
PROVENANCE = "wall_seconds commits sources dirty devices versions".split()


def finished(runs: Path) -> list[Path]:
    return [path.parent for path in sorted(runs.glob("*/run.json")) if status(path.parent) == "finished"]


def kill_at_random(command: Command, kills: int, real: int, seconds: float) -> Counter[str]:
    """Start the command and kill it until runs in progress were hit ``kills`` times; returns where, and how often.

    Args:
        real: so many of the kills, the last ones, hit processes of their own.
        seconds: to the kill, at most, by turns twice that from the start of a run and that from its first checkpoint:
            a busy machine may take longer to start a run than to train it. Where the table is done, a run is removed.
    """
    dice = random.Random(0)
    hit: Counter[str] = Counter()
    for _ in range(10 * kills):
        if hit.total() == kills:
            break
        forks = hit.total() < kills - real
        attempt = command.fork() if forks else command.start(*JOBLIB[: 4 * (hit.total() // 2 % 2)])
        begun, longest = [(attempt.holds_a_run, 2 * seconds), (attempt.trains, seconds)][hit.total() % 2]
        wait_for(lambda a=attempt, begun=begun: begun() or a.code is not None)
        wait_for(lambda a=attempt: a.code is not None, dice.uniform(0, longest))
        if attempt.code is None:
            hit.update(filter(None, [attempt.kill()]))
        else:
            assert attempt.code == 0, attempt.said.read_text()
            shutil.rmtree(dice.choice(finished(command.runs)))
    assert hit.total() == kills, f"most kills hit no run in progress, only {hit} did"
    return hit


def damage(command: Command) -> tuple[Path, Path]:
    """Flip a bit in the checkpoint of an unfinished run, cut the record of a finished one; returns both paths."""

    def both() -> list[Path]:
        unfinished = [p for p in command.runs.glob("*/last.ckpt") if status(p.parent) not in record.FINAL]
        return [unfinished[0], finished(command.runs)[0] / "run.json"] if unfinished and finished(command.runs) else []

    while not both():
        attempt = command.fork()
        wait_for(lambda a=attempt: a.code is not None or both())
        attempt.kill()
        assert attempt.code != 0, "the table was done before there was something to damage"
    checkpoint, path = both()
    content = bytearray(checkpoint.read_bytes())
    with zipfile.ZipFile(checkpoint) as archive:
        tensor = archive.read(next(name for name in archive.namelist() if name.endswith("/data/0")))
    content[content.index(tensor)] ^= 16
    checkpoint.write_bytes(content)
    path.write_text(path.read_text()[:500])
    return checkpoint, path


def fill(disk: Path, left: int) -> Path:
    """Fill a disk with one file but for some bytes; returns the file."""
    ballast = disk / "ballast"
    with open(ballast, "ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC
        file.truncate(file.tell() // 4096 * 4096 - left)
    return ballast


def contents(runs: Path) -> dict[str, bytes]:
    """Everything that runs and tables have finished writing, by path; what was set aside, by the path it had."""
    paths = [path for path in runs.rglob("*") if path.is_file() and not path.name.endswith(UNFINISHED)]
    return {str(path).removesuffix(".unread"): path.read_bytes() for path in paths}


def numbers(runs: Path) -> dict[str, object]:
    """All that two folders of runs must share: records but for time and place, curves, weights, tables."""
    found: dict[str, object] = {}
    for folder in finished(runs):
        entry = json.loads((folder / "run.json").read_text())
        weights = torch.load(folder / "weights.pt", weights_only=True)
        found[folder.name] = {key: entry[key] for key in NUMBERS}
        found[folder.name, "curve"] = (folder / "curve.csv").read_text()
        found[folder.name, "weights"] = {name: tensor.numpy().tobytes() for name, tensor in weights.items()}
        found[folder.name, "answers"] = (folder / "predictions.npz").read_bytes()
    tables = runs / "tables" / "quick"
    with open(tables / "figure2_adding.csv") as file:
        found["csv"] = [{k: v for k, v in line.items() if k not in PROVENANCE} for line in csv.DictReader(file)]
    page = (tables / "figure2_adding.md").read_text().partition("## Provenance")[0]
    page = re.sub(r"[\d.e-]+ min\b", "", page)  # of training; columns are as wide as these are long
    found["md"] = re.sub(r" {2,}|-{3,}", " ", page)
    found["png"] = (tables / "figure2_adding.png").read_bytes()
    return found


def assert_tells(runs: Path, expected: dict[str, object]) -> None:
    """The control: one digit or bit of any kind of file is enough to make ``numbers`` differ."""
    folder, tables = finished(runs)[0], runs / "tables" / "quick"

    def heavier(path: Path) -> None:
        weights = torch.load(path, weights_only=True)
        tensor = next(iter(weights.values()))
        tensor.copy_(torch.nextafter(tensor, tensor + 1))
        torch.save(weights, path)

    def replaced(old: bytes, new: bytes) -> Callable[[Path], None]:
        return lambda path: path.write_bytes(path.read_bytes().replace(old, new))

    changes = {
        folder / "run.json": replaced(b'"updates": 150', b'"updates": 149'),
        folder / "curve.csv": replaced(b"\n150,", b"\n149,"),
        folder / "weights.pt": heavier,
        folder / "predictions.npz": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"1"),
        tables / "figure2_adding.csv": replaced(b",150;", b",149;"),
        tables / "figure2_adding.md": replaced(b"T = 100", b"T = 101"),
        tables / "figure2_adding.png": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"1"),
    }
    for path, change in changes.items():
        before = path.read_bytes()
        change(path)
        assert path.read_bytes() != before and numbers(runs) != expected, path
        path.write_bytes(before)
    assert numbers(runs) == expected


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A folder of 4 MB where this user may mount one (Linux, root), else an ordinary one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if sys.platform == "linux" and shutil.which("mount"):
        subprocess.run(mount, capture_output=True, check=False)
    yield folder
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    "kills, real", [(6, 0), pytest.param(50, 5, marks=pytest.mark.slow)], ids=["6 kills", "50 kills"]
)
def test_killed_damaged_and_full_the_table_ends_with_the_same_numbers(tmp_path, disk, kills, real):
    """Kills before, within and after updates, validations, tests and writes; then the damage; then the full disk."""
    undisturbed = Command(tmp_path / "undisturbed", tmp_path, every=1e9).fork()
    code, said = undisturbed.end()
    assert code == 0, said
    times = [json.loads((folder / "run.json").read_text())["wall_seconds"] for folder in finished(undisturbed.runs)]
    seconds = sum(times) / len(times)  # of a run alone: its tables may take longer, and a kill there hits none
    expected = numbers(undisturbed.runs)
    assert len(expected) == 8 * 4 + 3
    assert_tells(undisturbed.runs, expected)

    command = Command(disk / "runs", tmp_path)
    hit = kill_at_random(command, kills, real, seconds)
    print(f"{hit.total()} kills hit a run in progress, at most {seconds:.2f} s after it began to train: {dict(hit)}")
    assert kills - hit["starting or ending"] >= kills // 5
    checkpoint, path = damage(command)

    told = ""
    for left in (0, 4096) if disk.is_mount() else ():
        before = contents(command.runs)
        ballast = fill(disk, left)
        code, said = command.fork().end()
        told += said
        assert code == 1 and "Traceback" not in said, said
        assert re.search(r"No space left to write \S+: make some and start the same command\.$", said, re.M), said
        code, said = Command(disk / "new", tmp_path).fork().end()
        assert code == 1 and "Traceback" not in said and re.search(rf"No space left .*{disk / 'new'}", said), said
        ballast.unlink()
        assert contents(command.runs) == before

    code, said = (command.start(*JOBLIB) if real else command.fork()).end()
    assert code == 0 and "Traceback" not in said, said
    assert f"{path} cannot be read" in said and f"{checkpoint} is damaged" in told + said
    assert checkpoint.with_name("last.ckpt.unread").exists()
    assert numbers(command.runs) == expected
    assert not list(disk.rglob("*.part"))
    if not disk.is_mount():
        pytest.skip("all of this held but for the full disk, which needs root on Linux to mount a small one")
