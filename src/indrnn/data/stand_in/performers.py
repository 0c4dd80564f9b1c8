"""Performers and their performances. Shapes: F frames, 25 joints, 20 channels of a pose."""

from dataclasses import dataclass

import numpy as np

from indrnn.data.stand_in.actions import BY_NUMBER, Action, ease
from indrnn.data.stand_in.body import CHANNELS, STANDING, Body, joints, mirrored


@dataclass(frozen=True)
class Performer:
    """A person: a body, and how it moves.

    Args:
        tempo: over that of the average person.
        amplitude: how far a pose goes away from standing, over that of the average person.
    """

    body: Body
    tempo: float
    amplitude: float
    left_handed: bool


def performer(rng: np.random.Generator) -> Performer:
    """Draw a person of 1.50 to 1.90 m."""
    ratios = np.clip(rng.normal(1, 0.04, 4), 0.9, 1.1)
    body = Body(float(np.clip(rng.normal(1.7, 0.09), 1.5, 1.9)), *ratios)
    return Performer(body, rng.uniform(0.85, 1.2), rng.uniform(0.75, 1.1), rng.random() < 0.2)


def performance(rng: np.random.Generator, action: int, people: list[Performer], heading: float) -> list[np.ndarray]:
    """What one or two people do, (F, 25, 3) in metres for each, from somewhere near the middle of the stage.

    The motion starts after a rest and ends before one, both of random length, so that a frame's number does not tell.

    Args:
        heading: the way the performer faces, in radians; two people stand across it and face each other.
    """
    what = BY_NUMBER[action]
    length = what.frames / people[0].tempo * rng.uniform(0.88, 1.14)
    before, after = rng.integers(1, 16, 2)
    frames = np.arange(np.clip(int(before + length + after), 30, 90))
    heading += rng.normal(0, 0.35)
    if what.people == 2:
        heading += rng.choice([-0.5, 0.5]) * np.pi
    place = rng.uniform(-0.3, 0.3, 2)
    gap = rng.uniform(1.6, 2.4)
    found = []
    for person in people:
        late = rng.uniform(-2, 2) if what.people == 2 else 0
        progress = _uneven(rng, np.clip((frames - before - late) / length, 0, 1))
        points = joints(person.body, _poses(rng, what, person, progress))
        if what.people == 2:
            points[..., 2] -= gap / 2
        found.append(_placed(points, heading, place))
        heading += np.pi
    return found


def _uneven(rng: np.random.Generator, progress: np.ndarray) -> np.ndarray:
    """The same, faster here and slower there; backwards as likely as forwards."""
    return progress + rng.uniform(-0.08, 0.08) * np.sin(2 * np.pi * progress)


def _poses(rng: np.random.Generator, what: Action, person: Performer, progress: np.ndarray) -> np.ndarray:
    poses = what.motion(rng, 1 - progress if what.backwards else progress)
    hands = slice(8, 14)
    poses[:, hands] = STANDING[hands] + person.amplitude * (poses[:, hands] - STANDING[hands])
    if what.mirror or (what.handed and person.left_handed):
        poses = mirrored(poses)
    return _filled(rng, poses)


def _filled(rng: np.random.Generator, poses: np.ndarray) -> np.ndarray:
    """With sway and shifted weight, and up to twice a hand that goes somewhere in passing."""
    t = np.arange(len(poses)) / 30
    for channel, size in (("lean", 0.03), ("side", 0.03), ("twist", 0.08), ("nod", 0.08), ("x", 0.015), ("z", 0.015)):
        rate, phase = rng.uniform(0.2, 0.6), rng.uniform(0, 2 * np.pi)
        poses[:, CHANNELS[channel]] += rng.normal(0, size) * np.sin(2 * np.pi * rate * t + phase)
    for _ in range(rng.integers(0, 3)):
        sign, hand = ((1, "left_hand"), (-1, "right_hand"))[rng.integers(2)]
        middle, half = rng.uniform(0, len(poses)), rng.uniform(6, 12)
        weight = rng.uniform(0.4, 1) * ease(1 - np.abs(np.arange(len(poses)) - middle) / half)[:, None]
        towards = rng.uniform((-0.3, -0.7, 0.2), (0.4, 0.3, 0.6)) * (sign, 1, 1)
        poses[:, CHANNELS[hand]] += weight * (towards - poses[:, CHANNELS[hand]])
    return poses


def _placed(points: np.ndarray, heading: float, place: np.ndarray) -> np.ndarray:
    """Turned to the left by ``heading`` and moved to ``place`` (x, z) of the room."""
    x, y, z = np.moveaxis(points, -1, 0)
    c, s = np.cos(heading), np.sin(heading)
    return np.stack([c * x + s * z + place[0], y, c * z - s * x + place[1]], axis=-1)
