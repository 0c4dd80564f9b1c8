"""The house in wings: every file stands in a known one, imports go down only, and few rooms see a config."""

import ast
from pathlib import Path

import pytest

from indrnn.record import ROOT

HOUSE = ROOT / "src" / "indrnn"
# From the ground up. Wings on one floor do not know each other; what stands on none is a stranger.
FLOORS = (
    ("ground",),
    ("recurrence", "data", "tables"),
    ("layers",),
    ("networks",),
    ("tasks",),
    ("training",),
    ("studies", "bench"),
    ("entrances",),
)
GROUND = {"__init__", "adding_numbers", "errors", "machine", "out_of_memory", "record", "splits"}
ENTRANCES = {"load", "publish", "train"}
CONFIGS = {"ground", "tables", "training", "studies", "bench", "entrances"}  # receive a config object
SOURCES = sorted(HOUSE.rglob("*.py"))


def wing(path: Path) -> str:
    """The wing that a file of src/indrnn stands in.

    Raises:
        ValueError: it stands in none.
    """
    place = path.relative_to(HOUSE)
    known = {name for floor in FLOORS for name in floor}
    if len(place.parts) > 1:
        if place.parts[0] not in known - {"ground", "entrances"}:
            raise ValueError(f"src/indrnn/{place.parts[0]}/ is no wing of the house")
        return place.parts[0]
    for name, files in (("ground", GROUND), ("entrances", ENTRANCES)):
        if place.stem in files:
            return name
    raise ValueError(f"src/indrnn/{place} stands outside of every wing")


def floor(name: str) -> int:
    return next(number for number, wings in enumerate(FLOORS) if name in wings)


def imported(path: Path) -> list[str]:
    """The modules that a file names in import statements, wherever they stand, in full."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            found += [f"{node.module}.{name.name}" for name in node.names]
    return found


def file_of(name: str) -> Path | None:
    """The file of a module, or of the module that an imported name comes from; None outside of this package."""
    parts = name.split(".")
    if parts[0] != "indrnn":
        return None
    for count in range(len(parts), 0, -1):
        path = HOUSE.joinpath(*parts[1:count])
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if count > 1 and candidate.exists():
                return candidate
    return HOUSE / "__init__.py"


def problem(path: Path) -> str:
    """What is wrong with the imports of a file; empty where nothing is."""
    here = wing(path)
    for target in filter(None, map(file_of, imported(path))):
        there = wing(target)
        if there != here and floor(there) >= floor(here) and path != HOUSE / "__init__.py":
            names = (file.relative_to(HOUSE).as_posix() for file in (path, target))
            return "{} ({here}) imports {} ({there}), which is not below it".format(*names, here=here, there=there)
    return ""


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
    monkeypatch.setattr("test_house.HOUSE", tmp_path)
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
