"""What P19 adds to coordinates. Shapes: 25 joints, 3 coordinates, any dimensions before them.

Distances from joints to lines (Zhang, Liu, Xiao, WACV 2017): lines through two joints that are neighbours; through an
end of the body and the joint two steps before it; through two ends. For Kinect's 25 joints these are 24 + 5 + 10 = 39.
"""

import itertools

import numpy as np
import torch
from torch import Tensor

from indrnn.data.ntu.kinect import PARENTS
from indrnn.data.ntu.skeleton import JOINTS

# From head and hands the lines skip two joints, from the ankles one, as in the authors' code. There, the left shoulder
# stands for the left hand in the four lines between that and the other ends; here it is the hand.
LIMBS = ((3, 1), (7, 4), (11, 8), (14, 12), (18, 16))  # head, left hand, right hand, left ankle, right ankle
BONES = tuple((joint, parent) for joint, parent in enumerate(PARENTS) if parent >= 0)
LINES = (*BONES, *LIMBS, *itertools.combinations((end for end, _ in LIMBS), 2))
DISTANCES = len(LINES) * (JOINTS - 2)  # 897


def joint_line_distances(x: Tensor) -> Tensor:
    """(..., 25, 3) metres -> (..., 897) distances of every other joint from each of the 39 lines, metres.

    abs((x_j - x_a) × (x_b - x_a)) / abs(x_b - x_a); 0 where the two joints of a line are in one place, as all are of a
    body that is not there. The authors round them to float16: a mean error of 4 mm, 0.56 m at most.
    """
    found = []
    for a, b in LINES:  # one by one: all of a batch at once would take gigabytes
        start, along = x[..., a : a + 1, :], x[..., b : b + 1, :] - x[..., a : a + 1, :]
        area = torch.linalg.cross(x - start, along.expand_as(x)).norm(dim=-1)
        base = along.norm(dim=-1)
        distances = torch.where(base > 0, area / base, 0.0)
        # Cut out, not picked by an index: that would come from the host, which no CUDA graph waits for.
        first, second = sorted((a, b))
        found += [distances[..., :first], distances[..., first + 1 : second], distances[..., second + 1 :]]
    return torch.cat(found, dim=-1)


def with_distances(x: Tensor) -> Tensor:
    """(..., n bodies x 25 x 3) coordinates -> (..., n (897 + 75)), the distances of all bodies first."""
    bodies = x.unflatten(-1, (-1, JOINTS, 3))
    return torch.cat([joint_line_distances(bodies).flatten(-2), x], dim=-1)


def turns(angles: np.ndarray) -> Tensor:
    """Cosines and sines (n, 2) of ``angles`` (n,), radians, in float64; numpy's, wherever they are used."""
    return torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)], axis=1))


def rotated(x: Tensor, turn: Tensor) -> Tensor:
    """x (n, ..., 3) turned about the camera's vertical axis by ``turns``; zeros stay zeros.

    In float64, product by product and sum by sum: every device rounds that alike, and so the same numbers come out.
    """
    cos, sin = (t.view(-1, *[1] * (x.dim() - 2)) for t in turn.unbind(1))
    side, up, depth = x.unbind(-1)
    return torch.stack([cos * side + sin * depth, up, cos * depth - sin * side], dim=-1).to(x.dtype)
