"""Fetch the data sets that may be fetched, check them, explain the others."""

import sys

from indrnn.data import mnist
from indrnn.data.download import data_folder
from indrnn.errors import UserError


def main() -> int:
    print(f"Data sets are kept in {data_folder()} (INDRNN_DATA names another folder).")
    print("The adding problem and the profile quick need none of this.")
    try:
        mnist.fetch()
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        print("Penn Treebank and NTU RGB+D come with their tables in a later version; NTU RGB+D may not be passed on,")
        print("so you will have to ask the ROSE Lab of NTU for a copy.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
