"""List the runs of this machine, the latest last: signature, status, metric, updates, minutes, age, what was typed."""

import argparse
import sys
from pathlib import Path

from indrnn import files, runs
from indrnn.errors import exit_code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    which = "only runs that fit each of them, such as 'adding lstm', 'data.seq_len=200 seed=0' or 'unfinished'"
    parser.add_argument("--words", default="", help=which)
    parser.add_argument("--runs", type=Path, default=files.ROOT / "runs", help="folder of the runs (default: runs/)")
    args = parser.parse_args()
    return exit_code(lambda: runs.main(args.words.split(), args.runs.resolve()))


if __name__ == "__main__":
    sys.exit(main())
