"""Stand-in recordings for NTU RGB+D as ``.skeleton`` files: names, and the text of each. Shapes: F frames, 25 joints.

Made up from first to last: nothing here comes from a recording of the real data set, which may not be passed on. The
layout of the text, the meaning of the names and what goes wrong in a recording are those of the real files (Shahroudy
et al., NTU RGB+D, CVPR 2016; README of its repository).
"""

from pathlib import Path

import numpy as np

from indrnn.data.stand_in import performers, sensor
from indrnn.data.stand_in.actions import BY_NUMBER
from indrnn.errors import UserError, positive

SETUPS = 8
PERSON, STAND, PERFORMANCE, VIEW = range(4)  # separate the random numbers of what a file is made of
FACES = {1: sensor.ANGLES[2], 2: sensor.ANGLES[3]}  # replication: the camera that the performer looks into
GHOSTS = 0.05  # share of the recordings

_JOINT = " ".join(["%.7g"] * 7) + " 1 0 0 0 %d\n"
_BODY = "%d 0 0 0 0 0 0 %.7g %.7g 2\n25\n" + _JOINT * 25


class Recordings:
    """Recordings of ``performers`` people who do every action ``replications`` times before three cameras.

    Each is a function of its name and ``version_seed`` alone: more performers add files and change none. The three
    cameras see one performance; in replication 1 the performer faces camera 2, in replication 2 camera 3, so that
    camera 1 sees most of it from 45 degrees.

    Args:
        performers: at most 999, because a name has three digits for them.
        replications: 1 or 2.
        version_seed: another one gives other people, cameras and performances.

    Raises:
        UserError: numbers out of range; from ``read``, a name that is not among ``names()``.
    """

    def __init__(self, performers: int = 40, replications: int = 2, version_seed: int = 0):
        positive(performers=performers, replications=replications)
        if performers > 999:
            raise UserError(f"performers must be at most 999, because names have three digits, not {performers}.")
        if replications > 2:
            raise UserError(f"replications must be 1 or 2, one for each side camera, not {replications}.")
        if version_seed < 0:
            raise UserError(f"version_seed must be at least 0, not {version_seed}.")
        self.seed = version_seed
        self._keys = {
            f"S{setup_of(p):03}C{c:03}P{p:03}R{r:03}A{a:03}.skeleton": (c, p, r, a)
            for p in range(1, performers + 1)
            for r in range(1, replications + 1)
            for a in BY_NUMBER
            for c in sensor.ANGLES
        }

    def names(self) -> list[str]:
        """Sorted, ``SsssCcccPpppRrrrAaaa.skeleton``: setup, camera, performer, replication, action."""
        return sorted(self._keys)

    def read(self, name: str) -> bytes:
        """The content of the file of that name."""
        if name not in self._keys:
            raise UserError(f"there is no stand-in recording {name}; names look like {min(self._keys)}.")
        camera, performer, replication, action = self._keys[name]
        rng = self._rng(VIEW, performer, replication, action, camera)
        stand = sensor.stand(self._rng(STAND, setup_of(performer)))
        bodies = self._bodies(performer, replication, action)
        tracks = [sensor.tracked(rng, stand.view(points, camera), number) for number, points in enumerate(bodies)]
        if rng.random() < GHOSTS:
            tracks.append(sensor.ghost(rng, len(tracks[0].seen)))
        order = rng.permutation(len(tracks))
        text = written([tracks[i] for i in order])
        if rng.random() < 0.1:
            text = text[:-1]
        if rng.random() < 0.2:
            text = text.replace("\n", "\r\n")
        return text.encode()

    def write(self, folder: Path) -> str:
        """All as files, those of the same names replaced, in a folder made if need be; returns a sentence on it."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.names():
            (folder / name).write_bytes(self.read(name))
        return f"{len(self.names()):,} stand-in recordings (made up, not NTU RGB+D) are in {folder}."

    def _bodies(self, performer: int, replication: int, action: int) -> list[np.ndarray]:
        rng = self._rng(PERFORMANCE, performer, replication, action)
        other = int(rng.integers(1, 1000))
        people = [self._person(performer), self._person(other)][: BY_NUMBER[action].people]
        return performers.performance(rng, action, people, FACES[replication])

    def _person(self, number: int) -> performers.Performer:
        return performers.performer(self._rng(PERSON, number))

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *key])


def setup_of(performer: int) -> int:
    """The setup, from 1, in which a performer is recorded."""
    return 1 + (performer - 1) % SETUPS


def written(tracks: list[sensor.Track]) -> str:
    """The text of a recording; a frame in which nobody is seen says 0 bodies."""
    rows = [_rows(track) for track in tracks]
    parts = [f"{len(tracks[0].seen)}\n"]
    for frame in range(len(tracks[0].seen)):
        bodies = [row[frame] for row, track in zip(rows, tracks, strict=True) if track.seen[frame]]
        parts.append(f"{len(bodies)}\n")
        parts += [_BODY % tuple(body) for body in bodies]
    return "".join(parts)


def _rows(track: sensor.Track) -> list[list[float | int]]:
    """What fills ``_BODY``, for every frame: id, lean in x and y, and for each joint eight numbers.

    Depth and colour pictures have 512 x 424 and 1920 x 1080 points; focal lengths and centres are those that Kinect
    cameras of this kind have about; the colour camera sits 5 cm beside the depth camera.
    """
    points = track.points
    x, y, z = np.moveaxis(points, -1, 0)
    z = np.maximum(z, 0.3)
    pictures = (256 + 365 * x / z, 212 - 365 * y / z, 960 + 1060 * (x + 0.05) / z, 540 - 1060 * y / z)
    numbers = np.stack([x, y, points[..., 2], *pictures, track.states], axis=-1).reshape(len(points), -1)
    up = points[:, 20] - points[:, 0]
    lean = np.stack([np.arctan2(up[:, 0], up[:, 1]), np.arctan2(-up[:, 2], up[:, 1])], axis=1) / np.pi * 2
    body = np.clip(lean, -1, 1).tolist()
    return [[int(number), *leans, *row] for number, leans, row in zip(track.ids, body, numbers.tolist(), strict=True)]
