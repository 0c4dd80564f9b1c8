"""Why a run counts as done or does not: what differs between its record and today."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indrnn import configs, digests, files, provenance, record
from indrnn.errors import UserError

SHOWN = 8  # differing keys of a config; there may be hundreds


def main(signature: str, runs: Path) -> str:
    """What there is to say of a run, on this machine or else published; a text.

    Raises:
        UserError: neither place has a record of it.
    """
    if not signature:
        raise UserError("Which run? Say RUN=<signature>; `make plan` lists them.")
    published = files.ROOT / "results" / "runs"
    for folder in (runs, published):
        if entry := record.read(folder / signature):
            return text(entry, folder / signature, folder == published)
    raise UserError(f"{signature} has no record in {runs} or {published}: `make plan` lists the runs.")


def text(entry: dict[str, Any], folder: Path, published: bool) -> str:
    """What differs, one thing after another, and what follows; a record that is only published never counts as done."""
    changes = {"config": config(entry), "data": data(entry), "code": code(entry), "environment": environment(entry)}
    ended = f"{entry['status']} at update {entry['updates']:,}, begun {entry['started'][:10]}"
    lines = [f"{entry['signature']}: {ended} ({folder})"]
    for name, found in changes.items():
        first, *more = found or ["as then"]
        lines += [f"  {name:<11}  {first}", *(f"{'':15}{line}" for line in more)]
    so = follows(entry, {name for name, found in changes.items() if found})
    if published:
        so = "nothing: this is what was published, and this machine has not made the run."
    return "\n".join([*lines, f"So {so}"])


def config(entry: dict[str, Any]) -> list[str]:
    """What the overrides of a record make of today's conf/, where that is another run."""
    try:
        today = configs.signed(configs.build(record.told(entry["overrides"])))
    except UserError as error:
        return [f"its overrides make none today: {error}"]
    if configs.signature(today) == entry["signature"]:
        return []
    then, now = dict(flat(configs.moved(entry["config"]))), dict(flat(today))
    keys = [key for key in sorted(then.keys() | now.keys()) if then.get(key) != now.get(key)]
    lines = [f"{key}: {then.get(key, 'null')} -> {now.get(key, 'null')}" for key in keys[:SHOWN]]
    lines += [f"and {len(keys) - SHOWN} more"] * (len(keys) > SHOWN)
    return [f"its overrides make {configs.signature(today)} today", *lines]


def flat(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The values of a config that are not null by their dotted keys, numbers as a signature takes them."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from flat(value, f"{path}.{key}".lstrip("."))
    elif node is not None:
        number = isinstance(node, int) and not isinstance(node, bool)
        yield path, json.dumps(float(node) if number else node)


def data(entry: dict[str, Any]) -> list[str]:
    """What is read today, where it is not known to be what was read then."""
    then, now = digests.of_record(entry), digests.of(configs.moved(entry["config"])["data"])
    if then is None:
        return ["an earlier version took no digest of them: nobody can tell"]
    if now is None:
        return [f"digest {then}; they are not on this machine"]
    return [f"digest {then} -> {now}"] if then != now else []


def code(entry: dict[str, Any]) -> list[str]:
    """Which code made a run, where it is not today's."""
    now = provenance.code()
    if entry["source"] == now["source"] and not entry["dirty"]:
        return []
    return [provenance.words(entry), f"-> {provenance.words(now)}"]


def environment(entry: dict[str, Any]) -> list[str]:
    """The packages and devices that are not today's."""
    from indrnn.machine import device_name  # imports torch

    now, here = provenance.code()["versions"], device_name("cpu")
    then = record.versions([entry])
    lines = [
        f"{name} {' and '.join(found)} -> {now.get(name)}" for name, found in then.items() if found != [now.get(name)]
    ]
    devices = record.devices([entry])
    return lines + [f"{' and '.join(devices)} -> {here}"] * (devices != [here])


def follows(entry: dict[str, Any], changed: set[str]) -> str:
    """What follows from what differs."""
    if "config" in changed:
        return "its overrides name another run today, and this one is not asked for by them."
    known = digests.of_record(entry) is not None
    if "data" in changed and known and digests.of(configs.moved(entry["config"])["data"]) is not None:
        return "it does not count as done: the same command trains it anew."
    if entry["status"] not in record.FINAL:
        return "the same command goes on with it, or begins it again."
    if changed - {"data"}:
        return "it counts as done. Trained anew (FRESH=1, or machine.fresh=true) its digits may differ."
    return "it counts as done, and trained anew it would come out the same."
