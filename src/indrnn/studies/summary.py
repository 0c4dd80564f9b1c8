"""What reports of measurements have in common: where the numbers come from, means over seeds."""

import math
import statistics
from typing import Any

from indrnn import markdown_text, provenance
from indrnn.machine import device_name


def about(command: str) -> dict[str, Any]:
    """command, device, commit, source, dirty, versions of what is measured here."""
    return {"command": command, "device": device_name("cpu"), **provenance.code()}


def where_from(about: dict[str, Any]) -> list[str]:
    """What ``about`` says, as the last section of a report."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(about["versions"].items()))
    sentences = [f"Commit: {provenance.words(about)}.", f"Versions: {versions}.", f"Device: {about['device']}."]
    return ["## Provenance", "", *markdown_text.bullets([*sentences, f"Command: `{about['command']}`"])]


def plus_minus(values: list[float], spec: str = ".2f") -> str:
    """Mean ± sample standard deviation."""
    deviation = f" ± {statistics.stdev(values):{spec}}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{spec}}{deviation}"


def geometric(values: list[float]) -> float:
    """The geometric mean; 0 and infinity stay what they are."""
    if 0 in values or math.inf in values:
        return math.inf if math.inf in values else 0.0
    return statistics.geometric_mean(values)


def verdict(found: list[bool]) -> str:
    """Of a threshold: decided when every seed is on one side of it."""
    return "undecided" if len(set(found)) > 1 else "holds" if found[0] else "does not hold"
