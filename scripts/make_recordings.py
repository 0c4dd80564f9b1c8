"""Write stand-in recordings for NTU RGB+D, as .skeleton files, into a folder."""

import argparse
import sys
from pathlib import Path

from indrnn.data.stand_in import Recordings
from indrnn.errors import exit_code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", type=Path, help="where the files go; made if need be")
    parser.add_argument("--performers", type=int, default=40, help="how many people (default: 40)")
    parser.add_argument("--replications", type=int, default=2, help="times each does each action, 1 or 2 (default: 2)")
    args = parser.parse_args()
    return exit_code(lambda: Recordings(args.performers, args.replications).write(args.folder))


if __name__ == "__main__":
    sys.exit(main())
