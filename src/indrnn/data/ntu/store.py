"""What the raw files become: one memory-mapped file of all frames, and an index. Shapes: F frames of all recordings.

``skeletons.f32`` holds (F, 2, 25, 3) float32, little-endian, metres, one recording after another. ``index.json`` says
where each starts, how many frames it has and the crc32 of its name and bytes, compared when it is first read.
"""

import hashlib
import json
import zlib
from functools import cached_property
from pathlib import Path

import numpy as np

from indrnn import files
from indrnn.data.ntu.bodies import SLOTS
from indrnn.data.ntu.names import Name
from indrnn.data.ntu.skeleton import JOINTS
from indrnn.errors import NoData, UserError

FRAMES, INDEX = "skeletons.f32", "index.json"
AGAIN = "run `make data NTU=<folder or zip of the .skeleton files>`"
HOW = (
    "NTU RGB+D may not be passed on: ask the ROSE Lab of Nanyang Technological University for the skeletons, then "
    f"{AGAIN}"
)
FRAME = (SLOTS, JOINTS, 3)
FRAME_BYTES = 4 * SLOTS * JOINTS * 3


def checksum(name: str, frames: bytes | np.ndarray) -> int:
    """The crc32 of a recording; the name belongs to it, because it says the label."""
    return zlib.crc32(frames, zlib.crc32(name.encode()))


class Store:
    """A folder that ``indrnn.data.ntu.build`` has made, open for reading.

    Args:
        hint: how to get it, said where it is missing.
        again: how to get it again, said where it is damaged; ``hint`` if not given.

    Attributes:
        about: what the index says of all: source, steps, refused files.
        names: of the recordings, sorted.
        starts, lengths: (n,), first frame and number of frames of each.
        frames: (F, 2, 25, 3), memory-mapped.
        sha256: first 12 digits, of steps, names, lengths and checksums: of all that decides a run.

    Args:
        hint: what to do where there is none.

    Raises:
        NoData: there is no such folder, or its making was not finished.
        UserError: a file is damaged.
    """

    def __init__(self, folder: Path, hint: str, again: str | None = None):
        path = folder / INDEX
        if not path.is_file():
            raise NoData(f"{path} is missing: {hint}.")
        self.folder, self.again, index = folder, again or hint, files.content(path)
        try:
            self.about = json.loads(index)
            rows = self.about.pop("recordings")
            self.names = [Name.of(row[0]) for row in rows]
            self.starts, self.lengths, self.checksums = np.array([row[1:] for row in rows], np.int64).reshape(-1, 3).T
            count = int(self.about["frames"])
            what = json.dumps([self.about["steps"], [[*row[:1], *row[2:]] for row in rows]])
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
            raise self._damaged(path, type(error).__name__) from None
        found = (folder / FRAMES).stat().st_size if (folder / FRAMES).is_file() else 0
        if found != count * FRAME_BYTES:
            raise self._damaged(folder / FRAMES, f"{count * FRAME_BYTES:,} bytes expected, {found:,} found")
        self.checked = np.zeros(len(rows), bool)
        self.sha256 = hashlib.sha256(what.encode()).hexdigest()[:12]

    @cached_property
    def frames(self) -> np.ndarray:
        shape = (self.about["frames"], *FRAME)
        return np.memmap(self.folder / FRAMES, "<f4", "r", shape=shape) if shape[0] else np.zeros(shape, "<f4")

    def check(self, recordings: np.ndarray) -> None:
        """Compare the bytes of these recordings with their checksums, once.

        Raises:
            UserError: they differ.
        """
        for i in recordings[~self.checked[recordings]]:
            found = checksum(str(self.names[i]), self.frames[self.starts[i] : self.starts[i] + self.lengths[i]])
            if found != self.checksums[i]:
                what = f"{self.names[i]}: crc32 expected {self.checksums[i]:08x}, found {found:08x}"
                raise self._damaged(self.folder / FRAMES, what)
            self.checked[i] = True

    def _damaged(self, path: Path, what: str) -> UserError:
        return UserError(f"{path} is damaged ({what}): delete {self.folder} and {self.again}.")
