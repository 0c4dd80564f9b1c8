"""An update in ``python -m indrnn.train``: with data, Lightning, callbacks and record, against the update alone."""

import json
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from indrnn.bench.gpu.child import child
from indrnn.bench.gpu.kernels import attempt
from indrnn.bench.gpu.sizes import Sizes
from indrnn.errors import UserError


def training(device: torch.device, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """ms of an update of one network, from the records of runs of several lengths."""
    name, overrides, lengths = sizes.trained
    machine = "gpu" if device.type == "cuda" else "cpu"
    call = partial(timed, [*overrides.split(), f"machine={machine}"], lengths, sizes.until)
    yield attempt({"what": name, "precision": "fp32", "updates": lengths[2] - lengths[1]}, call, sizes.until)


def timed(overrides: list[str], lengths: tuple[int, int, int], until: float) -> dict[str, Any]:
    """The difference of the last two runs' times over that of their updates.

    One process trains all three in a row. The first warms it up; starting, one validation, the test and the last
    checkpoint cost the other two the same, and are not in the difference.

    Raises:
        UserError: it could not train, or not within its time.
    """
    with tempfile.TemporaryDirectory() as folder:
        updates = ",".join(map(str, lengths))
        options = ["logger=csv", "machine.progress=false", f"machine.runs={folder}", "trainer.val_every=1000000000"]
        child(["indrnn.train", "-m", *overrides, *options, f"trainer.max_updates={updates}"], until)
        records = [json.loads(path.read_text(encoding="utf-8")) for path in Path(folder).glob("*/run.json")]
    return from_records(records, lengths)


def from_records(records: list[dict[str, Any]], lengths: tuple[int, int, int]) -> dict[str, Any]:
    """ms of an update, and what the record says of its graph, if anything.

    Raises:
        UserError: a run is missing or did not end as it should, or the runs were too short to tell.
    """
    done = {record["updates"]: record["sittings"][-1] for record in records if record["status"] == "finished"}
    if set(done) != set(lengths):
        raise UserError(f"of runs of {sorted(lengths)} updates {sorted(done)} finished")
    _, short, long = (done[length] for length in lengths)
    ms = (long["seconds"] - short["seconds"]) * 1e3 / (lengths[2] - lengths[1])
    if ms <= 0:
        raise UserError(f"{lengths[1]} updates took as long as {lengths[2]}: the runs are too short to tell")
    return {"ms": ms, "graph": long.get("graph")}


def against_replay(rows: list[dict[str, Any]], updates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, each with ms of the same update replayed as a graph, and their ratio where both were measured."""
    replayed = {(x["what"], x["precision"]): x["ms"] for x in updates if x["mode"] == "graph" and "ms" in x}
    found = []
    for row in rows:
        ms = replayed.get((row["what"], row["precision"]))
        found.append(row | {"replay_ms": ms, "ratio": row["ms"] / ms if ms and "ms" in row else None})
    return found
