"""Damaged records are named, and nothing is rendered: flipped bytes of published runs, values that cannot be."""

import copy
import json
import os
import random
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from indrnn import checksums, configs, damage, files, publish, published, record
from indrnn.errors import UserError

PUBLISHED = sorted((files.ROOT / "results" / "runs").glob("*/run.json"))
FEW = [path.parent for path in PUBLISHED[:: max(len(PUBLISHED) // 12, 1)]]


@pytest.fixture
def results(tmp_path) -> Path:
    """Some published runs without lists of checksums."""
    for folder in FEW:
        for name in ("run.json", "curve.csv"):
            (tmp_path / "runs" / folder.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / name, tmp_path / "runs" / folder.name / name)
    return tmp_path


def entry_of(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_bytes())


def places(folder: Path) -> dict[str, list[tuple[Path, int]]]:
    """Where the bytes of values stand: of metrics, of the config, of the curve."""
    text = (folder / "run.json").read_text(encoding="utf-8")
    found = {}
    for key in ("metrics", "config"):
        start = text.index(f'"{key}": {{')
        values = re.finditer(r'(?<=": )("[^"]*"|[-\w.+]+)|(?<=\n)\s+[-\w.+]+', text[start : text.index("\n }", start)])
        found[key] = [(folder / "run.json", start + at) for match in values for at in range(*match.span())]
        found[key] = [(path, at) for path, at in found[key] if text[at] not in " \n"]
    curve = (folder / "curve.csv").read_text()
    start = curve.index("\n") + 1
    found["curve"] = [(folder / "curve.csv", at) for at in range(start, len(curve)) if curve[at] not in ",\n"]
    return found


def flipped(dice: random.Random, path: Path, at: int) -> bytes:
    """Flip one bit of the byte at a place; returns what was there before."""
    content = path.read_bytes()
    path.write_bytes(content[:at] + bytes([content[at] ^ 1 << dice.randrange(8)]) + content[at + 1 :])
    return content


def named(folder: Path, path: Path) -> bool:
    try:
        record.refuse_damaged([folder])
    except UserError as error:
        return str(path) in str(error) and "\n" not in str(error)
    return False


@pytest.mark.parametrize("sums", [True, False], ids=["with checksums", "without"])
def test_600_flipped_bytes_of_values(results, sums):
    """All are named where checksums stand beside; without them a config's are, which is signed, and few others."""
    dice, missed = random.Random(0), Counter()
    folders = sorted((results / "runs").iterdir())
    for folder in folders if sums else []:
        files.write_whole(folder / checksums.NAME, checksums.text(folder, ["run.json", "curve.csv"]))
    record.refuse_damaged(folders)
    for number in range(600):
        folder, kind = dice.choice(folders), ("metrics", "config", "curve")[number % 3]
        path, at = dice.choice(places(folder)[kind])
        before = flipped(dice, path, at)
        if not named(folder, path):
            assert not sums, f"{path} at {at}: {before[at : at + 1]}"
            missed[kind] += 1
        path.write_bytes(before)
    record.refuse_damaged(folders)
    if not sums:
        print(f"not named without checksums, of 200 each: {dict(missed)}")
        assert missed["config"] <= 10  # whole numbers may be written in two ways, such as 1.0 and 1.
        assert missed["metrics"] < 150 and missed["curve"] < 190


def test_a_flip_in_any_published_file_stops_the_rendering_and_nothing_is_written(results):
    dice, runs = random.Random(1), results / "runs"
    (results / "quick").mkdir()
    everything = [str(path.relative_to(results)) for path in sorted(runs.rglob("*.*"))]
    files.write_whole(results / checksums.NAME, checksums.text(results, everything))
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    for path in [*dice.sample([path for path in before if path.parent.parent == runs], 8), results / checksums.NAME]:
        flipped(dice, path, dice.randrange(len(before[path]) - 200, len(before[path]) - 1))
        for profile, milestones in ((None, False), ("quick", False), (None, True)):
            with pytest.raises(UserError) as caught:
                publish.main(profile, milestones, results / "nowhere", results)
            assert str(results) in str(caught.value) and "\n" not in str(caught.value)
            assert path.name in str(caught.value) or path.name == checksums.NAME
        path.write_bytes(before[path])
    assert before == {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}


def test_every_published_record_is_as_it_was_written():
    published.refuse_damaged(files.ROOT / "results", ())
    assert len(PUBLISHED) > 400


WRONG = {
    "seed": [1, -1, True, "0", None, 2**32],
    "status": ["finishd", None, ""],
    "overrides": ["seed=0", [1]],
    "metrics": [[], None, {"test/mse": "0.5"}, {"test/mse": None}, {"test/mse": -0.1}, {"test/mse": True}],
    "parameters": [-1, 1.5, "1"],
    "updates": [-1, 10**9, 1.5, True],
    "examples": [3, "3", -32],
    "wall_seconds": [-0.1, "1", None],
    "commit": ["", None],
    "source": [12, " "],
    "dirty": ["false", 0, None],
    "versions": [[], {"python": 3.11}, {"python": ""}],
    "device": ["", None],
    "data": [None, "MNIST"],
    "started": ["yesterday", "2026-13-01T00:00:00+00:00", 5],
    "sittings": [{}, ["one"], [{"updates": [0, 5]}], [{"updates": [5, 0], "seconds": 1, "device": "a"}]],
}
BAD = [(key, value) for key, values in WRONG.items() for value in values]
BAD += [("metrics", {name: value}) for name, value in (
    ("test/error", 101.0), ("val/accuracy", -1.0), ("test/ppl", 0.5), ("test/dynamic_ppl", 0.5), ("test/bpc", -1e-9),
    ("test/loss", -2.0), ("test/tokens", 2.5), ("best_update", 0), ("best_update", 2.5), ("best_update", 10**9),
)]  # fmt: skip


@pytest.mark.parametrize("key, value", BAD, ids=str)
def test_what_cannot_be_is_named_with_its_key(results, key, value):
    folder = results / "runs" / FEW[0].name
    entry = entry_of(folder) | {key: value}
    if key == "metrics" and isinstance(value, dict):
        entry["metrics"] = entry_of(folder)["metrics"] | value
    (folder / "run.json").write_text(json.dumps(entry))
    with pytest.raises(record.Damaged) as caught:
        record.load(folder)
    word = next(iter(value)) if key == "metrics" and isinstance(value, dict) else key.rstrip("s")
    assert f"{folder}/run.json is damaged" in str(caught.value) and word in str(caught.value)
    assert record.read(folder) is None


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_metric_that_is_no_number_is_damage(results, number):
    path = results / "runs" / FEW[0].name / "run.json"
    path.write_text(re.sub(r'("test/loss": )[^,\n]+', rf"\g<1>{number}", path.read_text()))
    with pytest.raises(record.Damaged, match="test/loss"):
        record.load(path.parent)


def test_a_key_that_no_record_has_is_damage(results):
    path = results / "runs" / FEW[0].name / "run.json"
    path.write_text(json.dumps(entry_of(path.parent) | {"sittinks": []}))
    with pytest.raises(record.Damaged, match="with sittinks"):
        record.load(path.parent)


SITTING = {"device": "a CPU", "versions": {"python": "3.11"}, "seconds": 1.5}


def test_sittings_stand_in_order():
    def said(*spans) -> str:
        return damage.in_record(entry_of(FEW[0]) | {"sittings": [SITTING | {"updates": list(x)} for x in spans]})

    assert said((0, 5), (5, 9)) == said() == ""
    assert "sitting 2" in said((0, 5), (4, 9)) and "sitting 1" in said((-1, 5)) and "sitting 1" in said((0, 5, 6))


def test_a_curve_agrees_with_its_record():
    entry, rows = entry_of(FEW[0]), record.curve(FEW[0])
    name = next(name for name in entry["metrics"] if name.startswith("val/"))
    best = next(i for i, row in enumerate(rows) if row["update"] == entry["metrics"]["best_update"])
    assert damage.in_curve(entry, rows) == ""

    def said(change) -> str:
        changed = copy.deepcopy(rows)
        change(changed)
        return damage.in_curve(entry, changed)

    assert "its best" in said(lambda rows: rows[best].update({name: rows[best][name] * 1.001}))
    assert "its best" in said(lambda rows: rows.clear())
    assert "follows" in said(lambda rows: rows.append(rows[-1]))
    assert "update" in said(lambda rows: rows.append({"update": entry["updates"] + 1}))
    assert name in said(lambda rows: rows[0].update({name: -1.0}))


@pytest.mark.parametrize(
    "text", ["", "update\nx\n", "a,b\n1,2\n", "update,a\n1,2,3\n", "update,a\n1.5,2\n", "update\ninf\n", "é"]
)
def test_a_curve_that_is_no_table_is_named(tmp_path, text):
    (tmp_path / "curve.csv").write_bytes(text.encode("latin-1"))
    if not text:
        assert record.curve(tmp_path) == []
        return
    with pytest.raises(record.Damaged, match=f"{tmp_path}/curve.csv is damaged"):
        record.curve(tmp_path)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def huge(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(10**11)  # without taking place


def deep(path: Path) -> None:
    path.write_text("[" * 10**6)


@pytest.mark.parametrize("name", ["run.json", "curve.csv", "SHA256SUMS"])
@pytest.mark.parametrize("make", [Path.mkdir, pipe, huge, deep])
def test_what_is_no_file_of_a_sane_size_is_named_and_not_waited_for(results, make, name):
    folder = results / "runs" / FEW[0].name
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    assert named(folder, folder / name)
    if name != "curve.csv":
        assert record.read(folder) is None


def test_a_folder_without_a_record_and_one_of_another_run_are_named(results):
    first, second = (results / "runs" / folder.name for folder in FEW[:2])
    (second / "run.json").unlink()
    with pytest.raises(UserError, match=f"{second} has no run.json"):
        record.refuse_damaged([first, second])
    shutil.copy(first / "run.json", second / "run.json")
    with pytest.raises(UserError, match=f"that of another run, {first.name}"):
        record.refuse_damaged([first, second])


def test_a_damaged_run_of_this_machine_is_not_published(tmp_path):
    run = tmp_path / "runs" / FEW[0].name
    shutil.copytree(FEW[0], run)
    (run / "curve.csv").write_text("update,val/mse\n1,0.5\n")
    with pytest.raises(UserError, match="curve.csv is damaged"):
        publish.copy({run.name: record.read(run)}, tmp_path / "runs", tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_record_that_differs_from_its_checksum_counts_as_not_run(results, caplog):
    folder = results / "runs" / FEW[0].name
    files.write_whole(folder / checksums.NAME, checksums.text(folder, ["run.json", "curve.csv"]))
    assert record.read(folder)
    entry = entry_of(folder)
    entry["metrics"]["test/loss"] *= 1.01
    (folder / "run.json").write_text(json.dumps(entry))
    assert record.read(folder) is None and "its checksum is not that of SHA256SUMS" in caplog.text
    assert configs.signature(entry["config"]) == folder.name
