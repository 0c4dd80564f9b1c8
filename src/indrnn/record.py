"""One run, one small file that explains itself: runs/<signature>/run.json and curve.csv.

This module imports neither torch nor Lightning, so that tables and plans start fast.
"""

import csv
import io
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from indrnn import checksums, configs, damage, files
from indrnn.errors import UserError

FINAL = ("finished", "diverged")
FILES = ("curve.csv", "predictions.npz", "run.json", "weights.pt")  # what a final run leaves, beside its SHA256SUMS
KEYS = (
    "signature overrides config seed metrics status parameters updates examples wall_seconds "
    "commit source dirty versions device data started"
).split()
OPTIONAL = ("sittings", "code_files")  # records of earlier versions have none; see training.own_code

log = logging.getLogger(__name__)


class Damaged(UserError):
    """A record that is not as it was written; the message, without a full stop, says which and why."""


def read(folder: Path) -> dict[str, Any] | None:
    """The record in a run's folder, or None where there is none; a damaged one is named and counts as none."""
    try:
        return load(folder)
    except Damaged as damaged:
        log.warning("%s: counted as not run.", damaged)
        return None


def load(folder: Path) -> dict[str, Any] | None:
    """The record in a run's folder, or None where there is none.

    Raises:
        Damaged: it differs from SHA256SUMS beside it, cannot be read, or says what cannot be.
    """
    path = Path(folder) / "run.json"
    try:
        entry = json.loads(files.content(path))
        changed = _changed(Path(folder))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:  # UserError is a ValueError
        raise Damaged(f"{path} cannot be read ({str(error).rstrip('.')})") from None
    missing = [key for key in KEYS if key not in entry] if isinstance(entry, dict) else KEYS
    if missing:
        raise Damaged(f"{path} is damaged (without {', '.join(missing)})")
    if strange := sorted(set(entry) - {*KEYS, *OPTIONAL}):
        raise Damaged(f"{path} is damaged (with {', '.join(strange)}, which no record has)")
    if entry["signature"] != configs.signature(entry["config"]):
        raise Damaged(f"{path} does not fit its own signature {entry['signature']}")
    if problem := damage.in_record(entry):
        raise Damaged(f"{path} is damaged ({problem})")
    if changed:
        raise Damaged(f"{changed[0]} is damaged (its checksum is not that of {checksums.NAME} beside it)")
    return entry


def _changed(folder: Path) -> list[Path]:
    """Of record and curve, those that differ from SHA256SUMS beside them; none where there is no such list."""
    if not (folder / checksums.NAME).exists():
        return []
    sums = checksums.read(folder / checksums.NAME)
    sums = {name: sums[name] for name in ("run.json", "curve.csv") if name in sums}
    return [folder / name for name in checksums.differing(folder, sums)]


def refuse_damaged(runs: Iterable[Path]) -> None:
    """Raise UserError, which names each, unless every one of these folders of runs holds a record as it was written.

    More than ``load`` looks at: also at curves, at all that SHA256SUMS lists, and at the folder's name.
    """
    found = [problem for folder in sorted(runs) if (problem := _damage(folder))]
    if found:
        texts = "; ".join(found)
        raise UserError(f"{texts}. Nothing was written: restore what is named, or make these runs again.")


def _damage(folder: Path) -> str:
    """What is damaged in a run's folder, with its path; empty where all is as it was written."""
    try:
        entry = load(folder)
        if entry is None:
            return f"{folder} has no run.json"
        if entry["signature"] != folder.name:
            return f"{folder / 'run.json'} is that of another run, {entry['signature']}"
        if (folder / checksums.NAME).exists():
            if changed := checksums.differing(folder, checksums.read(folder / checksums.NAME)):
                return f"{folder / changed[0]} is damaged (its checksum is not that of {checksums.NAME} beside it)"
        problem = damage.in_curve(entry, curve(folder))
    except UserError as error:
        return str(error).rstrip(".")
    return f"{folder / 'curve.csv'} is damaged ({problem})" if problem else ""


def write(folder: Path, record: dict[str, Any], curve: list[dict[str, float]]) -> None:
    """Write curve.csv, then run.json, each whole or not at all. The record holds KEYS, perhaps OPTIONAL ones."""
    if set(record) - set(OPTIONAL) != set(KEYS):
        raise ValueError(f"a record holds the keys {KEYS} and may hold {OPTIONAL}, not {sorted(record)}")
    files.write_whole(folder / "curve.csv", curve_text(curve))
    files.write_whole(folder / "run.json", json.dumps(record, indent=1, allow_nan=False) + "\n")


def set_aside(folder: Path) -> None:
    """Move what a run's folder holds of an earlier training to ``earlier/<n>`` in it, the record first.

    For whoever holds the folder's lock. A kill in the middle leaves a run that is not done.
    """
    earlier = folder / "earlier"
    place = earlier / str(1 + sum(1 for _ in earlier.glob("*")))
    for path in sorted(folder.iterdir(), key=lambda path: path.name != "run.json"):
        if path.is_file() and path.name != "lock":
            place.mkdir(parents=True, exist_ok=True)
            path.rename(place / path.name)


def curve_text(rows: list[dict[str, float]]) -> str:
    """The learning curve as csv: first column update, then whatever was measured."""
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["update"]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def curve(folder: Path) -> list[dict[str, float]]:
    """What curve.csv of a run's folder holds, a row per update at which something was measured; empty without it.

    Raises:
        Damaged: it is no such table of numbers.
    """
    path = folder / "curve.csv"
    if not path.exists():
        return []
    try:
        lines = csv.DictReader(io.StringIO(files.content(path).decode("utf-8"), newline=""))
        return [{"update": _whole(line.pop("update"))} | {k: float(v) for k, v in line.items() if v} for line in lines]
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise Damaged(f"{path} is damaged ({type(error).__name__}: {str(error).rstrip('.')})") from None


def _whole(text: str) -> int:
    """A whole number, also where it is written as 50.0."""
    number = float(text)
    if not number.is_integer():
        raise ValueError(f"update {text} is no whole number")
    return int(number)


def told(overrides: Iterable[str]) -> list[str]:
    """Those of a run's overrides that say what it is: without machine, logger, hydra and trainer.max_time."""

    def key(override: str) -> str:
        return override.lstrip("+~").partition("=")[0].partition("@")[0]

    def says(override: str) -> bool:
        node = key(override).split(".")[0].split("/")[0]
        return node not in configs.UNSIGNED and key(override) != "trainer.max_time"

    return list(filter(says, overrides))


def sittings(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Where a run was made, first things first; a record of an earlier version knows its last sitting alone."""
    return entry.get("sittings") or [{"device": entry["device"], "versions": entry["versions"]}]


def devices(entries: Iterable[dict[str, Any]]) -> list[str]:
    """The devices that made some runs, in the order in which they come up."""
    return list(dict.fromkeys(sitting["device"] for entry in entries for sitting in sittings(entry)))


def peak_bytes(entries: Iterable[dict[str, Any]]) -> int | None:
    """The most memory of a device that any sitting of some runs took; None where no record says it."""
    return max(
        (sitting["peak_bytes"] for entry in entries for sitting in sittings(entry) if "peak_bytes" in sitting),
        default=None,
    )


def versions(entries: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """The versions of every package that made some runs, sorted."""
    found: dict[str, set[str]] = {}
    for entry in entries:
        for sitting in sittings(entry):
            for package, version in sitting["versions"].items():
                found.setdefault(package, set()).add(version)
    return {package: sorted(found[package]) for package in sorted(found)}


def summary(record: dict[str, Any]) -> str:
    """One line about a run for the terminal."""
    numbers = "  ".join(f"{name} {value:.4g}" for name, value in record["metrics"].items())
    return (
        f"{record['status']} {record['signature']}  {numbers}  "
        f"({record['updates']} updates, {record['parameters']:,} parameters, {record['wall_seconds']:.0f} s)"
    )
