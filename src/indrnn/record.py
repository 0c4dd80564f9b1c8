"""One run, one small file that explains itself: runs/<signature>/run.json and curve.csv.

This module imports neither torch nor Lightning, so that tables and plans start fast.
"""

import csv
import hashlib
import io
import json
import logging
import os
import platform
import subprocess
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

ROOT = Path(__file__).resolve().parents[2]
FINAL = ("finished", "diverged")
KEYS = (
    "signature overrides config seed metrics status parameters updates examples wall_seconds "
    "commit source dirty versions device data started"
).split()
OPTIONAL = ("sittings",)  # records of earlier versions have none
# The address that was signed first, of every class that has moved since: a move renames no run.
SIGNED_AS = {
    "indrnn.networks.dense.DenseIndRNN": "indrnn.dense.DenseIndRNN",
    "indrnn.tasks.dynamic.Dynamic": "indrnn.dynamic.Dynamic",
    "indrnn.tasks.language.LanguageModel": "indrnn.language.LanguageModel",
    "indrnn.tasks.recognition.Recognition": "indrnn.recognition.Recognition",
    "indrnn.tasks.schedules.Constant": "indrnn.schedules.Constant",
    "indrnn.tasks.schedules.OneCycle": "indrnn.schedules.OneCycle",
    "indrnn.tasks.schedules.Plateau": "indrnn.schedules.Plateau",
    "indrnn.tasks.schedules.Step": "indrnn.schedules.Step",
}
UNSIGNED = ("machine", "logger", "hydra")
PACKAGES = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "numpy", "numba")

log = logging.getLogger(__name__)


def signed(cfg: DictConfig) -> dict[str, Any]:
    """The resolved part of a config that says what a run is: all but machine, logger, hydra, trainer.max_time."""
    what = OmegaConf.masked_copy(cfg, [key for key in cfg if key not in UNSIGNED])
    config = OmegaConf.to_container(what, resolve=True)
    config["trainer"].pop("max_time", None)
    return config


def signature(config: dict[str, Any]) -> str:
    """First 12 hex digits of sha256 over canonical JSON: keys sorted, nulls dropped, numbers as floats.

    Addresses of classes count as those that were signed first (SIGNED_AS).
    """

    def canonical(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(k): canonical(v) for k, v in value.items() if v is not None}
        if isinstance(value, list | tuple):
            return [canonical(v) for v in value]
        if isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        return SIGNED_AS.get(value, value) if isinstance(value, str) else value

    text = json.dumps(canonical(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def moved(config: dict[str, Any]) -> dict[str, Any]:
    """A config of a record with the addresses that its classes have today."""
    today = {old: new for new, old in SIGNED_AS.items()}

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: renamed(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [renamed(entry) for entry in value]
        return today.get(value, value) if isinstance(value, str) else value

    return renamed(config)


def read(folder: Path) -> dict[str, Any] | None:
    """The record in a run's folder, or None where there is none; a damaged one is named and counts as none."""
    path = Path(folder) / "run.json"
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read (%s): counted as not run.", path, error)
        return None
    missing = [key for key in KEYS if key not in record] if isinstance(record, dict) else KEYS
    if missing:
        log.warning("%s is damaged (without %s): counted as not run.", path, ", ".join(missing))
        return None
    if record["signature"] != signature(record["config"]):
        log.warning("%s does not fit its own signature %s: counted as not run.", path, record["signature"])
        return None
    return record


def write(folder: Path, record: dict[str, Any], curve: list[dict[str, float]]) -> None:
    """Write curve.csv, then run.json, each whole or not at all. The record holds KEYS, perhaps OPTIONAL ones."""
    if set(record) - set(OPTIONAL) != set(KEYS):
        raise ValueError(f"a record holds the keys {KEYS} and may hold {OPTIONAL}, not {sorted(record)}")
    write_whole(folder / "curve.csv", curve_text(curve))
    write_whole(folder / "run.json", json.dumps(record, indent=1, allow_nan=False) + "\n")


def curve_text(rows: list[dict[str, float]]) -> str:
    """The learning curve as csv: first column update, then whatever was measured."""
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["update"]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    replace_whole(path, lambda part: part.write_text(text))


def replace_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` make a file beside ``path``, then move it there: a kill or a full disk leaves no half of it.

    Raises:
        OSError: it cannot be written; names ``path``.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Remove what killed processes were writing; for whoever holds the folder's lock, as nobody else writes there."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def told(overrides: Iterable[str]) -> list[str]:
    """Those of a run's overrides that say what it is: without machine, logger, hydra and trainer.max_time."""

    def key(override: str) -> str:
        return override.lstrip("+~").partition("=")[0].partition("@")[0]

    return [x for x in overrides if key(x).split(".")[0].split("/")[0] not in UNSIGNED and key(x) != "trainer.max_time"]


def sittings(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Where a run was made, first things first; a record of an earlier version knows its last sitting alone."""
    return entry.get("sittings") or [{"device": entry["device"], "versions": entry["versions"]}]


def devices(entries: Iterable[dict[str, Any]]) -> list[str]:
    """The devices that made some runs, in the order in which they come up."""
    return list(dict.fromkeys(sitting["device"] for entry in entries for sitting in sittings(entry)))


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


def code() -> dict[str, Any]:
    """commit, source, dirty, versions: which code runs.

    ``INDRNN_COMMIT`` names the commit where there is no .git (it then counts as clean only if ``source`` agrees
    with that commit, which a reader can check: source is a hash of src/ and conf/ alone).
    """
    commit, changed = os.environ.get("INDRNN_COMMIT"), ""
    if (ROOT / ".git").exists():
        commit = _git("rev-parse", "HEAD") or commit
        changed = _git("status", "--porcelain", "--", "src", "conf")
    versions = {name: metadata.version(name) for name in PACKAGES if _installed(name)}
    return {
        "commit": commit or "unknown",
        "source": source(),
        "dirty": bool(changed) or not commit,
        "versions": {"python": platform.python_version(), **versions},
    }


def source() -> str:
    """First 12 hex digits of sha256 over names and bytes of all files in src/ and conf/."""
    digest = hashlib.sha256()
    for top in ("src", "conf"):
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in (".py", ".yaml"):
                digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(ROOT), *words], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # a copied folder on a machine without git
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
