"""The actions: motions of one or two bodies, half of them the other half backwards. Shapes: F frames, 20 channels.

A motion maps its progress (F,), 0 before it starts and 1 after it ends, to poses (F, 20) of a right-handed person; its
generator draws what differs from one performance to the next.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from indrnn.data.stand_in.body import CHANNELS, STANDING

Motion = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def pose(changes: dict[str, float | tuple[float, float, float]]) -> np.ndarray:
    """Standing with arms hanging, (20,), except for the named channels."""
    changed = STANDING.copy()
    for name, value in changes.items():
        changed[CHANNELS[name]] = value
    return changed


def ease(s: np.ndarray) -> np.ndarray:
    """0 to 1 with no speed at either end."""
    s = np.clip(s, 0, 1)
    return s * s * (3 - 2 * s)


def keyed(rng: np.random.Generator, progress: np.ndarray, times: list[float], poses: list[np.ndarray]) -> np.ndarray:
    """Poses (F, 20) that stop at each of the given poses at about its time; both vary from performance to performance.

    The first and the last pose vary too, because people do not start from, nor return to, one and the same pose.
    """
    times = np.array(times)
    times[1:-1] += rng.uniform(-0.06, 0.06, len(times) - 2)
    keys = np.array(poses)
    keys[:, 1:5] += rng.normal(0, 0.06, (len(keys), 4))
    keys[:, 5:8] += rng.normal(0, 0.01, (len(keys), 3))
    keys[:, 8:14] += rng.normal(0, 0.05, (len(keys), 6))
    after = np.clip(np.searchsorted(times, progress, side="right"), 1, len(times) - 1)
    s = (progress - times[after - 1]) / (times[after] - times[after - 1])
    return keys[after - 1] + ease(s)[:, None] * (keys[after] - keys[after - 1])


BENT = pose({"lean": 0.6, "height": 0.82, "z": -0.25, "left_hand": (0, -0.7, 0.6), "right_hand": (0, -0.7, 0.6)})
SITTING = pose({"lean": 0.1, "height": 0.58, "z": -0.45, "left_hand": (0, -0.6, 0.45), "right_hand": (0, -0.6, 0.45)})
REACHING = pose({"lean": 1.0, "height": 0.72, "z": -0.2, "right_hand": (0.05, -0.5, 0.85)})
HOLDING = pose({"lean": 0.05, "right_hand": (0.2, -0.5, 0.5)})
FIRST_SLEEVE = pose({"twist": -0.4, "right_hand": (-0.75, -0.35, -0.25), "left_hand": (-0.6, -0.15, 0.45)})
SECOND_SLEEVE = pose({"twist": 0.4, "left_hand": (0.75, -0.35, -0.25), "right_hand": (0.6, -0.15, 0.45)})
CLOSING = pose({"nod": 0.3, "left_hand": (-0.3, -0.6, 0.45), "right_hand": (0.3, -0.6, 0.45)})
LEFT_UP = pose({"left_hand": (0.2, 0.75, 0.35)})
RIGHT_UP = pose({"right_hand": (-0.2, 0.75, 0.35)})


def sit_down(rng: np.random.Generator, progress: np.ndarray) -> np.ndarray:
    return keyed(rng, progress, [0, 0.5, 1], [STANDING, BENT, SITTING])


def pick_up(rng: np.random.Generator, progress: np.ndarray) -> np.ndarray:
    """The thing that was picked up stays in the hand, in front of the body."""
    return keyed(rng, progress, [0, 0.5, 1], [STANDING, REACHING, HOLDING])


def put_on(rng: np.random.Generator, progress: np.ndarray) -> np.ndarray:
    """A jacket: one sleeve, the other sleeve, closing it in front."""
    return keyed(rng, progress, [0, 0.25, 0.5, 0.75, 1], [STANDING, FIRST_SLEEVE, SECOND_SLEEVE, CLOSING, STANDING])


def raise_left_then_right(rng: np.random.Generator, progress: np.ndarray) -> np.ndarray:
    return keyed(rng, progress, [0, 0.25, 0.5, 0.75, 1], [STANDING, LEFT_UP, STANDING, RIGHT_UP, STANDING])


def wind(rng: np.random.Generator, progress: np.ndarray) -> np.ndarray:
    """The right hand goes round one and a half to two and a half times in front of its shoulder, from any angle."""
    angle = 2 * np.pi * (rng.random() + rng.uniform(1.5, 2.5) * progress)
    poses = np.tile(pose({"lean": rng.normal(0.05, 0.04)}), (len(progress), 1))
    radius = rng.uniform(0.32, 0.42)
    circle = np.stack([0 * angle + rng.normal(0, 0.06), radius * np.sin(angle), radius * np.cos(angle)], axis=1)
    circle += (-0.05, -0.2, 0.5)
    weight = (ease(progress / 0.15) * ease((1 - progress) / 0.15))[:, None]
    hand = CHANNELS["right_hand"]
    poses[:, hand] += weight * (circle - poses[:, hand])
    return poses


def walk(rng: np.random.Generator, progress: np.ndarray) -> np.ndarray:
    """Some steps forward of about half a metre each."""
    poses = np.tile(STANDING, (len(progress), 1))
    poses[:, CHANNELS["lean"]] = rng.normal(0.05, 0.03)
    way = rng.uniform(0.5, 0.8) * ease(progress)
    phase = np.pi * (rng.integers(0, 2) + 3.2 * way)
    moving = ease(progress / 0.15) * ease((1 - progress) / 0.15)
    swing = moving * np.sin(phase)
    poses[:, CHANNELS["z"]] += way
    poses[:, CHANNELS["height"]] -= 0.02 * np.abs(swing)
    for sign, hand, foot in ((1, "left_hand", "left_foot"), (-1, "right_hand", "right_foot")):
        poses[:, CHANNELS[hand].stop - 1] -= 0.35 * sign * swing
        poses[:, CHANNELS[foot].stop - 1] = way * 1.05 + 0.3 * sign * swing
        poses[:, CHANNELS[foot].stop - 2] = 0.12 * moving * np.maximum(0, sign * np.cos(phase))
    return poses


@dataclass(frozen=True)
class Action:
    """A motion, forwards or backwards in time, as it is or with left and right exchanged, of one or two people."""

    name: str
    motion: Motion
    frames: float  # of the motion, at 30 frames a second, of a person of average tempo
    backwards: bool = False
    mirror: bool = False
    handed: bool = True  # left-handed people do it with the other hand
    people: int = 1


_ALL = (
    Action("sit down", sit_down, 28),
    Action("stand up", sit_down, 28, backwards=True),
    Action("pick up", pick_up, 34),
    Action("put down", pick_up, 34, backwards=True),
    Action("put on a jacket", put_on, 46),
    Action("take off a jacket", put_on, 46, backwards=True),
    Action("raise the left hand, then the right", raise_left_then_right, 40, handed=False),
    Action("raise the right hand, then the left", raise_left_then_right, 40, mirror=True, handed=False),
    Action("wind with one hand", wind, 42),
    Action("wind back with one hand", wind, 42, backwards=True),
    Action("walk towards each other", walk, 36, people=2),
    Action("walk backwards from each other", walk, 36, backwards=True, people=2),
)
BY_NUMBER = {number: action for number, action in enumerate(_ALL, start=1)}
ACTIONS = tuple(action.name for action in _ALL)
