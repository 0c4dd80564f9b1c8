"""From the tracked bodies of a recording to one array. Shapes: F frames, 25 joints, 3 coordinates.

Neither paper says which bodies it takes. The three steps here are our choice; the data set's authors recommend the
second half of the third (two slots, ranked by motion), and each can be switched off:

1. link: Kinect gives a body that it lost a new id. A body that appears where another one was last seen, after that
   one's last frame, is the same body.
2. ghosts: furniture is now and then tracked as a body. It is as wide as it is high, and barely moves or, where it
   jitters, is smaller than any person.
3. motion: of more than two bodies the two that move most are kept, the one that moves more first; what is smaller than
   any person comes after those who are not. A body keeps its slot for the whole recording.

Size is the variance of all points, joints of all frames, by which SGN ranks bodies. Turning does not change it (who
lies is as large as who stands) and jitter adds little. People are ranked by their motion about the joints' means: by
size, someone tall who stands comes before someone short who acts.
"""

import numpy as np

from indrnn.data.ntu.skeleton import JOINTS

SLOTS = 2
STEPS = ("link", "ghosts", "motion")
REACH = 0.5  # metres between the centre of a body that was lost and that of its continuation
BODIES_BY = "size"  # and motion; a store says it, one that does not was made when motion alone decided
STILL = 0.1  # metres: a ghost's joints stay this near to their means
# Square metres: what is smaller is no person. A sofa in S001C001P003R002A005 has 0.053 (it jitters by 0.107 m), the
# person there 0.173; SGN takes less than 0.0899 for noise.
SMALL = 0.09
WIDE = 0.8  # width by height, from which on a body may be a ghost; a standing person has about 0.3, a sitting one 0.6


def to_sequence(
    bodies: dict[int, np.ndarray], link: bool = True, ghosts: bool = True, motion: bool = True
) -> np.ndarray:
    """At most two bodies as (F, 2, 25, 3) float32, zeros where there is none.

    Args:
        bodies: as ``read_skeleton`` gives them.
        link: join the pieces of a body whose id changes.
        ghosts: drop what is tracked but is no person; the last body left is never dropped.
        motion: rank by ``amount``; otherwise the first two that appear are taken, in this order.
    """
    tracks = list(bodies.values())
    if not tracks:
        return np.zeros((0, SLOTS, JOINTS, 3), np.float32)
    if link:
        tracks = linked(tracks)
    if ghosts:
        tracks = [track for track in tracks if not is_ghost(track)] or [max(tracks, key=amount)]
    if motion:
        tracks = sorted(tracks, key=amount, reverse=True)
    sequence = np.zeros((len(tracks[0]), SLOTS, JOINTS, 3), np.float32)
    for slot, track in enumerate(tracks[:SLOTS]):
        sequence[:, slot] = np.nan_to_num(track)
    return sequence


def frames_of(track: np.ndarray) -> np.ndarray:
    """The numbers of the frames in which a body (F, 25, 3) is tracked."""
    return np.flatnonzero(~np.isnan(track[:, 0, 0]))


def linked(tracks: list[np.ndarray]) -> list[np.ndarray]:
    """Bodies (F, 25, 3) with the pieces of one body joined; in the order of their first frames."""
    whole: list[np.ndarray] = []
    for track in sorted(tracks, key=lambda track: frames_of(track)[0]):
        first = frames_of(track)[0]
        ended = [i for i, other in enumerate(whole) if frames_of(other)[-1] < first]
        gaps = [np.linalg.norm(track[first].mean(0) - whole[i][frames_of(whole[i])[-1]].mean(0)) for i in ended]
        if gaps and min(gaps) <= REACH:
            before = ended[int(np.argmin(gaps))]
            whole[before] = np.where(np.isnan(track), whole[before], track)
        else:
            whole.append(track)
    return whole


def spread(track: np.ndarray) -> float:
    """How far the joints of a body are from their means over time, root mean square in metres."""
    return float(np.sqrt(np.nanvar(track, axis=0, dtype=np.float64).sum(-1).mean()))


def is_small(track: np.ndarray) -> bool:
    """Whether the variance of all points, joints of all frames, is below that of any person."""
    points = track[frames_of(track)].reshape(-1, 3)
    return float(points.var(axis=0, dtype=np.float64).sum()) < SMALL


def amount(track: np.ndarray) -> tuple[bool, float]:
    """By what bodies are ranked: their size, if that of a person; their spread times the share of frames tracked."""
    return not is_small(track), spread(track) * len(frames_of(track)) / len(track)


def is_ghost(track: np.ndarray) -> bool:
    """Whether a body is as wide as it is high (median over frames), and barely moves or is small."""
    there = track[frames_of(track)]
    width, height, _ = np.moveaxis(there.max(1) - there.min(1), -1, 0)
    return float(np.median(width)) >= WIDE * float(np.median(height)) and (spread(track) < STILL or is_small(track))
