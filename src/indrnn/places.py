"""Where a command writes what it measured: below runs/, and over what is published only where somebody says so."""

import sys
from pathlib import Path

from indrnn import files
from indrnn.errors import UserError

SAY = "YES=1 (of a script: --yes)"


def is_tracked(path: Path) -> bool:
    """Whether a path belongs to what the repository holds: it lies inside, and not below runs/."""
    place = path.resolve()
    return place.is_relative_to(files.ROOT) and not place.is_relative_to(files.ROOT / "runs")


def place(name: str, asked: Path | None, yes: bool) -> Path:
    """The folder that a command writes into; says on stderr which, and what would be or is replaced.

    Args:
        name: of the folder in results/, such as ``figures/quick``.
        asked: another folder that the user names, taken as it is.
        yes: write into results/.

    Raises:
        UserError: the user names a tracked folder and does not say yes.
    """
    published = files.ROOT / "results" / name
    if asked is not None and is_tracked(asked) and not yes:
        raise UserError(f"{asked} is part of the repository ({held(asked)}): {SAY} writes there.")
    if asked is not None:
        return asked
    if yes:
        print(f"Written into results/{name}, over what is published ({held(published)}).", file=sys.stderr)
        return published
    print(f"Written into runs/{name}; {SAY} writes into results/{name} ({held(published)}).", file=sys.stderr)
    return files.ROOT / "runs" / name


def held(folder: Path) -> str:
    """How many files a folder holds, in words."""
    count = sum(path.is_file() for path in folder.rglob("*")) if folder.is_dir() else 0
    return f"{count} file{'s' * (count != 1)} there"
