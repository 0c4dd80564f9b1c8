"""What ``make data`` brings into the data folder, with words on the way."""

from collections.abc import Iterable

from indrnn.aloud import Step
from indrnn.data.ntu import raw
from indrnn.data.ntu.store import HOW
from indrnn.errors import exit_code
from indrnn.files import data_folder


def get(ntu: str | None, jobs: int, without: Iterable[str] = ()) -> int:
    """Fetch and check what may be fetched; or read a folder or archive of NTU RGB+D instead, as ``raw.take`` does.

    Returns:
        the exit code: what fails is said in one sentence, and the next data set is still fetched.
    """
    print(f"Data sets are kept in {data_folder()} (INDRNN_DATA names another folder).")
    if ntu is not None:
        return exit_code(lambda: raw.take(ntu, jobs, without), goes_on=True)
    from indrnn.data import corpus, mnist  # they import torch, which processes that read skeletons do not need

    print("The adding problem and the profile quick need none of this.")
    failed = 0
    for name, fetch in (("MNIST", mnist.fetch), ("Penn Treebank", corpus.fetch)):
        with Step(f"{name}: looking at the files, fetching what is missing"):
            failed = max(failed, exit_code(fetch, goes_on=True))
    print("Penn Treebank is text of the Wall Street Journal, free for research; do not pass it on.")
    print(f"{HOW}.")
    return failed
