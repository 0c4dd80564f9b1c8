"""Write the report page of all tables: the published ones and those of this machine's runs."""

import argparse
import sys
from pathlib import Path

from indrnn import files, publish, report_here
from indrnn.errors import exit_code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    where = "folder of this machine's runs; the page goes into its folder report (default: runs/)"
    parser.add_argument("--runs", type=Path, default=files.ROOT / "runs", help=where)
    parser.add_argument("--results", type=Path, default=publish.RESULTS, help="what is published (default: results/)")
    args = parser.parse_args()
    return exit_code(lambda: report_here.main(args.runs, args.results))


if __name__ == "__main__":
    sys.exit(main())
