"""The stand-in recordings as a store: written as ``.skeleton`` files, read back and built as the real ones are."""

import hashlib
import logging
from pathlib import Path

from indrnn import digests
from indrnn.data import stand_in
from indrnn.data.ntu.build import build
from indrnn.data.ntu.store import Store
from indrnn.data.ntu.workers import Results
from indrnn.data.stand_in.recordings import Recordings

PERFORMERS, REPLICATIONS = 40, 2  # as many as in NTU RGB+D, so that its protocols split them

log = logging.getLogger(__name__)


def stand_in_store() -> Store:
    """Make the store on first use (half a minute on one core), in data/ntu_stand_in; other processes wait for it."""
    folder = digests.STAND_INS

    def announced(results: Results, done: int, total: int) -> Results:
        log.info("Making %s stand-in recordings in %s, once.", f"{total:,}", folder)
        return results

    source = Recordings(PERFORMERS, REPLICATIONS)
    build(source, folder, f"stand-in recordings {code()}", progress=announced, wait=True)
    return Store(folder, "start again, it is made anew")


def code() -> str:
    """A hash of the code that decides what is in the store."""
    digest = hashlib.sha256()
    for package in (Path(stand_in.__file__).parent, Path(__file__).parent):
        for path in sorted(package.glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]
