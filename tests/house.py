"""The plan of the house, and how its files are read: for the test of it, and drawn by ``make house``."""

import ast
from collections import Counter
from pathlib import Path

from indrnn.files import ROOT

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
GROUND = {"__init__", "adding_numbers", "aloud", "checksums", "configs", "damage", "digests", "eager", "errors"}
GROUND |= {"files", "machine", "markdown_text", "out_of_memory", "overrides", "places", "predictions", "products"}
GROUND |= {"progress", "provenance", "record", "splits", "style", "wandb_mode"}
ENTRANCES = {"again", "boards", "compare", "dashboard", "drawn_runs", "findings", "how_far", "in_short", "launching"}
ENTRANCES |= {"load", "missing_data", "publish", "published", "readme", "report_here", "report_page", "reproduce"}
ENTRANCES |= {"run_groups", "runs", "sweeps", "table_run", "train", "verify", "why"}
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


def drawing() -> str:
    """The floors from the roof down: a wing's files and lines of code, and how often it imports from others."""
    files = {name: [path for path in SOURCES if wing(path) == name] for floor in FLOORS for name in floor}
    lines = []
    for floor in reversed(FLOORS):
        for name in floor:
            count = sum(len(path.read_text().splitlines()) for path in files[name])
            targets = (file_of(target) for path in files[name] for target in imported(path))
            arrows = Counter(wing(target) for target in targets if target)
            below = ", ".join(f"{other} {number}" for other, number in arrows.most_common() if other != name)
            lines.append(f"{name:12}{len(files[name]):4} files {count:6,} lines{f'   -> {below}' * bool(below)}")
        lines.append("-" * 40)
    total = sum(len(path.read_text().splitlines()) for path in SOURCES)
    return "\n".join([*lines, f"{'':12}{len(SOURCES):4} files {total:6,} lines"])


if __name__ == "__main__":
    print(drawing())
