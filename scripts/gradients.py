"""Train networks of 21 layers for some updates and write losses and gradient norms into results/gradients."""

import argparse
import sys
from pathlib import Path

from indrnn import files
from indrnn.errors import exit_code
from indrnn.studies import gradients_report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=files.ROOT / "results" / "gradients", help="where the files go")
    again = "train nothing: draw again what the published json holds"
    parser.add_argument("--redraw", action="store_true", help=again)
    args = parser.parse_args()
    if args.redraw:
        return exit_code(lambda: gradients_report.redraw(args.out))
    return exit_code(lambda: gradients_report.publish(args.out))


if __name__ == "__main__":
    sys.exit(main())
