"""Draw what single neurons remember (P18 Figures 3 and 4, P19 Figure 5 and Table 1) into results/figures/<profile>."""

import argparse
import sys
from pathlib import Path

from indrnn import files
from indrnn.errors import exit_code
from indrnn.studies.neurons import report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--profile", default="quick", help="quick trains here; fast and paper read finished runs")
    parser.add_argument(
        "--out", type=Path, default=files.ROOT / "results" / "figures", help="above the profile's folder"
    )
    again = "train nothing: draw again what the published json holds"
    parser.add_argument("--redraw", action="store_true", help=again)
    args = parser.parse_args()
    if args.redraw:
        return exit_code(lambda: "\n".join(report.redraw(args.out / args.profile)))
    return exit_code(lambda: report.publish(args.profile, args.out / args.profile))


if __name__ == "__main__":
    sys.exit(main())
