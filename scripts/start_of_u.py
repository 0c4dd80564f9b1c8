"""Train six layers on characters from several starts of u and write what became of them into results/start_of_u."""

import argparse
import sys
from pathlib import Path

from indrnn import files
from indrnn.errors import exit_code
from indrnn.studies import start_of_u, start_of_u_report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--width", type=int, action="append", help="neurons a layer, may be repeated (default: all)")
    parser.add_argument(
        "--start", action="append", help=f"may be repeated (default: all): {'; '.join(start_of_u.STARTS)}"
    )
    parser.add_argument("--out", type=Path, default=files.ROOT / "results" / "start_of_u", help="where the files go")
    again = "train nothing: write page and picture again from the published json"
    parser.add_argument("--redraw", action="store_true", help=again)
    args = parser.parse_args()
    if args.redraw:
        return exit_code(lambda: start_of_u_report.render_all(args.out))
    widths, starts = args.width or list(start_of_u.WIDTHS), args.start or list(start_of_u.STARTS)
    return exit_code(lambda: start_of_u_report.publish(args.out, widths, starts))


if __name__ == "__main__":
    sys.exit(main())
