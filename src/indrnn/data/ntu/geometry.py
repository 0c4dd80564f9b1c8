"""What P19 adds to coordinates. Shapes: 25 joints, 3 coordinates, any dimensions before them.

Distances from joints to lines (Zhang, Liu, Xiao, WACV 2017): lines through two joints that are neighbours; through an
end of the body and the joint two steps before it; through two ends. For Kinect's 25 joints these are 24 + 5 + 10 = 39.
"""

import itertools

import numpy as np

from indrnn.data.ntu.kinect import PARENTS
from indrnn.data.ntu.skeleton import JOINTS

# From head and hands the lines skip two joints, from the ankles one, as in the authors' code. There, the left shoulder
# stands for the left hand in the four lines between that and the other ends; here it is the hand.
LIMBS = ((3, 1), (7, 4), (11, 8), (14, 12), (18, 16))  # head, left hand, right hand, left ankle, right ankle
BONES = tuple((joint, parent) for joint, parent in enumerate(PARENTS) if parent >= 0)
LINES = (*BONES, *LIMBS, *itertools.combinations((end for end, _ in LIMBS), 2))
DISTANCES = len(LINES) * (JOINTS - 2)  # 897
_TRIPLES = np.array([(j, a, b) for a, b in LINES for j in range(JOINTS) if j not in (a, b)])


def joint_line_distances(x: np.ndarray) -> np.ndarray:
    """(..., 25, 3) metres -> (..., 897) distances of every other joint from each of the 39 lines, metres.

    abs((x_j - x_a) × (x_b - x_a)) / abs(x_b - x_a); 0 where the two joints of a line are in one place, as all are of a
    body that is not there.
    """
    joint, a, b = (x[..., place, :] for place in _TRIPLES.T)
    along = b - a
    area, base = (np.linalg.norm(v, axis=-1) for v in (np.cross(joint - a, along), along))
    return np.divide(area, base, out=np.zeros_like(area), where=base > 0)


def rotated(x: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """x (n, ..., 3) turned about the camera's vertical axis by ``angles`` (n,), radians; zeros stay zeros."""
    cos, sin, zero, one = np.cos(angles), np.sin(angles), np.zeros_like(angles), np.ones_like(angles)
    matrix = np.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], axis=-1).reshape(-1, 3, 3)
    return np.einsum("n...j,nij->n...i", x, matrix).astype(x.dtype)
