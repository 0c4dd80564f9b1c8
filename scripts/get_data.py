"""Fetch the data sets that may be fetched and check them, or take in the raw files of NTU RGB+D that you bring."""

import argparse
import os
import sys

from indrnn.data.get import get
from indrnn.data.ntu.bodies import STEPS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--ntu", help="folder or zip archive of the raw .skeleton files of NTU RGB+D")
    parser.add_argument("--without", nargs="*", default=[], help=f"of NTU RGB+D, leave out steps: {' '.join(STEPS)}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes that read them")
    args = parser.parse_args()
    if args.jobs < 1:
        parser.error(f"--jobs must be at least 1, not {args.jobs}")
    return get(args.ntu, args.jobs, args.without)


if __name__ == "__main__":
    sys.exit(main())
