"""In which order unfinished runs are made, and what they cost: one sort key, for plans and for whoever has little time.

Runs that are nearly done come first, then the papers' own rows, then lower seeds, then cheaper ones. Costs are those at
the speed of this machine's last records; where it has none, the order is by the work that a run's sizes say.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indrnn import markdown_text, progress, provenance, record
from indrnn.tables import plan
from indrnn.tables.plan import Run

NEARLY = 0.2  # of a run's updates: with less than this left it is nearly done
ORDER = "Order: less than a fifth left, then the papers' own rows, then lower seeds, then cheaper ones."


@dataclass(frozen=True)
class Place:
    """A planned run in the queue.

    Attributes:
        state: as ``plan.state`` says it.
        made: updates made.
        work: of what is left, in the units of ``work_of``.
        seconds: of what is left, at this machine's speed; None where no record says it.
    """

    run: Run
    state: str
    made: int
    work: float
    seconds: float | None

    @property
    def updates(self) -> int:
        """How many are left, at most: a schedule may end a run before its budget."""
        return max(0, budget(self.run.config) - self.made)

    @property
    def nearly(self) -> bool:
        return self.made > 0 and self.updates < NEARLY * budget(self.run.config)

    @property
    def own(self) -> bool:
        """Whether the row is one of the papers' own networks."""
        return self.run.config["model"]["_target_"].endswith("IndRNN")

    @property
    def key(self) -> tuple[bool, bool, int, float]:
        """What the queue is sorted by."""
        return not self.nearly, not self.own, self.run.seed, self.work if self.seconds is None else self.seconds

    def words(self) -> str:
        """The key in words, such as ``840 of 6,000 updates made, own, seed 0, 95 min``."""
        made = f"{self.made:,} of {budget(self.run.config):,} updates made{' (nearly done)' if self.nearly else ''}"
        parts = [made] * (self.made > 0) + ["own" if self.own else "baseline", f"seed {self.run.seed}"]
        return ", ".join([*parts, minutes(self.seconds)])


class Speed:
    """How fast this machine makes updates, by the records in a folder of runs.

    Args:
        folder: of runs; only sittings on this machine count, of a GPU those on any (its name is torch's to say).
        accelerator: machine.accelerator of the runs to come.
    """

    def __init__(self, folder: Path, accelerator: str = "cpu"):
        self.device = None if accelerator in ("gpu", "cuda") else provenance.cpu()
        entries = [entry for path in folder.glob("*/run.json") if (entry := _read(path.parent))]
        entries.sort(key=lambda entry: entry["started"], reverse=True)
        self.seen = [(entry["config"], pace) for entry in entries if (pace := self._pace(entry))]

    def _pace(self, entry: Mapping[str, Any]) -> float | None:
        """Seconds an update in the last sitting here that made any; None where there is none."""
        # Older records know their last sitting alone. A run that ended on a GPU began there; on a CPU it may not have.
        whole = {"device": entry["device"], "updates": [0, entry["updates"]], "seconds": entry["wall_seconds"]}
        for sitting in reversed(entry.get("sittings") or ([whole] if self.device is None else [])):
            on_a_cpu = sitting["device"].endswith(" cores)")
            here = not on_a_cpu if self.device is None else sitting["device"] == self.device
            first, last = sitting["updates"]
            if here and last > first and sitting["seconds"]:
                return sitting["seconds"] / (last - first)
        return None

    def seconds(self, config: Mapping[str, Any]) -> float | None:
        """Of one update of a run: as in the newest record of the same network that is nearest to it in work.

        Scaled by the work, where sizes differ; of other networks where there is none of the same.
        """
        if not self.seen:
            return None
        wanted, target = work_of(config), config["model"]["_target_"]
        near = [(c["model"]["_target_"] != target, abs(math.log(work_of(c) / wanted))) for c, _ in self.seen]
        nearest, pace = self.seen[near.index(min(near))]
        return pace * wanted / work_of(nearest)


def _read(folder: Path) -> dict[str, Any] | None:
    """The record of a run; None where it is damaged, which ``plan.state`` names where it matters."""
    try:
        return record.load(folder)
    except record.Damaged:
        return None


def budget(config: Mapping[str, Any]) -> int:
    return config["trainer"]["max_updates"]


def work_of(config: Mapping[str, Any]) -> float:
    """Of one update: B x T x layers x N^2, by which networks of one kind are compared; no unit, never 0."""
    data, model, recipe = config["data"], config["model"], config["recipe"]
    layers = model.get("num_layers") or 2 * sum(model.get("blocks") or [0]) or 1
    width = model.get("hidden_size") or recipe.get("hidden_size") or 128
    sizes = data.get("batch_size") or 1, data.get("seq_len") or 1, layers, width, width
    return float(math.prod(max(1, size) for size in sizes))


def places(runs: Iterable[Run], folder: Path, accelerator: str = "cpu") -> list[Place]:
    """The runs that have no final record yet, first things first."""
    speed, found = Speed(folder, accelerator), []
    for run in runs:
        state = plan.state(run, folder)
        if state in record.FINAL:
            continue
        made = min(_made(folder / run.signature, state), budget(run.config))
        left, pace = budget(run.config) - made, speed.seconds(run.config)
        found.append(Place(run, state, made, left * work_of(run.config), None if pace is None else left * pace))
    return sorted(found, key=lambda place: place.key)


def _made(run: Path, state: str) -> int:
    """Updates that need not be made again, by the record, or by what a run that was killed or is alive said last."""
    entry = record.read(run) if state == "interrupted" else None
    said = progress.read(run) if (run / "last.ckpt").exists() else None
    return max(told["updates"] for told in (entry, said, {"updates": 0}) if told)


def minutes(seconds: float | None) -> str:
    if seconds is None:
        return "minutes unknown"
    return f"{seconds / 60:,.0f} min" if seconds >= 600 else f"{seconds / 60:.1f} min"


def costs(queue: list[Place]) -> str:
    """What each table still costs: runs, updates, and minutes of one run at a time, at this machine's speed."""
    tables: dict[str, list[Place]] = {}
    for place in queue:
        tables.setdefault(place.run.table, []).append(place)
    rows = []
    for name, waiting in tables.items():
        known = [place.seconds for place in waiting if place.seconds is not None]
        left = sum(place.updates for place in waiting)
        rows.append([name, f"{len(waiting)}", f"{left:,}", minutes(sum(known)) if known else "unknown"])
    heads = ["still to make, at most", "runs", "updates", "one run at a time"]
    return "\n".join(markdown_text.aligned(heads, rows))
