"""What a record or its curve says that cannot be: values of a wrong kind, impossible or contradicting each other."""

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any

STATUSES = ("finished", "diverged", "interrupted", "out_of_memory", "no_data")
# The least and the most of a metric by the end of its name; a share of test images may be off by its rounding.
RANGES = {"accuracy": (-1e-4, 100.0001), "error": (-1e-4, 100.0001), "ppl": (1.0, math.inf)}
KINDS = {"signature": str, "overrides": list, "config": dict, "seed": int, "metrics": dict, "status": str}
KINDS |= {"parameters": int, "updates": int, "examples": int, "wall_seconds": float, "commit": str, "source": str}
KINDS |= {"dirty": bool, "versions": dict, "device": str, "data": dict, "started": str}


def in_record(entry: dict[str, Any]) -> str:
    """The first thing in a record that cannot be, in words; empty where there is none. Every key is there."""
    return next(_of_record(entry), "")


def in_curve(entry: dict[str, Any], rows: list[dict[str, float]]) -> str:
    """The first thing in a run's curve that cannot be, or that its record contradicts; empty where there is none."""
    return next(_of_curve(entry, rows), "")


def is_number(value: Any, kind: type = float) -> bool:
    """Whether a value is a finite number (kind float) or a whole one (int)."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (kind is float and isinstance(value, float) and math.isfinite(value))


def _fits(value: Any, kind: type) -> bool:
    return is_number(value, kind) if kind in (int, float) else isinstance(value, kind)


def _of_record(entry: dict[str, Any]) -> Iterator[str]:
    for key, kind in KINDS.items():
        if not _fits(entry[key], kind):
            yield f"{key} is {str(entry[key])[:40]!r}"
    config = entry["config"]
    if config.get("seed", entry["seed"]) != entry["seed"] or not 0 <= entry["seed"] < 2**32:
        yield f"seed is {entry['seed']}"
    if entry["status"] not in STATUSES:
        yield f"status is {entry['status']!r}"
    if not all(isinstance(override, str) for override in entry["overrides"]):
        yield "overrides are no words"
    yield from _of_amounts(entry, config)
    yield from _of_metrics(entry["metrics"], entry["updates"])
    for key in ("commit", "source", "device"):
        if not entry[key].strip():
            yield f"{key} is empty"
    yield from _of_versions(entry["versions"])
    try:
        datetime.fromisoformat(entry["started"])
    except ValueError:
        yield f"started is {entry['started']!r}"
    yield from _of_sittings(entry.get("sittings", []))


def _of_amounts(entry: dict[str, Any], config: dict[str, Any]) -> Iterator[str]:
    updates, trainer, data = entry["updates"], config.get("trainer"), config.get("data")
    most = trainer.get("max_updates") if isinstance(trainer, dict) else None
    batch_size = data.get("batch_size") if isinstance(data, dict) else None
    if not 0 <= updates <= (most if is_number(most) else math.inf):
        yield f"updates is {updates} of {most}"
    if entry["examples"] != updates * batch_size if is_number(batch_size) else entry["examples"] < 0:
        yield f"examples is {entry['examples']} after {updates} updates of {batch_size}"
    for key in ("parameters", "wall_seconds"):
        if entry[key] < 0:
            yield f"{key} is {entry[key]}"


def _of_metrics(metrics: dict[str, Any], updates: int) -> Iterator[str]:
    for name, value in metrics.items():
        if not is_number(value):
            yield f"{name} is {str(value)[:40]!r}"
        elif not in_range(name, value) or name in ("best_update", "test/tokens") and value != int(value):
            yield f"{name} is {value}"
    if not 1 <= metrics.get("best_update", 1) <= max(updates, 1):
        yield f"best_update is {metrics['best_update']} of {updates} updates"


def in_range(name: str, value: float) -> bool:
    """Whether a number of this name can be such: none of ours is negative; a share is at most 100%."""
    least, most = RANGES.get(name.rpartition("/")[2].rpartition("_")[2], (0.0, math.inf))
    return least <= value <= most


def _of_versions(versions: Any) -> Iterator[str]:
    if not isinstance(versions, dict) or not all(isinstance(x, str) and x for x in versions.values()):
        yield "versions are no words"


def _of_sittings(sittings: Any) -> Iterator[str]:
    if not isinstance(sittings, list) or not all(isinstance(sitting, dict) for sitting in sittings):
        yield "sittings are no list of them"
        return
    end = 0
    for number, sitting in enumerate(sittings, 1):
        span, seconds = sitting.get("updates"), sitting.get("seconds")
        whole = isinstance(span, list) and len(span) == 2 and all(is_number(update, int) for update in span)
        if not whole or not end <= span[0] <= span[1]:
            yield f"sitting {number} made the updates {span}"
            return
        end = span[1]
        if not is_number(seconds) or seconds < 0:
            yield f"sitting {number} took {seconds!r} seconds"
        if not isinstance(sitting.get("device"), str):
            yield f"sitting {number} has no device"
        yield from _of_versions(sitting.get("versions"))


def _of_curve(entry: dict[str, Any], rows: list[dict[str, float]]) -> Iterator[str]:
    last = 0
    for row in rows:
        if not last < row["update"] <= entry["updates"]:
            yield f"update {row['update']} follows {last}, of {entry['updates']}"
        last = row["update"]
        for name, value in row.items():
            if math.isfinite(value) and not in_range(name, value):
                yield f"{name} is {value} at update {last}"
    metrics = entry["metrics"]
    for name in (name for name in metrics if name.startswith("val/") and "best_update" in metrics):
        usable = [row for row in rows if all(map(math.isfinite, (row.get(name, math.nan), row.get("val/loss", 0))))]
        sign = -1 if name.endswith("accuracy") else 1
        best = min(usable, key=lambda row: sign * row[name], default={})
        if (best.get("update"), best.get(name)) != (metrics["best_update"], metrics[name]):
            told = f"{name} {metrics[name]} at update {metrics['best_update']}"
            yield f"its best is {name} {best.get(name)} at update {best.get('update')}, and the record says {told}"
