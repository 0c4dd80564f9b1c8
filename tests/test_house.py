"""The house: imports go down only, and floor 3 alone sees configs."""

import ast

import pytest

from indrnn.record import ROOT

FLOORS = [
    {"errors", "exhausted", "recurrence", "padding"},
    {"layers", "memory_length", "norm_dropout", "baselines", "metrics", "data", "schedules"},
    {"transition", "networks", "dense", "compiled", "drop_in", "tasks", "states", "language", "language_network"}
    | {"dynamic"},
    {"record", "callbacks", "tensors", "sitting", "load", "listen", "ranks", "run", "train"},
]
SOURCES = sorted((ROOT / "src" / "indrnn").rglob("*.py"))


def floor(module: str) -> int:
    """Of ``indrnn.x.y``; what is not named in FLOORS is floor 4."""
    room = (module.split(".") + [""])[1]
    return next((i for i, rooms in enumerate(FLOORS) if room in rooms), 4)


def imports(path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            found += [f"{node.module}.{name.name}" for name in node.names]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_imports_go_down_only(path):
    module = "indrnn." + ".".join(path.relative_to(ROOT / "src" / "indrnn").with_suffix("").parts)
    for name in imports(path):
        if name.startswith("indrnn.") and module != "indrnn.__init__":
            assert floor(name) <= floor(module), f"{module} imports {name} from above"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_nothing_below_floor_3_knows_configs(path):
    module = "indrnn." + ".".join(path.relative_to(ROOT / "src" / "indrnn").with_suffix("").parts)
    if floor(module) < 3:
        assert not any(name.split(".")[0] in ("hydra", "omegaconf") for name in imports(path))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_files_hold_one_thing(path):
    assert len(path.read_text().splitlines()) <= 260
