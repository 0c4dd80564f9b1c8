"""The body of a performer: 25 Kinect v2 joints on bones that keep their length. Shapes: F frames, 25 joints.

Axes of a person and of the room, right-handed: x to the person's left, y up, z forward.
"""

from dataclasses import dataclass

import numpy as np

# A pose is a vector of these channels. Angles in radians; x, height and z of the pelvis in units of its height when
# standing; a hand relative to its shoulder, in the axes of the chest, in arm lengths; a foot relative to where it
# stands, in leg lengths.
CHANNELS = {
    "turn": 0,
    "lean": 1,
    "side": 2,
    "twist": 3,
    "nod": 4,
    "x": 5,
    "height": 6,
    "z": 7,
    "left_hand": slice(8, 11),
    "right_hand": slice(11, 14),
    "left_foot": slice(14, 17),
    "right_foot": slice(17, 20),
}
STANDING = np.zeros(20)
STANDING[CHANNELS["height"]] = 0.985
STANDING[CHANNELS["left_hand"]] = (0.1, -0.96, 0.1)
STANDING[CHANNELS["right_hand"]] = (-0.1, -0.96, 0.1)

_SWAP = np.array([0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 8, 9, 10, 17, 18, 19, 14, 15, 16])
_SIGN = np.ones(20)
_SIGN[[0, 2, 3, 5, 8, 11, 14, 17]] = -1


@dataclass(frozen=True)
class Body:
    """Proportions of one person.

    Args:
        height: in metres, from the floor to the crown.
        arms, legs, trunk, width: of this person over those of the average person of that height.
    """

    height: float
    arms: float = 1.0
    legs: float = 1.0
    trunk: float = 1.0
    width: float = 1.0


def mirrored(poses: np.ndarray) -> np.ndarray:
    """Poses (..., 20) -> the same with left and right exchanged."""
    return poses[..., _SWAP] * _SIGN


def rotation(turn: np.ndarray, lean: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Matrices (F, 3, 3) that bend to the side, then forward, then turn to the left; angles (F,) in radians."""
    (ct, cl, cs), (st, sl, ss) = np.cos([turn, lean, side]), np.sin([turn, lean, side])
    rows = [
        [ct * cs + st * sl * ss, -ct * ss + st * sl * cs, st * cl],
        [cl * ss, cl * cs, -sl],
        [-st * cs + ct * sl * ss, st * ss + ct * sl * cs, ct * cl],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def two_bones(start: np.ndarray, target: np.ndarray, upper: float, lower: float, pole: np.ndarray):
    """Middle and end (F, 3) of a limb from ``start`` towards ``target``, bent towards ``pole`` (F, 3).

    The law of cosines gives the angle at the start; a target out of reach is approached with a straight limb.
    """
    way = target - start
    far = np.maximum(np.sqrt((way * way).sum(1, keepdims=True)), 1e-9)
    along = way / far
    far = np.clip(far, abs(upper - lower) * 1.05 + 1e-3, (upper + lower) * 0.999)
    across = pole - (pole * along).sum(1, keepdims=True) * along
    across /= np.maximum(np.sqrt((across * across).sum(1, keepdims=True)), 1e-9)
    cosine = (upper * upper + far * far - lower * lower) / (2 * upper * far)
    middle = start + upper * (cosine * along + np.sqrt(1 - cosine * cosine) * across)
    return middle, start + far * along


def joints(body: Body, poses: np.ndarray) -> np.ndarray:
    """Places of the joints (F, 25, 3), in metres, of the poses (F, 20): feet near (0, 0, 0), floor at y = 0.

    The trunk is a chain of rotations; each limb is two bones that reach for its hand or foot. Bone lengths are those
    of ``body`` in every frame. Fractions of the height follow tables of human proportions, rounded.
    """
    size = body.height
    trunk, leg, arm = size * body.trunk, size * body.legs, size * body.arms
    turn, lean, side, twist, nod = poses[:, :5].T
    heading = rotation(turn, 0 * lean, 0 * side)
    pelvis = rotation(turn, 0.35 * lean, 0.5 * side)
    waist = rotation(turn + 0.5 * twist, 0.7 * lean, side)
    chest = rotation(turn + twist, lean, side)
    head = rotation(turn + twist, lean + nod, side)
    p = np.empty((len(poses), 25, 3))
    p[:, 0] = poses[:, 5:8] * (0.02 * size + 0.48 * leg)
    p[:, 1] = p[:, 0] + 0.17 * trunk * waist[:, :, 1]
    p[:, 20] = p[:, 1] + 0.125 * trunk * chest[:, :, 1]
    p[:, 2] = p[:, 20] + 0.045 * trunk * chest[:, :, 1]
    p[:, 3] = p[:, 2] + 0.1 * size * head[:, :, 1]
    for sign, shoulder, hip, tip, hand, foot in ((1, 4, 12, 21, 8, 14), (-1, 8, 16, 23, 11, 17)):
        wide = size * body.width * sign
        p[:, shoulder] = p[:, 20] + chest @ (0.105 * wide, -0.02 * size, 0.0)
        target = p[:, shoulder] + 0.31 * arm * (chest @ poses[:, hand : hand + 3, None])[:, :, 0]
        pole = chest @ (0.5 * sign, -0.7, -0.5)
        elbow, wrist = two_bones(p[:, shoulder], target, 0.165 * arm, 0.145 * arm, pole)
        along = (wrist - elbow) / (0.145 * arm)
        p[:, shoulder + 1], p[:, shoulder + 2] = elbow, wrist
        p[:, shoulder + 3] = wrist + 0.045 * arm * along
        p[:, tip] = wrist + 0.09 * arm * along
        p[:, tip + 1] = p[:, shoulder + 3] + 0.035 * arm * (chest @ (-0.6 * sign, 0.0, 0.8))

        p[:, hip] = p[:, 0] + pelvis @ (0.05 * wide, -0.02 * size, 0.0)
        stands = np.array([0.055 * wide, 0.03 * size, 0.0])
        target = stands + 0.46 * leg * poses[:, foot : foot + 3]
        knee, ankle = two_bones(p[:, hip], target, 0.24 * leg, 0.22 * leg, pelvis @ (0.15 * sign, 0.0, 1.0))
        p[:, hip + 1], p[:, hip + 2] = knee, ankle
        p[:, hip + 3] = ankle + heading @ (0.01 * wide, -0.02 * size, 0.06 * size)
    return p
