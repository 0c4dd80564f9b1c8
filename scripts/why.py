"""Say what differs today from when a run was made: config, data, code, environment; and what follows from it."""

import argparse
import sys
from pathlib import Path

from indrnn import files, why
from indrnn.errors import exit_code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("run", help="its signature, as in `make plan`")
    parser.add_argument("--runs", type=Path, default=files.ROOT / "runs", help="folder of the runs (default: runs/)")
    args = parser.parse_args()
    return exit_code(lambda: why.main(args.run, args.runs))


if __name__ == "__main__":
    sys.exit(main())
