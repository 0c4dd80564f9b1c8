"""Fetch the data sets that may be fetched and check them, or take in the raw files of NTU RGB+D that you bring."""

import argparse
import os
import sys

from indrnn.data.download import data_folder
from indrnn.data.ntu import raw
from indrnn.data.ntu.bodies import STEPS
from indrnn.data.ntu.store import HOW
from indrnn.errors import UserError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--ntu", help="folder or zip archive of the raw .skeleton files of NTU RGB+D")
    parser.add_argument("--without", nargs="*", default=[], help=f"of NTU RGB+D, leave out steps: {' '.join(STEPS)}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes that read them")
    args = parser.parse_args()
    if args.jobs < 1:
        parser.error(f"--jobs must be at least 1, not {args.jobs}")
    print(f"Data sets are kept in {data_folder()} (INDRNN_DATA names another folder).")
    if args.ntu is not None:
        return said(lambda: raw.take(args.ntu, args.jobs, args.without))
    from indrnn.data import corpus, mnist  # they import torch, which processes that read skeletons do not need

    print("The adding problem and the profile quick need none of this.")
    failed = max(said(mnist.fetch), said(corpus.fetch))
    print("Penn Treebank is text of the Wall Street Journal, free for research; do not pass it on.")
    print(f"{HOW}.")
    return failed


def said(what) -> int:
    """Do it; 1, and the reason in one sentence, where that fails."""
    try:
        what()
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
