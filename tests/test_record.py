"""Records: written whole or not at all, damaged ones named and not counted."""

import errno
import json
import logging
import shutil
import subprocess
from pathlib import Path

import pytest
from hydra.utils import get_object

from indrnn import configs, files, provenance, record


def made_up(folder, **changes) -> dict:
    config = {"seed": 0, "trainer": {"max_updates": 2}}
    values = {
        "config": config,
        "signature": configs.signature(config),
        "status": "finished",
        "metrics": {"test/mse": 0.5},
        "overrides": ["seed=0"],
        "seed": 0,
        "parameters": 17,
        "updates": 2,
        "examples": 64,
        "wall_seconds": 0.5,
        "commit": "0" * 40,
        "source": "a1b2c3d4e5f6",
        "dirty": False,
        "versions": {"python": "3.11"},
        "device": "a CPU",
        "data": {},
        "started": "2026-01-01T00:00:00+00:00",
    }
    return values | changes


def test_write_and_read(tmp_path):
    curve = [{"update": 1, "val/mse": 0.5}, {"update": 2, "val/mse": 0.25, "train/loss": 1.0}]
    record.write(tmp_path, made_up(tmp_path), curve)
    assert record.read(tmp_path) == made_up(tmp_path)
    assert (tmp_path / "curve.csv").read_text() == "update,val/mse,train/loss\n1,0.5,\n2,0.25,1.0\n"
    assert record.read(tmp_path / "nowhere") is None


@pytest.mark.parametrize("keys", [record.KEYS[1:], [*record.KEYS, "more"]])
def test_keys_are_literal(tmp_path, keys):
    with pytest.raises(ValueError, match="holds the keys"):
        record.write(tmp_path, dict.fromkeys(keys), [])
    assert not list(tmp_path.iterdir())


def test_not_a_number_is_refused(tmp_path):
    with pytest.raises(ValueError):
        record.write(tmp_path, made_up(tmp_path, metrics={"test/mse": float("nan")}), [])
    assert not (tmp_path / "run.json").exists()


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda text: text[: len(text) // 2], "cannot be read"),
        (lambda text: "", "cannot be read"),
        (lambda text: "[1, 2]", "is damaged"),
        (lambda text: json.dumps({"signature": "x"}), "is damaged"),
        (lambda text: text.replace('"max_updates": 2', '"max_updates": 3'), "does not fit its own signature"),
    ],
)
def test_damaged_records_are_named_and_not_counted(tmp_path, caplog, damage, words):
    record.write(tmp_path, made_up(tmp_path), [])
    path = tmp_path / "run.json"
    path.write_text(damage(path.read_text()))
    with caplog.at_level(logging.WARNING):
        assert record.read(tmp_path) is None
    assert words in caplog.text and str(path) in caplog.text


def test_a_full_disk_leaves_the_old_record(tmp_path, monkeypatch):
    record.write(tmp_path, made_up(tmp_path), [])
    before = (tmp_path / "run.json").read_text()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="curve.csv"):
        record.write(tmp_path, made_up(tmp_path, status="interrupted"), [])
    assert (tmp_path / "run.json").read_text() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curve.csv", "run.json"]


def test_code_names_the_commit_where_there_is_no_git(tmp_path, monkeypatch):
    for name in ("src/a.py", "conf/b.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.delenv("INDRNN_COMMIT", raising=False)
    assert provenance.code()["commit"] == "unknown" and provenance.code()["dirty"]
    monkeypatch.setenv("INDRNN_COMMIT", "abc")
    first = provenance.code()
    assert first["commit"] == "abc" and not first["dirty"] and first["versions"]["torch"]
    (tmp_path / "src/a.py").write_text("other")
    assert provenance.source() != first["source"]


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of src/ and conf/, and its ``source``."""
    for top in ("src", "conf"):
        shutil.copytree(files.ROOT / top, tmp_path / top, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(files, "ROOT", tmp_path)
    return tmp_path, provenance.source()


@pytest.mark.skipif(not (files.ROOT / ".git").exists(), reason="a copied folder does not say what is kept")
def test_source_covers_files_of_every_kind_that_is_kept():
    command = ["git", "-C", str(files.ROOT), "ls-files", "src", "conf"]
    kept = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {Path(name).suffix for name in kept} == set(provenance.SUFFIXES)


def test_source_covers_lists_as_well_as_code(copied):
    folder, before = copied
    for name in ("src/indrnn/data/ntu/missing.txt", "src/indrnn/adding_numbers.py", "conf/config.yaml"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content + b"\n")
        assert provenance.source() != before
        (folder / name).write_bytes(content)
        assert provenance.source() == before
    (folder / "src/indrnn/data/ntu/missing.txt").rename(folder / "src/indrnn/data/ntu/lost.txt")
    assert provenance.source() != before


def test_source_does_not_cover_what_editors_and_python_leave(copied):
    folder, before = copied
    left = ["src/indrnn/__pycache__/load.cpython-311.pyc", "src/indrnn/load.py~", "src/indrnn/load.py.orig"]
    left += ["src/indrnn/#load.py#", "src/indrnn/.load.py.swp", "src/indrnn/.ipynb_checkpoints/load.py", "conf/.a.yaml"]
    for name in left:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    (folder / "src/indrnn/.#load.py").symlink_to("somebody@somewhere.1")
    assert provenance.source() == before


def test_code_is_known_where_there_is_a_git_folder_but_no_git(monkeypatch):
    def absent(*arguments, **options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(provenance.subprocess, "run", absent)
    monkeypatch.setenv("INDRNN_COMMIT", "abc")
    assert provenance.code()["commit"] == "abc" and provenance.code()["source"] == provenance.source()


def test_overrides_are_told_without_folder_and_machine():
    given = "experiment=quick/adding machine.runs=elsewhere machine=gpu logger=csv +logger.name=x hydra/launcher=basic"
    given += " trainer.max_time=60 ++trainer.max_time=60 trainer.max_updates=5 schedule@recipe.schedule=constant seed=1"
    expected = ["experiment=quick/adding", "trainer.max_updates=5", "schedule@recipe.schedule=constant", "seed=1"]
    assert record.told(given.split()) == expected


def test_published_overrides_name_no_folder():
    for path in (files.ROOT / "results" / "runs").glob("*/run.json"):
        overrides = json.loads(path.read_text())["overrides"]
        assert not [x for x in overrides if x.startswith("/") or "=/" in x], path


def test_published_records_keep_their_signature():
    for path in (files.ROOT / "results" / "runs").glob("*/run.json"):
        published = json.loads(path.read_text())
        assert configs.signature(published["config"]) == published["signature"] == path.parent.name
        assert not published["dirty"]


def test_published_configs_name_classes_that_are_there_under_the_same_signature():
    """Classes move, and a run keeps the name that it got when its config was signed first."""
    targets = set()

    def gather(value) -> None:
        if isinstance(value, dict):
            targets.update(entry for key, entry in value.items() if key == "_target_")
            for entry in value.values():
                gather(entry)

    for path in (files.ROOT / "results" / "runs").glob("*/run.json"):
        published = json.loads(path.read_text())
        today = configs.moved(published["config"])
        assert configs.signature(today) == published["signature"]
        gather(today)
    assert {"indrnn.tasks.schedules.OneCycle", "indrnn.networks.PlainIndRNN"} <= targets
    assert all(callable(get_object(target)) for target in targets)
    assert all(callable(get_object(target)) for target in configs.SIGNED_AS)
