"""Made-up ``.skeleton`` files and the bodies in them, without a line of the package's code. Shapes: F frames.

A body is (F, 25, 3) float32 in metres, NaN in frames where it is not tracked.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

HEADER = "0 0 0 0 0 0 0.1 -0.2 2"  # of a body, after its id
REST = "261.5 146.25 960.5 540.75 0.1 0.2 0.3 0.9 2"  # of a joint, after x y z
ROWS = 27  # lines that a body fills


def body(F: int, x: float = 0.0, seed: int = 0, sway: float = 0.5, width: float = 0.5, height: float = 1.7):
    """Someone at ``x`` who walks up and down by ``sway`` metres; joints at random within width and height."""
    rng = np.random.default_rng([seed, F])
    joints = rng.uniform(-0.5, 0.5, (25, 3)) * [width, height, 0.3]
    joints[:4, :2] = [[-width / 2, 0], [width / 2, 0], [0, -height / 2], [0, height / 2]]
    walk = sway * np.sin(np.linspace(0, 6, F)[:, None] + seed)
    return (joints + [x, 0, 3] + walk[..., None] * [0, 0, 1]).astype(np.float32)


def ghost(F: int, x: float = 2.0, seed: int = 9) -> np.ndarray:
    """A sofa that Kinect takes for a body: it stands still and is wider than high."""
    return body(F, x, seed, sway=0.001, width=1.5, height=0.8)


def only(track: np.ndarray, frames: Iterable[int]) -> np.ndarray:
    """The same body, tracked in these frames alone."""
    found = np.full_like(track, np.nan)
    found[list(frames)] = track[list(frames)]
    return found


def text(bodies: dict[int, np.ndarray], F: int | None = None, newline: str = "\n", end: bool = True) -> bytes:
    """A file of F frames; without ``end``, the last line has no newline."""
    F = len(next(iter(bodies.values()))) if F is None else F
    lines = [str(F)]
    for frame in range(F):
        there = [(number, track[frame]) for number, track in bodies.items() if not np.isnan(track[frame, 0, 0])]
        lines.append(str(len(there)))
        for number, joints in there:
            lines += [f"{number} {HEADER}", "25"]
            lines += [" ".join(f"{value:.9g}" for value in joint.tolist()) + f" {REST}" for joint in joints]
    return (newline.join(lines) + (newline if end else "")).encode()


def folder(place: Path, names: Iterable[str], F: int = 3, **contents: bytes) -> Path:
    """A folder with a small file of one body for every name, or with what ``contents`` has for it."""
    place.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        (place / f"{name}.skeleton").write_bytes(contents.get(name) or text({7: body(F + i % 3, seed=i)}))
    return place


def names(setups=(1,), cameras=(1, 2, 3), performers=(1, 2, 3), replications=(1,), actions=(1, 2)) -> list[str]:
    """Names of recordings, sorted."""
    numbers = (
        (s, c, p, r, a) for s in setups for c in cameras for p in performers for r in replications for a in actions
    )
    return sorted("S{:03}C{:03}P{:03}R{:03}A{:03}".format(*each) for each in numbers)
