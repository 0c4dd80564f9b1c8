"""Published numbers that become others, and why: results/<profile>/changes.csv, beside the tables that it is about."""

import csv
import io
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indrnn import files, record
from indrnn.errors import UserError
from indrnn.tables import schema
from indrnn.tables.verdict import shown

NAME = "changes.csv"
FIELDS = ("date", "table", "column", "row", "old", "new", "reason")
NOTHING = ("", "", "0")  # numbers of a cell without a value
Place = tuple[str, str]  # labels of column and row


@dataclass(frozen=True)
class Cell:
    """A cell as its table's csv has it.

    ``numbers``: mean, sample standard deviation and n, as written there; empty where there is none. ``runs``: of every
    final run by signature its status and its value, where the cell shows one.
    """

    numbers: tuple[str, str, str]
    verdict: str
    runs: dict[str, tuple[str, str]]

    def text(self, number: str) -> str:
        """mean ± std (n) in a format of numbers, all digits where that is empty; without a mean, why there is none."""
        mean, std, n = self.numbers
        if not mean:
            return self.verdict
        if number:
            mean, std = (shown(float(text), number) if text else "" for text in (mean, std))
        return f"{mean}{f' ± {std}' if std else ''} ({n})"

    def lives_on_in(self, other: "Cell") -> bool:
        """Whether another cell has every final run of this one, with the same status and, where both show it, value."""
        for signature, (status, value) in self.runs.items():
            here, now = other.runs.get(signature, ("", ""))
            if here != status or (value and now and now != value):
                return False
        return True


@dataclass(frozen=True)
class Change:
    """A published cell that becomes another: ``filled`` where it only gains runs, which needs no reason."""

    profile: str
    table: str
    place: Place
    old: str
    new: str
    filled: bool
    date: str

    def __str__(self) -> str:
        column, row = self.place
        return f"{self.profile}/{self.table}, {column}, {row}: {self.old} -> {self.new}"


def cells(path: Path) -> dict[Place, Cell]:
    """The cells of a table's csv by their labels; none where there is no file.

    Raises:
        UserError: it is not what ``render.csv`` writes.
    """
    if not path.exists():
        return {}
    found = {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                signatures, statuses, values = (
                    line[key].split(";") if line[key] else [] for key in ("signatures", "statuses", "values")
                )
                made = dict(zip(signatures, statuses, strict=True))
                done = [signature for signature, status in made.items() if status == "finished"]
                value = dict(zip(done, values, strict=False)) if len(values) == len(done) else {}
                runs = {name: (made[name], value.get(name, "")) for name in made if made[name] in record.FINAL}
                numbers = line["mean"], line["std"], line["n"]
                found[line["column"], line["row"]] = Cell(numbers, line["verdict"], runs)
    except (KeyError, ValueError, AttributeError, csv.Error):
        raise UserError(f"{path} is no table of ours: bring it back (git checkout {path}) or remove it.") from None
    return found


def between(published: Path, new: Path) -> list[Change]:
    """The cells of the tables in ``published`` that are others in ``new``; both are folders such as results/.

    A cell that is gone counts, unless another one of its table has its runs under other labels.
    """
    found = []
    for path in sorted(new.glob("*/*.csv")):
        profile, name = path.parent.name, path.stem
        if name not in schema.table_names():
            continue
        before, after = cells(published / profile / path.name), cells(path)
        number = schema.load_table(name).number
        for place, old in before.items():
            now = after.get(place)
            if now is None and any(old.lives_on_in(other) for other in after.values() if old.runs):
                continue
            if old.numbers == (now.numbers if now else NOTHING):
                continue
            filled = now is not None and old.lives_on_in(now)
            texts = apart(old, now, number) if now else (old.text(number), "-")
            dates = [started(new / "runs" / signature) for signature in (now or old).runs]
            found.append(Change(profile, name, place, *texts, filled, max(dates, default="")))
    return found


def apart(old: Cell, new: Cell, number: str) -> tuple[str, str]:
    """Two cells in the format of their table, or in more digits where that hides what is different."""
    for more in (number, ".6g", ""):
        texts = old.text(more), new.text(more)
        if texts[0] != texts[1]:
            break
    return texts


def started(folder: Path) -> str:
    """The day on which the run of a folder was started."""
    entry = record.read(folder)
    return entry["started"][:10] if entry else ""


def add(folder: Path, changes: Iterable[Change], reason: str) -> None:
    """Write the changes of each profile with their reason into <folder>/<profile>/changes.csv, each once."""
    by_profile: dict[str, list[Change]] = {}
    for change in changes:
        by_profile.setdefault(change.profile, []).append(change)
    for profile, new in by_profile.items():
        lines = read(folder / profile)
        known = [[line[key] for key in FIELDS[:-1]] for line in lines]
        for change in new:
            values = [change.date, change.table, *change.place, change.old, change.new]
            if values not in known:
                lines.append(dict(zip(FIELDS, [*values, reason], strict=True)))
        text = io.StringIO()
        writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        files.write_whole(folder / profile / NAME, text.getvalue())


def read(folder: Path) -> list[dict[str, Any]]:
    """The lines of changes.csv in a profile's folder, oldest first; UserError where it is damaged."""
    path = folder / NAME
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    if any(set(line) != set(FIELDS) or None in line.values() for line in lines):
        raise UserError(f"{path} is damaged: bring it back (git checkout {path}).")
    return lines


def sentences(folder: Path, table: str) -> list[str]:
    """What changes.csv in a profile's folder says of a table: one sentence for each day and reason."""
    counts: dict[Place, int] = {}
    for line in read(folder):
        if line["table"] == table:
            about = line["date"], line["reason"]
            counts[about] = counts.get(about, 0) + 1
    return [
        f"Published anew with runs of {date}, {count} cell{'s' * (count > 1)}: {reason.rstrip('.')} (old and new in "
        f"[{NAME}]({NAME}))."
        for (date, reason), count in counts.items()
    ]


def refusal(changes: list[Change]) -> str:
    """What to tell a user whose published numbers would become others without a reason."""
    lines = textwrap.indent("\n".join(map(str, changes)), "  ")
    many = len(changes) > 1
    return (
        f"{len(changes)} published cell{'s' * many} would change:\n{lines}\n"
        f'Say why with REASON="..." behind the same make command (scripts/publish.py: --reason "..."): it stays beside '
        "the table. Nothing was written."
    )
