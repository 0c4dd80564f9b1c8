"""Sequences from csv files: rows are read, looked at one by one, and put together by sequence. No torch, no splits."""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from indrnn import digests
from indrnn.errors import UserError

SEPARATORS = ",;\t"
LARGEST_FIELD = 1 << 17  # characters, csv's own limit


@dataclass(frozen=True)
class Columns:
    """Which columns of a csv file are what; see ``CsvSequences``."""

    inputs: list[str]
    target: str
    sequence: str | None
    split: str | None

    def __post_init__(self):
        if not self.inputs:
            raise UserError("data.inputs must name at least one column, such as [x].")
        named = [*self.inputs, self.target, *filter(None, (self.sequence, self.split))]
        if twice := [name for name in named if named.count(name) > 1]:
            raise UserError(
                f"data names the column {twice[0]!r} twice: it is input, target, sequence or split, not two."
            )

    @property
    def all(self) -> list[str]:
        return [*self.inputs, self.target, *filter(None, (self.sequence, self.split))]


@dataclass
class Sequence:
    """One sequence: its steps, each of M numbers; what answers it, and its split, as they are written; where it is."""

    place: str
    steps: list[list[float]] = field(default_factory=list)
    target: str = ""
    target_place: str = ""
    split: str = ""


def read(path: str, columns: Columns) -> list[Sequence]:
    """The sequences of a csv file, or of all ``*.csv`` of a folder, in the order in which they begin.

    The first line of a file names its columns; fields are separated by commas, semicolons or tabs. Rows of a sequence
    are its steps in their order, and need not follow each other. Without a column of sequences each file is one; with
    it, a sequence lies in one file.

    Raises:
        UserError: there is no file, no row or no such column, a row is broken, an input is no number, or a sequence has
            no answer, two answers or two splits; with file and line.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise UserError(f"{place} is not there: data.path names a csv file or a folder of them (from {Path.cwd()}).")
    paths = digests.csv_paths(path)
    if not paths:
        raise UserError(f"{place} has no .csv file: data.path names a csv file or a folder of them.")
    found: list[Sequence] = []
    for file in paths:
        found += _of_file(file, columns)
    return found


def number(text: str, what: str, place: str, instead: str = "") -> float:
    """A finite number; UserError, which says where and, perhaps, what to do ``instead``, for whatever is none."""
    try:
        value = float(text)
    except ValueError:
        said = f"is {text!r}" if text.strip() else "is empty"
        raise UserError(f"{place}: column {what!r} {said}, not a number{instead}.") from None
    if not math.isfinite(value):
        raise UserError(f"{place}: column {what!r} is {text.strip()}, not a finite number.")
    return value


def _of_file(path: Path, columns: Columns) -> list[Sequence]:
    found: dict[str, Sequence] = {}
    for place, row in _rows(path, columns):
        name = row[columns.sequence].strip() if columns.sequence else path.name
        if not name:
            raise UserError(f"{place}: column {columns.sequence!r} is empty: it says of which sequence the row is.")
        one = found.setdefault(name, Sequence(place))
        one.steps.append([number(row[column], column, place) for column in columns.inputs])
        target = row[columns.target].strip()
        if target and one.target and target != one.target:
            raise UserError(
                f"{place}: column {columns.target!r} is {target!r}, and {one.target!r} in {one.target_place}: "
                f"a sequence ({name}) has one answer; leave the other rows empty."
            )
        if target:
            one.target, one.target_place = target, place
        split = row[columns.split].strip() if columns.split else ""
        if one.split not in ("", split):
            raise UserError(f"{place}: sequence {name} is in {split!r} here and in {one.split!r} in {one.place}.")
        one.split = split
    if not found:
        raise UserError(f"{path} has no rows: the first line names the columns, each further one is a step.")
    for name, one in found.items():
        if not one.target:
            raise UserError(
                f"{one.place}: sequence {name} has no answer: column {columns.target!r} is empty in all of it."
            )
    return list(found.values())


def _rows(path: Path, columns: Columns) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row of a file by the names of its columns, with its place, file:line."""
    if not path.is_file():
        raise UserError(f"{path} is no regular file.")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline(LARGEST_FIELD)
            separator = max(SEPARATORS, key=first.count)
            file.seek(0)
            lines = csv.reader(file, delimiter=separator, strict=True)
            names = [name.strip() for name in next(lines, [])]
            _check_names(path, names, columns)
            for fields in lines:
                place = f"{path}:{lines.line_num}"
                if not fields:
                    continue
                if len(fields) != len(names):
                    raise UserError(f"{place}: the row has {len(fields)} fields, and {len(names)} columns have a name.")
                yield place, dict(zip(names, fields, strict=True))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8 ({error.reason} at byte {error.start}).") from None
    except csv.Error as error:
        raise UserError(f"{path}:{lines.line_num}: {error}.") from None


def _check_names(path: Path, names: list[str], columns: Columns) -> None:
    there = ", ".join(names)
    if not any(names):
        raise UserError(f"{path} is empty: the first line names the columns, each further one is a step.")
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{path}:1: two columns have the name {twice[0]!r}: give each its own.")
    for word, wanted in (("inputs", columns.inputs), ("target", [columns.target]), ("sequence", [columns.sequence]),
                         ("split", [columns.split])):  # fmt: skip
        for name in wanted:
            if name is not None and name not in names:
                none = ", or null where each file is one sequence" if word == "sequence" else ""
                words = f"data.{word} names one that is there{none}"
                raise UserError(f"{path} has no column {name!r}: {words}; there are: {there}.")
