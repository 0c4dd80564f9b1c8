"""Look whether what is published is still so: files, tables, and some runs trained again; nothing is written."""

import argparse
import os
import sys

from indrnn import verify
from indrnn.errors import exit_code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    which = "the signature of a published run to train again, or how it begins (default: one run of each quick table)"
    parser.add_argument("--run", default="", help=which)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at once (default: cores)")
    args = parser.parse_args()
    if args.jobs < 1:
        parser.error(f"--jobs must be at least 1, not {args.jobs}")
    return exit_code(lambda: verify.main(args.run, args.jobs))


if __name__ == "__main__":
    sys.exit(main())
