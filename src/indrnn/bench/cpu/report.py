"""The benchmark of one CPU core, its json and its Markdown. Shapes: T time, B batch, M input, N neurons."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from indrnn import aloud, files, markdown_text, provenance
from indrnn.bench.cpu import language, layers, memory, skeletons
from indrnn.machine import device_name

# What is measured, by the names in cpu.json. A memory check reads /proc, which is there on Linux alone.
PARTS: dict[str, Callable[[int], Any]] = {
    "recurrence": layers.recurrences,
    "layer": layers.layer_steps,
    "update": layers.update,
    "networks": lambda rounds: layers.networks(max(3, rounds // 3)),
    "language": lambda rounds: language.times(max(1, rounds // 15)),
    "skeletons": lambda rounds: skeletons.times(max(1, rounds // 6)),
    "memory": lambda rounds: memory.rows(),
    "memory_checks": lambda rounds: memory.checks() if sys.platform == "linux" else [],
}
HEADS = ["T", "B", "N", "arrays in", "ms", "yardstick ms", "ratio", "bar", "reached"]


def measure(rounds: int, out: Path) -> str:
    """Measure all, write cpu.json and cpu.md into a folder; returns the text of the second.

    Args:
        rounds: of which the fastest counts.

    Raises:
        OSError: ``out`` cannot be written.
    """
    found = {
        "device": device_name("cpu"),
        "threads": 1,
        "rounds": rounds,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance.code(),
    }
    for name, part in PARTS.items():
        with aloud.Step(f"CPU: {name}"):
            found[name] = part(rounds)
    text = markdown(found)
    files.write_whole(out / "cpu.json", json.dumps(found, indent=1) + "\n")
    files.write_whole(out / "cpu.md", text)
    return text


def markdown(found: dict[str, Any]) -> str:
    """What was measured as tables, each with the sentence that says how to read it."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(found["versions"].items()))
    lines = ["# Speed and memory on one CPU core", ""]
    lines += markdown_text.bullets(
        [
            f"{found['device']}, one thread, one process; {versions}.",
            f"Commit {provenance.words(found)}, {found['date'][:10]}. Written by `make bench`.",
            f"Times are minima of {found['rounds']} rounds (a third for networks and T = 5000, a fifteenth for the "
            "language model) in which both sides of a ratio take turns. For all: denormals flushed, freed memory kept, "
            "huge pages asked for, as in train.",
        ]
    )
    lines += ["", "## Recurrence, against a torch.add of as many arrays that allocates its output", ""]
    lines += markdown_text.aligned(["pass", *HEADS], [row(x["what"], x) for x in found["recurrence"]])
    lines += ["", "## Layer step (M = N = 128, no batch norm), against its three matrix products", ""]
    lines += markdown_text.aligned(["step", *HEADS], [row("forward and backward", x) for x in found["layer"]])
    lines += ["", "## A whole update of plain-6 MNIST, against its matrix products", ""]
    lines += markdown_text.aligned(["update", *HEADS], [row("forward, backward, Adam", found["update"])])
    lines += ["", *markdown_text.bullets([by_library(found["update"])])]
    lines += ["", "Shares of the update, by torch's profiler:", ""]
    shares = found["update"]["shares"].items()
    lines += markdown_text.aligned(["part", "share"], [[part, f"{share:.1f}%"] for part, share in shares])
    lines += ["", "## Forward and backward of one network, B = 32, M = N = 128 (lengths of P19 Figure 2)", ""]
    names = list(dict.fromkeys(x["what"] for x in found["networks"]))
    lengths = list(dict.fromkeys(x["T"] for x in found["networks"]))
    times = {(x["what"], x["T"]): x for x in found["networks"]}
    lines += markdown_text.aligned(
        ["network", *(f"T = {T}" for T in lengths)],
        [
            [name, *(f"{times[name, T]['ms']:.1f} ms ({times[name, T]['ratio']:.1f})" for T in lengths)]
            for name in names
        ],
    )
    lines += ["", "In brackets: how many times the time of the first row."]
    lines += language.markdown(found["language"])
    lines += skeletons.markdown(found["skeletons"])
    lines += memory.markdown(found["memory"], found["memory_checks"])
    return "\n".join(lines) + "\n"


def by_library(x: dict[str, Any]) -> str:
    """Whose matrix products these are, and what torch's own would cost."""
    if x["library"] == "torch":
        return "Matrix products are those of torch's own mm (`indrnn.products`)."
    return (
        f"Matrix products are {x['library']}'s here (`indrnn.products`). With those of torch's own mm the update takes "
        f"{x['torch_ms']:.2f} ms and its products {x['torch_products_ms']:.2f}."
    )


def row(name: str, x: dict[str, Any]) -> list[str]:
    sizes = [*(str(x[key]) for key in ("T", "B", "N")), x["cache"]]
    measured = [f"{x['ms']:.2f}", f"{x['yardstick_ms']:.2f}", f"{x['ratio']:.2f}", f"{x['bar']:.1f}"]
    return [name, *sizes, *measured, "yes" if x["ratio"] <= x["bar"] else "no"]
