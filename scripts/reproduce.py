"""Train what the papers' tables need and is not done yet, then print them beside the published numbers."""

import argparse
import math
import os
import shlex
import sys
from pathlib import Path

# A Python without .venv runs this, too: src/ is found here, by this process and by those that it starts.
SRC = str(Path(__file__).resolve().parent.parent / "src")
sys.path.insert(0, SRC)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [SRC, os.environ.get("PYTHONPATH")]))

from indrnn import files, launching, reproduce  # noqa: E402
from indrnn.errors import exit_code  # noqa: E402
from indrnn.tables import schema  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    which = "a file of conf/table, may be repeated (default: all but those with default: false)"
    parser.add_argument("--table", action="append", help=which)
    parser.add_argument("--profile", default="quick", help=f"{', '.join(schema.PROFILES)} (default: quick)")
    parser.add_argument("--column", action="append", help="a column's key in the table file, may be repeated")
    parser.add_argument("--seeds", type=numbers, help="such as 0,1,2, instead of the table's")
    launchers = f"basic, {', '.join(launching.LAUNCHERS)}, or another of Hydra's"
    parser.add_argument("--launcher", default="basic", help=launchers)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at once (launcher basic: always one)")
    parser.add_argument("--runs", type=Path, default=files.ROOT / "runs", help="folder of the runs (default: runs/)")
    only = "only list the runs: signature, state, command"
    parser.add_argument("--plan", dest="only_list", action="store_true", help=only)
    tiny = "every table at quick sizes with 2 updates, then forget it"
    parser.add_argument("--smoke", action="store_true", help=tiny)
    anew = "set aside what is done and make it anew; without this the same command goes on with that"
    parser.add_argument("--fresh", action="store_true", help=anew)
    in_time = "stop runs, with checkpoints, and write the tables within so many minutes; call again to go on"
    parser.add_argument("--minutes", type=float, help=in_time)
    parser.add_argument("overrides", nargs="*", help="Hydra overrides for every run")
    args = parser.parse_args()
    args.runs = args.runs.resolve()
    if args.jobs < 1:
        parser.error(f"--jobs must be at least 1, not {args.jobs}")
    if args.minutes is not None and not 0 < args.minutes < math.inf:
        parser.error(f"--minutes must be a number above 0, not {args.minutes:g}")
    if args.seeds or args.overrides:  # make has no words for them all
        args.command = shlex.join(["python", "scripts/reproduce.py", *sys.argv[1:]])
    return exit_code(lambda: reproduce.main(reproduce.Choice(**vars(args))), goes_on=True)


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
