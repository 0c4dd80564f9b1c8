"""Draw what single neurons remember (P18 Figures 3 and 4, P19 Figure 5 and Table 1) into runs/figures/<profile>."""

import argparse
import sys
from pathlib import Path

from indrnn import places
from indrnn.errors import exit_code
from indrnn.studies.neurons import report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--profile", default="quick", help="quick trains here; fast and paper read finished runs")
    parser.add_argument("--out", type=Path, help="instead of runs/figures, above the profile's folder")
    parser.add_argument("--yes", action="store_true", help="write into results/, over what is published")
    again = "train nothing: draw again what the json there holds"
    parser.add_argument("--redraw", action="store_true", help=again)
    args = parser.parse_args()
    asked = args.out and args.out / args.profile
    where = f"figures/{args.profile}"
    if args.redraw:
        return exit_code(lambda: "\n".join(report.redraw(places.place(where, asked, args.yes))))
    return exit_code(lambda: report.publish(args.profile, places.place(where, asked, args.yes)))


if __name__ == "__main__":
    sys.exit(main())
