"""Fetch the data sets that may be fetched, check them, explain the others."""

import sys

from indrnn.data import corpus, mnist
from indrnn.data.download import data_folder
from indrnn.errors import UserError


def main() -> int:
    print(f"Data sets are kept in {data_folder()} (INDRNN_DATA names another folder).")
    print("The adding problem and the profile quick need none of this.")
    failed = 0
    for fetch in (mnist.fetch, corpus.fetch):
        try:
            fetch()
        except UserError as error:
            print(error, file=sys.stderr)
            failed = 1
    print("Penn Treebank is text of the Wall Street Journal, free for research; do not pass it on.")
    print("NTU RGB+D comes with its table in a later version. It may not be passed on,")
    print("so you will have to ask the ROSE Lab of NTU for a copy.")
    return failed


if __name__ == "__main__":
    sys.exit(main())
