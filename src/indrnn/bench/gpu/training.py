"""An update and a validation in ``python -m indrnn.train``: with data, Lightning, callbacks and record."""

import itertools
import json
import math
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
from indrnn.tasks.task import CALIBRATION_EXAMPLES


def training(device: torch.device, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """ms of an update and of a validation of one network, from the records of runs of several lengths."""
    name, overrides, lengths, every = sizes.trained
    machine = "gpu" if device.type == "cuda" else "cpu"
    call = partial(timed, [*overrides.split(), f"machine={machine}"], lengths, every, sizes.until)
    yield attempt({"what": name, "precision": "fp32", "updates": lengths[2] - lengths[1]}, call, sizes.until)


def timed(
    overrides: list[str], lengths: tuple[int, int, int], every: tuple[int, int], until: float
) -> dict[str, Any]:  # fmt: skip
    """Runs of these lengths, each with a validation every so many updates, in a row in one process.

    The shortest ones warm it up; see ``from_records`` for the others.

    Raises:
        UserError: it could not train, or not within its time.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = [f"trainer.max_updates={','.join(map(str, lengths))}", f"trainer.val_every={','.join(map(str, every))}"]
        options = ["logger=csv", "machine.progress=false", f"machine.runs={folder}"]
        child(["indrnn.train", "-m", *overrides, *options, *words], until)
        records = [json.loads(path.read_text(encoding="utf-8")) for path in Path(folder).glob("*/run.json")]
    return from_records(records, lengths, every)


def from_records(
    records: list[dict[str, Any]], lengths: tuple[int, int, int], every: tuple[int, int]
) -> dict[str, Any]:  # fmt: skip
    """ms of an update and of a validation with its statistics of batch norm, how many updates that is, and the images.

    Of two runs that validate equally often, the longer one takes more time by that of its further updates and
    validations: with two such pairs, one that validates seldom and one often, both are known. In no difference are the
    start, the test, the last checkpoint, the recording of updates and, as each validates twice at least, of statistics;
    nor the updates up to the first validation, of which callbacks hear one by one.

    Raises:
        UserError: a run is missing or did not end as it should, or the runs were too short to tell.
    """
    done = {(x["updates"], x["config"]["trainer"]["val_every"]): x for x in records if x["status"] == "finished"}
    if set(done) != set(itertools.product(lengths, every)):
        raise UserError(
            f"of runs of {sorted(lengths)} updates, validated every {sorted(every)}, {sorted(done)} finished"
        )
    _, short, long = lengths
    seldom, often = ({length: done[length, n]["sittings"][-1] for length in lengths} for n in every)
    seldom_s, often_s = (pair[long]["seconds"] - pair[short]["seconds"] for pair in (seldom, often))
    seldom_n, often_n = (math.ceil(long / n) - math.ceil(short / n) for n in every)
    validation = (often_s - seldom_s) / (often_n - seldom_n)
    update = (seldom_s - seldom_n * validation) / (long - short)
    if min(update, validation) <= 0:
        raise UserError(
            f"runs of {short} and {long} updates are too short to tell what an update and a validation take"
        )
    calibrating, images, _ = done[long, every[0]]["data"]["counts"]
    return {
        "ms": update * 1e3,
        "graph": seldom[long].get("graph"),
        "validation_ms": validation * 1e3,
        "in_updates": validation / update,
        "validations": often_n - seldom_n,
        "images": images,
        "calibrating": min(calibrating, CALIBRATION_EXAMPLES),
    }


def against_replay(rows: list[dict[str, Any]], updates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, each with ms of the same update replayed as a graph, and their ratio where both were measured."""
    replayed = {(x["what"], x["precision"]): x["ms"] for x in updates if x["mode"] == "graph" and "ms" in x}
    found = []
    for row in rows:
        ms = replayed.get((row["what"], row["precision"]))
        found.append(row | {"replay_ms": ms, "ratio": row["ms"] / ms if ms and "ms" in row else None})
    return found
