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
    times[1:-1] += rng.uniform(-0.09, 0.09, len(times) - 2)
    keys = np.array(poses)
    keys[:, 1:5] += rng.normal(0, 0.06, (len(keys), 4))
    keys[:, 5:8] += rng.normal(0, 0.01, (len(keys), 3))
    keys[:, 8:14] += rng.normal(0, 0.07, (len(keys), 6))
    after = np.clip(np.searchsorted(times, progress, side="right"), 1, len(times) - 1)
    s = (progress - times[after - 1]) / (times[after] - times[after - 1])
    return keys[after - 1] + ease(s)[:, None] * (keys[after] - keys[after - 1])


BENT = pose({"lean": 0.6, "height": 0.82, "z": -0.25, "left_hand": (0, -0.7, 0.6), "right_hand": (0, -0.7, 0.6)})
SITTING = pose({"lean": 0.1, "height": 0.58, "z": -0.45, "left_hand": (0, -0.6, 0.45), "right_hand": (0, -0.6, 0.45)})
REACHING = pose({"lean": 1.0, "height": 0.72, "z": -0.2, "left_hand": (0, -0.5, 0.5), "right_hand": (0.05, -0.5, 0.85)})
HOLDING = pose({"lean": 0.05, "right_hand": (0.2, -0.5, 0.5)})
FIRST_SLEEVE = pose({"twist": -0.4, "right_hand": (-0.75, -0.35, -0.25), "left_hand": (-0.6, -0.15, 0.45)})
SECOND_SLEEVE = pose({"twist": 0.4, "left_hand": (0.75, -0.35, -0.25), "right_hand": (0.6, -0.15, 0.45)})
CLOSING = pose({"nod": 0.3, "left_hand": (-0.3, -0.6, 0.45), "right_hand": (0.3, -0.6, 0.45)})


def sit_down(rng: np.random.Generator, progress: np.ndarray) -> np.ndarray:
    return keyed(rng, progress, [0, 0.5, 1], [STANDING, BENT, SITTING])


def pick_up(rng: np.random.Generator, progress: np.ndarray) -> np.ndarray:
    """The thing that was picked up stays in the hand, in front of the body or nearly hanging."""
    holding = STANDING + rng.uniform(0.4, 1) * (HOLDING - STANDING)
    return keyed(rng, progress, [0, 0.5, 1], [STANDING, REACHING, holding])


def put_on(rng: np.random.Generator, progress: np.ndarray) -> np.ndarray:
    """A jacket: one sleeve, the other sleeve, closing it in front."""
    return keyed(rng, progress, [0, 0.25, 0.5, 0.75, 1], [STANDING, FIRST_SLEEVE, SECOND_SLEEVE, CLOSING, STANDING])


def raise_left_then_right(rng: np.random.Generator, progress: np.ndarray) -> np.ndarray:
    """Each to somewhere between the chest and above the head; the second may start before the first is down."""
    left, right = rng.uniform((-0.2, -0.1, 0.1), (0.5, 0.85, 0.6), (2, 3)) * [(1, 1, 1), (-1, 1, 1)]
    between = pose({})
    between[8:14] += rng.uniform(0, 0.4, (2, 1)).repeat(3) * (np.concatenate([left, right]) - between[8:14])
    poses = [STANDING, pose({"left_hand": left}), between, pose({"right_hand": right}), STANDING]
    return keyed(rng, progress, [0, 0.25, 0.5, 0.75, 1], poses)


def circle_arms(rng: np.random.Generator, progress: np.ndarray) -> np.ndarray:
    """Both arms go round their shoulders once or twice, forward and up first, from about the lowest point to there."""
    poses = np.tile(pose({"lean": rng.normal(0.05, 0.04)}), (len(progress), 1))
    weight = (ease(progress / 0.15) * ease((1 - progress) / 0.15))[:, None]
    turns = int(rng.integers(1, 3))
    for sign, hand in ((1, CHANNELS["left_hand"]), (-1, CHANNELS["right_hand"])):
        angle = 2 * np.pi * (turns + rng.uniform(-0.12, 0.12)) * (progress - 0.5) + np.pi * turns
        radius = rng.uniform(0.4, 0.7)
        circle = np.stack([0 * angle + sign * rng.uniform(0, 0.3), -radius * np.cos(angle), radius * np.sin(angle)], 1)
        poses[:, hand] += weight * (circle + (0, 0, 0.15) - poses[:, hand])
    return poses


def walk(rng: np.random.Generator, progress: np.ndarray) -> np.ndarray:
    """Some steps forward of about half a metre each."""
    poses = np.tile(STANDING, (len(progress), 1))
    poses[:, CHANNELS["lean"]] = rng.normal(0.05, 0.03)
    way = rng.uniform(0.35, 0.65) * ease(progress)
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
    Action("sit down", sit_down, 26),
    Action("stand up", sit_down, 26, backwards=True),
    Action("pick up", pick_up, 31),
    Action("put down", pick_up, 31, backwards=True),
    Action("put on a jacket", put_on, 42),
    Action("take off a jacket", put_on, 42, backwards=True),
    Action("raise the left hand, then the right", raise_left_then_right, 36, handed=False),
    Action("raise the right hand, then the left", raise_left_then_right, 36, mirror=True, handed=False),
    Action("circle the arms forwards", circle_arms, 40),
    Action("circle the arms backwards", circle_arms, 40, backwards=True),
    Action("walk towards each other", walk, 31, people=2),
    Action("walk backwards from each other", walk, 31, backwards=True, people=2),
)
BY_NUMBER = {number: action for number, action in enumerate(_ALL, start=1)}
ACTIONS = tuple(action.name for action in _ALL)
