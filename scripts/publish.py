"""Copy this machine's records, curves and tables into results/, or render results/ again from what is there."""

import argparse
import sys
from pathlib import Path

from indrnn import files, publish
from indrnn.errors import exit_code
from indrnn.tables import schema


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--profile", help=f"publish this one: {', '.join(schema.PROFILES)}")
    what.add_argument("--milestones", action="store_true", help="publish the runs of conf/milestones, finished or not")
    what.add_argument("--render", action="store_true", help="render all of results/ from results/runs")
    where = "folder to publish from (default: runs/)"
    parser.add_argument("--runs", type=Path, default=files.ROOT / "runs", help=where)
    parser.add_argument("--results", type=Path, default=publish.RESULTS, help="default: results/")
    why = "why published numbers become others, where they do: it is kept beside their table"
    parser.add_argument("--reason", default="", help=why)
    parser.add_argument("--yes", action="store_true", help="write; without it say what would be replaced in results/")
    args = parser.parse_args()
    return exit_code(
        lambda: publish.main(args.profile, args.milestones, args.runs, args.results, args.reason, args.yes)
    )


if __name__ == "__main__":
    sys.exit(main())
