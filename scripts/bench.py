"""Measure speed on a GPU, or speed and memory on one CPU core; write results/benchmarks/<device>.md and .json."""

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as train does, before torch is imported

import torch  # noqa: E402

from indrnn import files, markdown_text, provenance  # noqa: E402
from indrnn.bench.cpu import language, layers, memory, skeletons  # noqa: E402
from indrnn.bench.gpu import parts  # noqa: E402
from indrnn.errors import UserError  # noqa: E402
from indrnn.machine import device_name, keep_pages  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    here = "cuda" if torch.cuda.is_available() else "cpu"
    devices = {"nargs": "+", "choices": ("cpu", "cuda"), "default": [here]}
    parser.add_argument("--device", **devices, help=f"one or both (default here: {here})")
    parser.add_argument("--rounds", type=int, default=30, help="on the CPU, of which the fastest counts (default: 30)")
    parser.add_argument("--only", nargs="+", choices=parts.PARTS, help="on a GPU, parts to measure (default: all)")
    parser.add_argument("--out", type=Path, default=files.ROOT / "results" / "benchmarks", help="where the files go")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds must be at least 1, not {args.rounds}")
    if args.only and "cuda" not in args.device:
        parser.error("--only chooses among parts of the GPU's benchmark: add --device cuda")
    keep_pages()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    try:
        gpu = parts.the_gpu() if "cuda" in args.device else None  # before anything is measured
        if "cpu" in args.device:
            print(on_cpu(args.rounds, args.out))
        if gpu is not None:
            print(parts.measure(gpu, args.out, args.only or ()))
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def on_cpu(rounds: int, out: Path) -> str:
    found = measure(rounds)
    text = markdown(found)
    files.write_whole(out / "cpu.json", json.dumps(found, indent=1) + "\n")
    files.write_whole(out / "cpu.md", text)
    return text


def measure(rounds: int) -> dict:
    return {
        "device": device_name("cpu"),
        "threads": 1,
        "rounds": rounds,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance.code(),
        "recurrence": layers.recurrences(rounds),
        "layer": layers.layer_steps(rounds),
        "update": layers.update(rounds),
        "networks": layers.networks(max(3, rounds // 3)),
        "language": language.times(max(1, rounds // 15)),
        "skeletons": skeletons.times(max(1, rounds // 6)),
        "memory": memory.rows(),
        "memory_checks": memory.checks() if sys.platform == "linux" else [],  # elsewhere there is no /proc
    }


def markdown(found: dict) -> str:
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


HEADS = ["T", "B", "N", "ms", "yardstick ms", "ratio", "bar", "reached"]


def row(name: str, x: dict) -> list[str]:
    sizes = [str(x[key]) for key in ("T", "B", "N")]
    measured = [f"{x['ms']:.2f}", f"{x['yardstick_ms']:.2f}", f"{x['ratio']:.2f}", f"{x['bar']:.1f}"]
    return [name, *sizes, *measured, "yes" if x["ratio"] <= x["bar"] else "no"]


if __name__ == "__main__":
    sys.exit(main())
