"""Copy this machine's records, curves and tables into results/, or render results/ again from what is there."""

import argparse
import sys
from pathlib import Path

from indrnn import files, publish
from indrnn.errors import UserError
from indrnn.tables import milestones, schema


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--profile", help=f"publish this one: {', '.join(schema.PROFILES)}")
    what.add_argument("--milestones", action="store_true", help="publish the runs of conf/milestones, finished or not")
    what.add_argument("--render", action="store_true", help="render all of results/ from results/runs")
    parser.add_argument(
        "--runs", type=Path, default=files.ROOT / "runs", help="folder to publish from (default: runs/)"
    )
    parser.add_argument("--results", type=Path, default=publish.RESULTS, help="default: results/")
    args = parser.parse_args()
    try:
        reports, courses = [], []
        if args.milestones:
            courses = publish.publish_milestones(args.runs.resolve(), args.results.resolve())
        elif args.render:
            reports = publish.render_all(args.results.resolve())
            courses = milestones.render_all(args.results.resolve())
        else:
            reports = publish.publish(args.profile, args.runs.resolve(), args.results.resolve())
    except (UserError, OSError) as error:  # OSError: a folder that cannot be written, a full disk
        print(error, file=sys.stderr)
        return 1
    if args.results.resolve() == publish.RESULTS:
        readme = files.ROOT / "README.md"
        files.write_whole(readme, publish.with_tables(readme.read_text()))
    for report in reports:
        print(f"{report.profile}/{report.table.name}: {len(report.made)} of {report.planned} runs")
        for name in report.missing:
            print(f"  missing: {name}")
    for name in courses:
        print(f"milestones/{name}")
    if not reports and not courses:
        print(f"Nothing is published in {args.results}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
