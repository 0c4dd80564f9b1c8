"""Whether a checkpoint that torch can read is one of this run; what it holds, see ``Sitting.save``."""

import json
import math
from datetime import datetime
from typing import Any

from indrnn import digests
from indrnn.tasks import Task
from indrnn.tasks.fits import Unfit, need, number, whole

KEYS = {"signature", "started", "wall_seconds", "code", "task"}
OPTIONAL = {"sittings", "data"}  # earlier versions wrote none


def problem(past: Any, signature: str, digest: str | None, task: Task, batch_size: int) -> str:
    """Why a run cannot go on from ``past``, in words that follow its name; empty where it can.

    The task is left as it is.
    """
    try:
        need(isinstance(past, dict) and KEYS <= set(past) <= KEYS | OPTIONAL, "keys")
        if past["signature"] != signature:
            return "belongs to another run"
        need(isinstance(past.get("data"), str | None), "data")
        if not digests.agree(past.get("data"), digest):
            return f"is of other data (digest {past['data']}, now {digest})"
        need(isinstance(past["started"], str), "started")
        try:
            datetime.fromisoformat(past["started"])
        except ValueError:
            raise Unfit("started") from None
        need(seconds(past["wall_seconds"]), "wall_seconds")
        check_code(past["code"], "code")
        need(isinstance(past["code"].get("dirty"), bool), "code.dirty")
        need(isinstance(past["task"], dict), "task")
        task.check_state(past["task"], batch_size)
        if "sittings" in past:
            check_sittings(past["sittings"], past["task"]["update"])
    except Unfit as part:
        return f"was written by other code or changed since ({part} does not fit)"
    return ""


def check_code(code: Any, part: str) -> None:
    """Raise Unfit unless this says which code ran, as ``provenance.code`` and a sitting do."""
    need(isinstance(code, dict), part)
    need(all(isinstance(code.get(key), str) for key in ("commit", "source")), part)
    versions = code.get("versions")
    need(isinstance(versions, dict) and all(isinstance(word, str) for word in versions.values()), f"{part}.versions")
    try:
        json.dumps(code, allow_nan=False)  # a record will hold it
    except (TypeError, ValueError):
        raise Unfit(part) from None


def check_sittings(sittings: Any, update: int) -> None:
    """Raise Unfit unless these are sittings, one after the other, that end at an update."""
    need(isinstance(sittings, list) and len(sittings) > 0, "sittings")
    reached = 0
    for sitting in sittings:
        check_code(sitting, "sittings")
        need(isinstance(sitting.get("device"), str), "sittings.device")
        span = sitting.get("updates")
        need(isinstance(span, list) and len(span) == 2 and whole(span[1], reached, update), "sittings.updates")
        need(span[0] == reached, "sittings.updates")
        need(seconds(sitting.get("seconds")) and seconds(sitting.get("examples_a_second", 0)), "sittings.seconds")
        reached = span[1]
    need(reached == update, "sittings.updates")


def seconds(x: Any) -> bool:
    return number(x) and 0 <= x < math.inf
