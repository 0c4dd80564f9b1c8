"""The house in wings: every file stands in a known one, imports go down only, and few rooms see a config."""

import re

import house
import pytest
from house import HOUSE, SOURCES, imported, problem, wing

CONFIGS = {"ground", "tables", "training", "studies", "bench", "entrances"}  # receive a config object


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(HOUSE).as_posix())
def test_imports_go_down_only(path):
    assert not problem(path)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(HOUSE).as_posix())
def test_few_rooms_know_configs(path):
    if wing(path) not in CONFIGS:
        assert not any(name.split(".")[0] in ("hydra", "omegaconf") for name in imported(path))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(HOUSE).as_posix())
def test_files_hold_one_thing(path):
    assert len(path.read_text().splitlines()) <= 260


def test_tables_need_no_torch():
    for path in (HOUSE / "tables").glob("*.py"):
        assert not [name for name in imported(path) if name.split(".")[0] in ("torch", "pytorch_lightning")], path


def test_strangers_are_told_by_their_names():
    with pytest.raises(ValueError, match="attic/ is no wing"):
        wing(HOUSE / "attic" / "box.py")
    with pytest.raises(ValueError, match=r"cellar\.py stands outside of every wing"):
        wing(HOUSE / "cellar.py")


def test_an_import_that_runs_up_is_told_by_both_names(tmp_path, monkeypatch):
    monkeypatch.setattr(house, "HOUSE", tmp_path)
    for name, text in (("layers/a.py", "from indrnn.networks import b"), ("networks/b.py", ""), ("data/c.py", "")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    expected = "layers/a.py (layers) imports networks/b.py (networks), which is not below it"
    assert problem(tmp_path / "layers" / "a.py") == expected
    (tmp_path / "data/c.py").write_text("import indrnn.tables.d")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/d.py").write_text("import indrnn.layers.a")
    assert "data/c.py (data) imports tables/d.py (tables)" in problem(tmp_path / "data/c.py")  # beside it
    assert "tables/d.py (tables) imports layers/a.py (layers)" in problem(tmp_path / "tables/d.py")


def test_the_drawing_has_every_wing_and_counts_every_file():
    text = house.drawing()
    assert all(f"\n{name:12}" in f"\n{text}" for floor in house.FLOORS for name in floor)
    assert f"{len(SOURCES)} files" in text.splitlines()[-1] and re.search(r"^networks .* -> layers \d+", text, re.M)
