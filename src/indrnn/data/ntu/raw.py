"""From the raw files that a user brings to data/ntu, with words on the way: ``make data NTU=...``."""

from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from indrnn.data.ntu.bodies import STEPS
from indrnn.data.ntu.build import build
from indrnn.data.ntu.names import COUNTS, PROTOCOLS, Name
from indrnn.data.ntu.sources import source_at
from indrnn.data.ntu.store import Store
from indrnn.data.ntu.workers import Results
from indrnn.errors import UserError
from indrnn.files import data_folder

WORDS = {"cs": "cross-subject", "cv": "cross-view"}


def take(path: str | Path, jobs: int, without: Iterable[str] = ()) -> None:
    """Read a folder or a zip archive of ``.skeleton`` files into data/ntu and say what came of it.

    Args:
        jobs: processes.
        without: steps of ``to_sequence`` to leave out.

    Raises:
        UserError: see ``build``; or the recordings are as many as the complete set has, but other ones.
    """
    without = set(without)
    if unknown := without - set(STEPS):
        raise UserError(f"There is no step {', '.join(sorted(unknown))}; there are: {', '.join(STEPS)}.")
    folder = data_folder() / "ntu"
    steps = [step for step in STEPS if step not in without]
    found = build(source_at(path), folder, str(Path(path).expanduser().resolve()), steps, jobs, bar)
    for reason in found["refused"]:
        print(f"refused: {reason}")
    store = Store(folder, "start again")
    print(f"{folder}: {len(store.names):,} recordings, {found['frames']:,} frames; {len(found['refused'])} refused")
    print(f"left out: {found['listed']} whose skeletons are missing, as the authors list them", end="")
    print(f"; {found['others']:,} of NTU RGB+D 120" if found["others"] else "")
    for protocol in PROTOCOLS:
        print(f"{WORDS[protocol]}: {coverage(store.names, protocol)}")


def coverage(names: list[Name], protocol: str) -> str:
    """How many training and test recordings there are, of how many.

    Raises:
        UserError: all are there, but not divided as in the complete set.
    """
    training = sum(name.trains(protocol) for name in names)
    there, wanted = (training, len(names) - training), COUNTS[protocol]
    if len(names) == sum(wanted) and there != wanted:
        raise UserError(f"{WORDS[protocol]} should have {wanted} training and test recordings, but has {there}.")
    texts = [f"{n:,}" if k == n else f"{k:,} of {n:,}" for k, n in zip(there, wanted, strict=True)]
    return f"{texts[0]} training, {texts[1]} test recordings"


def bar(results: Results, done: int, total: int) -> Results:
    """Files per second, on a terminal or in a log."""
    if done:
        print(f"going on after {done:,} of {total:,} files")
    return tqdm(results, initial=done, total=total, unit=" files", unit_scale=False, mininterval=1, dynamic_ncols=True)
