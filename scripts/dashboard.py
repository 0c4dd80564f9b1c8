"""Write W&B's workspaces and a report of the tables as JSON into runs/dashboard, and save them where W&B lets us in."""

import argparse
import sys
from pathlib import Path

from indrnn import dashboard, files
from indrnn.errors import exit_code
from indrnn.tables import schema


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--table", action="append", help="a file of conf/table, may be repeated (default: all)")
    parser.add_argument("--profile", default="quick", help=f"{', '.join(schema.PROFILES)} (default: quick)")
    where = "folder of the runs (default: runs/), whose records the comparison tables show"
    parser.add_argument("--runs", type=Path, default=files.ROOT / "runs", help=where)
    args = parser.parse_args()
    runs = args.runs.resolve()
    return exit_code(lambda: dashboard.main(args.table, args.profile, runs, runs / "dashboard"))


if __name__ == "__main__":
    sys.exit(main())
