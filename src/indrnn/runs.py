"""The runs of a folder, this machine's or published: which there are, what was typed for each, how far it came."""

import functools
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from indrnn import configs, files, progress, record

LIES = {  # in the folder of a run: what is in it
    "run.json": "the record: config, metrics, code, machine",
    "curve.csv": "every validation",
    "weights.pt": "the network that validation chose",
    "predictions.npz": "its answer to every test example",
    "last.ckpt": "from which the same command goes on",
}
HEADS = ["signature", "status", "metric", "updates", "minutes", "age", "run"]


@dataclass(frozen=True)
class Run:
    """One run of a folder. ``status``: its record's; without one ``running``, or ``stopped`` where it is silent.

    ``ended``: when its record or its last word was written, in seconds since 1970.
    """

    folder: Path
    overrides: list[str]
    config: dict[str, Any]
    status: str
    metrics: dict[str, float]
    updates: int
    seconds: float
    ended: float
    entry: dict[str, Any] | None

    @property
    def signature(self) -> str:
        return self.folder.name

    @property
    def seed(self) -> int:
        return self.config["seed"]

    @property
    def metric(self) -> str:
        """What validation chooses by, such as ``mse``; empty before the first validation."""
        return next((name.removeprefix("val/") for name in self.metrics if name.startswith("val/")), "")

    @property
    def measured(self) -> str:
        """The test metric, before the test the best validation, with its name; a dash before any."""
        for name in (f"test/{self.metric}", f"val/{self.metric}"):
            if name in self.metrics:
                return f"{name} {self.metrics[name]:.4g}"
        return "-"

    @property
    def words(self) -> list[str]:
        """Experiment, model, and what was typed beside them, the seed last; classes where nothing was typed."""
        typed = dict(word.lstrip("+").partition("=")[::2] for word in self.overrides if "=" in word)
        if not typed:
            kinds = [str(of_config(self.config, f"{node}._target_")) for node in ("data", "model")]
            return [*(kind.rpartition(".")[2] for kind in kinds), f"seed={self.seed}"]
        first = [typed.pop(group, default_choice(group)) for group in ("experiment", "model")]
        typed.pop("seed", None)
        taken = [word for word in self.overrides if "=" not in word]  # such as ~group
        return [*first, *taken, *(f"{key}={value}" for key, value in typed.items()), f"seed={self.seed}"]

    def fits(self, word: str) -> bool:
        """Whether a word is about this run: of ``key=value`` all of it, of any other a part of what is listed.

        ``key`` may be any of the config, typed or not; ``unfinished`` is each run that is not finished.
        """
        key, _, value = word.partition("=")
        if word == "unfinished":
            return self.status != "finished"
        if not value:
            return word.lower() in " ".join([self.signature, self.status, *self.words]).lower()
        if key in ("experiment", "model"):
            return value == self.words[key == "model"]
        return word in self.words or same(of_config(self.config, key), value)


@functools.cache
def default_choice(group: str) -> str:
    """What conf/config.yaml takes of a group where nothing is typed."""
    defaults = OmegaConf.to_container(OmegaConf.load(configs.CONF / "config.yaml"))["defaults"]
    return next(entry[group] for entry in defaults if isinstance(entry, dict) and group in entry)


def of_config(config: Any, key: str) -> Any:
    """The value of a dotted key, None where there is none."""
    for part in key.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config


def same(value: Any, text: str) -> bool:
    """Whether a value of a config is what somebody types: numbers are compared as numbers."""
    try:
        return not isinstance(value, bool) and float(value) == float(text)
    except (TypeError, ValueError):
        return str("null" if value is None else value).lower() == text.lower()


def of(folder: Path) -> Run | None:
    """The run of one folder; None where it says nothing yet, or is damaged (which is told)."""
    entry, note = record.read(folder), progress.read(folder)
    if note and not (entry and entry["status"] in record.FINAL):
        status = "running" if note["age"] < progress.ALIVE else "stopped"
        ended = time.time() - note["age"]
        return Run(folder, *(note[key] for key in ("overrides", "config")), status,
                   *(note[key] for key in ("metrics", "updates", "seconds")), ended, entry)  # fmt: skip
    if entry is None:
        return None
    ended = (folder / "run.json").stat().st_mtime
    return Run(folder, record.told(entry["overrides"]), entry["config"], entry["status"], entry["metrics"],
               entry["updates"], entry["wall_seconds"], ended, entry)  # fmt: skip


def found(folder: Path, words: Iterable[str] = ()) -> list[Run]:
    """The runs of a folder that fit every word, the latest last."""
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    runs = [run for path in there if re.fullmatch("[0-9a-f]{12}", path.name) and (run := of(path))]
    return sorted((run for run in runs if all(map(run.fits, words))), key=lambda run: run.ended)


def main(words: Sequence[str], folder: Path) -> str:
    """The runs of a folder that fit every word, a line each."""
    runs = found(folder, words)
    if not runs:
        fit = f" that fits {' '.join(words)}" if words else " yet"
        return f"There is no run{fit} in {shown(folder)}."
    lines = [[run.signature, run.status, run.measured, updates(run), f"{run.seconds / 60:.1f}",
              age(time.time() - run.ended), " ".join(run.words)] for run in runs]  # fmt: skip
    counts = Counter(run.status for run in runs)
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return "\n".join([*straight([HEADS, *lines]), f"{len(runs)} run{'s' * (len(runs) > 1)}: {told}"])


def updates(run: Run) -> str:
    """Such as ``500``, or ``350 of 500`` where more are to come."""
    budget = of_config(run.config, "trainer.max_updates")
    return f"{run.updates}" if run.status in record.FINAL else f"{run.updates} of {budget}"


def age(seconds: float) -> str:
    """Such as ``40 s``, ``5 min``, ``3 h``, ``12 days``."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size or (unit != "days" and seconds >= size):
            return f"{seconds // size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def straight(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines whose columns stand straight; the last one is as long as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return [
        "  ".join([*(f"{text:{width}}" for text, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]


def shown(path: Path) -> str:
    """A path as one types it in the repository."""
    return str(path.relative_to(files.ROOT)) if path.is_relative_to(files.ROOT) else str(path)


def where(folder: Path) -> str:
    """Where a run lies, and what lies there, a line each."""
    there = [f"  {name:16} {what}" for name, what in LIES.items() if (folder / name).exists()]
    return "\n".join([f"{shown(folder)}:", *there])


def before(folder: Path, done: dict[str, Any]) -> str:
    """When a run was ended that was not trained now."""
    ended = datetime.fromtimestamp((folder / "run.json").stat().st_mtime)
    commit = f"{done['commit'][:12]}{' and uncommitted changes' * done['dirty']}"
    return (
        f"Done before: {done['status']} on {ended:%Y-%m-%d %H:%M}, at commit {commit}, {shown(folder)} "
        "(machine.fresh=true trains it anew)."
    )
