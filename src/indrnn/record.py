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

from indrnn import configs, files

FINAL = ("finished", "diverged")
FILES = ("curve.csv", "predictions.npz", "run.json", "weights.pt")  # what a final run leaves, beside its SHA256SUMS
KEYS = (
    "signature overrides config seed metrics status parameters updates examples wall_seconds "
    "commit source dirty versions device data started"
).split()
OPTIONAL = ("sittings", "code_files")  # records of earlier versions have none; see training.own_code

log = logging.getLogger(__name__)


def read(folder: Path) -> dict[str, Any] | None:
    """The record in a run's folder, or None where there is none; a damaged one is named and counts as none."""
    path = Path(folder) / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read (%s): counted as not run.", path, error)
        return None
    missing = [key for key in KEYS if key not in record] if isinstance(record, dict) else KEYS
    if missing:
        log.warning("%s is damaged (without %s): counted as not run.", path, ", ".join(missing))
        return None
    if record["signature"] != configs.signature(record["config"]):
        log.warning("%s does not fit its own signature %s: counted as not run.", path, record["signature"])
        return None
    return record


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
    """What curve.csv of a run's folder holds, a row per update at which something was measured; empty without it."""
    path = folder / "curve.csv"
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    return [row | {"update": int(row["update"])} for row in rows]


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
