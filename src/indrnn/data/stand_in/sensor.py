"""What a Kinect v2 makes of a performance: view, noise, losses, ghosts. Shapes: F frames, 25 joints.

Camera coordinates in metres, right-handed: x to the right in Kinect's mirrored picture (someone who faces the camera
has the left hand at smaller x), y up, z away from the camera.
"""

from dataclasses import dataclass

import numpy as np

from indrnn.data.ntu.kinect import JOINTS

ANGLES = {1: 0.0, 2: -np.pi / 4, 3: np.pi / 4}  # of the cameras around the stage; heading 0 faces camera 1
FIRST_ID = 72057594037930000
RESTLESS = np.ones(25)  # what the tracker finds harder than the trunk
for _joint in ("HandLeft", "HandRight", "AnkleLeft", "AnkleRight", "FootLeft", "FootRight"):
    RESTLESS[JOINTS.index(_joint)] = 1.5
for _joint in ("HandTipLeft", "HandTipRight", "ThumbLeft", "ThumbRight"):
    RESTLESS[JOINTS.index(_joint)] = 2.0


@dataclass
class Track:
    """One tracked body: points (F, 25, 3), states (F, 25) 2 tracked, 1 inferred, 0 neither; seen (F,); ids (F,)."""

    points: np.ndarray
    states: np.ndarray
    seen: np.ndarray
    ids: np.ndarray


@dataclass(frozen=True)
class Stand:
    """Where the three cameras of one setup stand: metres from the middle of the stage, and above the floor."""

    distance: float
    height: float

    def view(self, points: np.ndarray, camera: int) -> np.ndarray:
        """Points of the room (..., 3) as camera 1, 2 or 3 sees them; it looks at a point 0.9 m above the stage."""
        angle, down = ANGLES[camera], np.arctan2(self.height - 0.9, self.distance)
        towards = np.array([np.sin(angle), 0, np.cos(angle)])
        forward = -np.cos(down) * towards - np.sin(down) * np.array([0, 1, 0])
        right = np.array([-np.cos(angle), 0, np.sin(angle)])
        axes = np.stack([right, np.cross(forward, right), forward])
        return (points - (self.distance * towards + (0, self.height, 0))) @ axes.T


def stand(rng: np.random.Generator) -> Stand:
    return Stand(rng.uniform(2.9, 3.8), rng.uniform(0.8, 1.7))


def tracked(rng: np.random.Generator, points: np.ndarray, number: int) -> Track:
    """Points (F, 25, 3) in camera coordinates with noise, drift, inferred joints, and in some recordings a gap.

    Joints behind the trunk are occluded: their noise is three times as large and most of them are inferred. The
    ``number`` of a body in its recording keeps ids apart.
    """
    frames = len(points)
    trunk = points[:, 1:2]
    behind = (points[..., 2] - trunk[..., 2] > 0.1) & (np.abs(points[..., 0] - trunk[..., 0]) < 0.2)
    size = 0.024 * RESTLESS * np.where(behind, 3.0, 1.0) * (points[..., 2] / 3.5)
    noise = size[..., None] * (0.5 * rng.normal(size=points.shape) + _slow(rng, frames))
    drift = np.cumsum(rng.normal(0, 0.0015, (frames, 1, 3)), axis=0)
    states = np.where(behind & (rng.random(behind.shape) < 0.8), 1, 2)
    states[(RESTLESS == 2) & (rng.random(behind.shape) < 0.01)] = 0
    seen, ids = np.ones(frames, bool), np.full(frames, _id(rng, number))
    if rng.random() < 0.3:
        start, length = rng.integers(0, frames - 6), rng.integers(1, 6)
        seen[start : start + length] = False
        if rng.random() < 0.5:  # found again, and taken for somebody new
            ids[start + length :] = _id(rng, number + 3)
    return Track(points + noise + drift, states, seen, ids)


def ghost(rng: np.random.Generator, frames: int) -> Track:
    """A piece of furniture taken for a body: it barely moves, is as wide as it is high, and stays once it is found."""
    width = rng.uniform(0.5, 0.9)
    shape = rng.uniform(-0.5, 0.5, (25, 3))
    shape = shape / np.ptp(shape, axis=0) * (width, width * rng.uniform(0.9, 1.1), 0.2)
    middle = (rng.choice([-1, 1]) * rng.uniform(0.8, 1.4), rng.uniform(-0.6, -0.2), rng.uniform(2.8, 4.2))
    seen = np.arange(frames) >= rng.integers(0, frames // 2)
    points = shape + middle + rng.normal(0, 0.003, (frames, 25, 3))
    return Track(points, np.full((frames, 25), 1), seen, np.full(frames, _id(rng, 2)))


def _id(rng: np.random.Generator, number: int) -> int:
    """Of 17 digits; other numbers have other ids."""
    return FIRST_ID + 1000 * number + int(rng.integers(1000))


def _slow(rng: np.random.Generator, frames: int, every: int = 6) -> np.ndarray:
    """Noise (F, 25, 3) that is drawn every few frames and runs straight in between."""
    t = np.arange(frames)[:, None] / every
    knots = np.arange(frames // every + 2)
    weights = np.maximum(0, 1 - np.abs(t - knots))
    return (weights @ rng.normal(size=(len(knots), 75))).reshape(frames, 25, 3)
