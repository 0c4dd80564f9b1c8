"""Train six layers on characters from several starts of u and write what became of them into runs/start_of_u."""

import argparse
import sys
from pathlib import Path

from indrnn import places
from indrnn.errors import exit_code
from indrnn.studies import start_of_u, start_of_u_report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--width", type=int, action="append", help="neurons a layer, may be repeated (default: all)")
    parser.add_argument(
        "--start", action="append", help=f"may be repeated (default: all): {'; '.join(start_of_u.STARTS)}"
    )
    parser.add_argument("--out", type=Path, help="where the files go, instead of runs/start_of_u")
    parser.add_argument("--yes", action="store_true", help="write into results/, over what is published")
    again = "train nothing: write page and picture again from the json there"
    parser.add_argument("--redraw", action="store_true", help=again)
    args = parser.parse_args()
    widths, starts = args.width or list(start_of_u.WIDTHS), args.start or list(start_of_u.STARTS)
    where = "start_of_u", args.out, args.yes
    if args.redraw:
        return exit_code(lambda: start_of_u_report.render_all(places.place(*where)))
    return exit_code(lambda: start_of_u_report.publish(places.place(*where), widths, starts))


if __name__ == "__main__":
    sys.exit(main())
