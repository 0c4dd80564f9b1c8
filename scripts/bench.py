"""Measure speed on a GPU, or speed and memory on one CPU core; write gpu.md or cpu.md, and rows."""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as train does, before torch is imported

import torch  # noqa: E402

from indrnn import places  # noqa: E402
from indrnn.bench.gpu import parts  # noqa: E402
from indrnn.bench.run import run  # noqa: E402
from indrnn.errors import exit_code  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    here = "cuda" if torch.cuda.is_available() else "cpu"
    devices = {"nargs": "+", "choices": ("cpu", "cuda"), "default": [here]}
    parser.add_argument("--device", **devices, help=f"one or both (default here: {here})")
    parser.add_argument("--rounds", type=int, default=30, help="on the CPU, of which the fastest counts (default: 30)")
    parser.add_argument("--only", nargs="+", choices=parts.PARTS, help="on a GPU, parts to measure (default: all)")
    parser.add_argument("--out", type=Path, help="where the files go, instead of runs/benchmarks")
    parser.add_argument("--yes", action="store_true", help="write into results/, over what is published")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds must be at least 1, not {args.rounds}")
    if args.only and "cuda" not in args.device:
        parser.error("--only chooses among parts of the GPU's benchmark: add --device cuda")
    where = "benchmarks", args.out, args.yes
    return exit_code(lambda: run(args.device, args.rounds, args.only or (), places.place(*where)))


if __name__ == "__main__":
    sys.exit(main())
