"""The folder of what is published, results/: its files, their checksums, and how a new state takes the place of it."""

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from indrnn import checksums, files, record
from indrnn.errors import UserError
from indrnn.tables import changes

SHOWN = 20  # files of a kind that are named
MEND = "Bring it back with git, or remove it: `make tables` writes it anew."


def names(results: Path) -> list[str]:
    """The files under results/ by their names there; not its SHA256SUMS, and nothing that begins with a dot."""
    there = (path.relative_to(results) for path in results.rglob("*") if path.is_file())
    shown = (name.as_posix() for name in there if not any(part.startswith(".") for part in name.parts))
    return sorted(set(shown) - {checksums.NAME})


def refuse_damaged(results: Path, anew: Collection[str]) -> list[str]:
    """Raise UserError, which names each, unless every published record is as it was written, and SHA256SUMS itself.

    Tables are rendered anew and may change, but none is lost; nor has a damaged list the name of one that never was.

    Args:
        anew: signatures of the runs that are about to be replaced, which mends them.

    Returns:
        which other files are not what SHA256SUMS says: other commands write there, too.
    """
    path = results / checksums.NAME
    try:
        sums = checksums.read(path) if path.exists() else {}
    except UserError as error:
        raise UserError(f"{error} {MEND}") from None

    def kept(name: str) -> bool:
        return name.split("/")[1] not in anew if name.startswith("runs/") else not (results / name).exists()

    wrong = checksums.differing(results, sums)
    unlisted = sorted(set(names(results)).difference(sums)) if sums else []
    if strangers := [name for name in unlisted if name.startswith("runs/") and kept(name)]:
        texts = ", ".join(str(results / name) for name in strangers)
        raise UserError(f"{texts}: not listed in {path}. Nothing was written: publish these runs, or remove them.")
    if damaged := list(filter(kept, wrong)):
        texts = ", ".join(str(results / name) for name in damaged)
        raise UserError(f"{texts}: not what {path} says. Nothing was written: restore what is named.")
    record.refuse_damaged(
        folder for folder in (results / "runs").glob("*") if not folder.name.startswith(".") and folder.name not in anew
    )
    return [name for name in wrong if not name.startswith("runs/")]


def copy(results: Path, stage: Path) -> list[str]:
    """Copy what is published into another folder, but for SHA256SUMS; returns the names of the files."""
    there = names(results)
    for name in there:
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(results / name, stage / name)
    return there


def would(stage: Path, results: Path) -> list[str]:
    """What taking over a stage would do to results/, in lines: how many files come, and which are replaced or go."""
    new, old = set(names(stage)), set(names(results))
    other = sorted(name for name in new & old if (stage / name).read_bytes() != (results / name).read_bytes())
    lines = [f"{len(new - old)} new files"] if new - old else []
    for word, which in (("replaced", other), ("removed", sorted(old - new))):
        lines += [f"{word}: {name}" for name in which[:SHOWN]]
        lines += [f"{word}: {len(which) - SHOWN} more"] * (len(which) > SHOWN)
    return lines or ["nothing: all is there already"]


def take_over(stage: Path, results: Path, before: Sequence[str]) -> None:
    """Make results/ what a stage is, file by file, and write its SHA256SUMS.

    Where that is killed, SHA256SUMS, written last, does not fit; the same again mends it. The reasons of changed
    numbers come first, while the tables still tell that they change, then the runs, then what is made of them.

    Args:
        before: the names that the stage began with.
    """
    there = names(stage)
    if not there:
        return
    sums = checksums.text(stage, there)

    def rank(name: str) -> tuple[bool, bool, bool, str]:
        return not name.endswith(f"/{changes.NAME}"), not name.startswith("runs/"), name.endswith("/run.json"), name

    for name in sorted(there, key=rank):
        new, old = (stage / name).read_bytes(), results / name
        if not old.exists() or old.read_bytes() != new:
            files.replace_whole(old, lambda part, new=new: part.write_bytes(new))
    for name in set(before).difference(there):
        (results / name).unlink()
    for folder in {(results / name).parent for name in there}:
        files.remove_parts(folder)
    files.write_whole(results / checksums.NAME, sums)
