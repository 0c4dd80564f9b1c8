"""Compare runs of this machine: seeds of one config as mean ± std, what differs, intervals, curves as a picture."""

import argparse
import re
import sys
from pathlib import Path

from indrnn import compare, files
from indrnn.errors import exit_code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--run", default="", help="signatures, or how they begin, such as '3f2a 81b0'")
    parser.add_argument("--words", default="", help="and all runs that fit each of these words, as in `make runs`")
    parser.add_argument("--runs", type=Path, default=files.ROOT / "runs", help="folder of the runs (default: runs/)")
    args = parser.parse_args()
    names = re.split(r"[\s,]+", args.run.strip(" ,")) if args.run.strip(" ,") else []
    return exit_code(lambda: compare.main(names, args.words.split(), args.runs.resolve()))


if __name__ == "__main__":
    sys.exit(main())
