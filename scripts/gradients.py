"""Train networks of 21 layers for some updates and write losses and gradient norms into runs/gradients."""

import argparse
import sys
from pathlib import Path

from indrnn import places
from indrnn.errors import exit_code
from indrnn.studies import gradients_report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--out", type=Path, help="where the files go, instead of runs/gradients")
    parser.add_argument("--yes", action="store_true", help="write into results/, over what is published")
    again = "train nothing: draw again what the json there holds"
    parser.add_argument("--redraw", action="store_true", help=again)
    args = parser.parse_args()
    if args.redraw:
        return exit_code(lambda: gradients_report.redraw(places.place("gradients", args.out, args.yes)))
    return exit_code(lambda: gradients_report.publish(places.place("gradients", args.out, args.yes)))


if __name__ == "__main__":
    sys.exit(main())
