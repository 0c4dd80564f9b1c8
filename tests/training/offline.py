"""What W&B's listener left on disk, read back with W&B's own reader."""

import json
import subprocess
import sys
from pathlib import Path


def heard(folder: Path) -> list[dict]:
    """The records of the one offline W&B run in a folder."""
    (path,) = folder.rglob("*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def run_of(records: list[dict]) -> dict:
    """Name, group and the like of an offline run."""
    (run,) = [r["run"] for r in records if r["type"] == "run"]
    return run


def config_of(records: list[dict]) -> dict:
    found = dict(run_of(records).get("config", {}).get("update", {}))
    for r in records:
        if r["type"] == "config":
            found |= r["config"]["update"]
    return found


def summary_of(records: list[dict]) -> dict:
    found = {}
    for r in records:
        if r["type"] == "summary":
            found |= r["summary"]["update"]
    return found


def rows_of(records: list[dict]) -> list[dict]:
    """What was logged, row by row."""
    return [r["history"]["item"] for r in records if r["type"] == "history"]
