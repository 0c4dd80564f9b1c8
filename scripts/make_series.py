"""Write three made-up series, plain.csv, slow.csv and long.csv, into a folder: what experiment=csv was tried on."""

import argparse
import sys
from pathlib import Path

from indrnn.data.stand_in import series
from indrnn.errors import exit_code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", type=Path, help="where the files go; made if need be")
    args = parser.parse_args()
    return exit_code(lambda: series.write(args.folder))


if __name__ == "__main__":
    sys.exit(main())
