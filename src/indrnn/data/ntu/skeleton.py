"""The text format of NTU RGB+D's recordings. Shapes: F frames, 25 joints, 3 coordinates.

A file holds the frame count; for each frame the body count; for each body 10 values (its id first), the joint count and
a line of 12 numbers a joint, x y z in metres first (camera coordinates: x right, y up, z away from the camera). The
format follows the data set's own Matlab reader and the files themselves.
"""

import contextlib
import itertools
from pathlib import Path
from typing import NoReturn

import numpy as np

from indrnn import files
from indrnn.errors import UserError

JOINTS = 25
BODY_VALUES, JOINT_VALUES = 10, 12
FAR = 1e3  # metres; Kinect sees eight
MOST_BYTES = 1 << 24  # of a file; the longest have a fifth of it
MOST = 1_000_000  # bodies x frames, 300 bytes each; recordings have a thousand


class Refused(UserError):
    """A recording that is not what its format says; the message names file, line and reason."""


def read_skeleton(path: str | Path) -> dict[int, np.ndarray]:
    """Read one ``.skeleton`` file, with LF or CRLF.

    Returns:
        body id -> (F, 25, 3) float32, metres, NaN in frames where that body is not tracked; in the order of their
        first frame. Empty where no frame has a body.

    Raises:
        Refused: the file is not as the format says, or a coordinate is NaN, infinite or far beyond what Kinect sees.
        UserError: it is no regular file, or larger than any recording.
        OSError: it cannot be read.
    """
    return parse(files.content(Path(path), MOST_BYTES), str(path))


def parse(content: bytes, name: str) -> dict[int, np.ndarray]:
    """``read_skeleton`` for the bytes of a file that is called ``name`` in messages."""
    lines = _Lines(content, name)
    frames = lines.count("the frame count")
    seen: dict[int, dict[int, tuple[int, list[float]]]] = {}  # body: frame: (line before the joints, their numbers)
    for frame in range(frames):
        where = f"frame {frame + 1} of {frames}"
        for _ in range(lines.count(f"the body count of {where}")):
            tracked = seen.setdefault(body := lines.body(where), {})
            if frame in tracked:
                lines.refuse(f"body {body} stands twice in {where}")
            tracked[frame] = lines.number, lines.joints()
    lines.end(frames)
    if len(seen) * frames > MOST:
        lines.refuse(f"{len(seen):,} bodies in {frames:,} frames are no recording")
    bodies = {}
    for body, tracked in seen.items():
        starts, numbers = zip(*tracked.values(), strict=True)
        joints = np.array(numbers).reshape(-1, JOINTS, JOINT_VALUES)[:, :, :3]
        far = np.argwhere(~(np.abs(joints).max(-1) < FAR))  # also where one is NaN
        if len(far):
            number = starts[far[0, 0]] + far[0, 1] + 1
            x_y_z = b" ".join(lines.lines[number - 1].split()[:3])
            lines.refuse(f"x y z are no metres: {shown(x_y_z)}", number)
        bodies[body] = np.full((frames, JOINTS, 3), np.nan, np.float32)
        bodies[body][list(tracked)] = joints
    return bodies


class _Lines:
    """The lines of a file, one after another; ``number`` is that of the last one read."""

    def __init__(self, content: bytes, name: str):
        self.lines, self.name, self.number = content.split(b"\n"), name, 0
        while self.lines and not self.lines[-1].strip():  # the newline at the end, or none
            self.lines.pop()
        if not self.lines:
            self.refuse("the file is empty")
        self.plain = b"_" not in content  # float reads 1_0 as 10

    def refuse(self, reason: str, number: int = 0) -> NoReturn:
        raise Refused(f"{self.name}, line {number or max(self.number, 1)}: {reason}.")

    def next(self, what: str) -> bytes:
        if self.number == len(self.lines):
            self.refuse(f"the file ends where {what} should follow")
        self.number += 1
        return self.lines[self.number - 1]

    def count(self, what: str) -> int:
        return self.whole(self.next(what).strip(), what)

    def whole(self, text: bytes, what: str) -> int:
        if not text.isdigit() or len(text) > 20:
            self.refuse(f"{what} should be a whole number, not {shown(text)}")
        return int(text)

    def body(self, where: str) -> int:
        """The id of the body whose joints follow."""
        values = self.next(f"a body of {where}").split()
        if len(values) != BODY_VALUES:
            self.refuse(f"a body has {BODY_VALUES} values, not {len(values)}")
        self.numbers(values)
        body = self.whole(values[0], "a body's id")
        if (joints := self.count("the joint count")) != JOINTS:
            self.refuse(f"a body has {JOINTS} joints, not {joints}")
        return body

    def joints(self) -> list[float]:
        """The 12 numbers of each of the 25 joints, one after another."""
        rows = [line.split() for line in self.lines[self.number : self.number + JOINTS]]
        if self.plain and len(rows) == JOINTS and set(map(len, rows)) == {JOINT_VALUES}:
            with contextlib.suppress(ValueError):
                found = list(map(float, itertools.chain.from_iterable(rows)))
                self.number += JOINTS
                return found
        for joint in range(JOINTS):  # line by line, to say which one is wrong, if any is
            values = self.next(f"joint {joint + 1} of {JOINTS}").split()
            if len(values) != JOINT_VALUES:
                self.refuse(f"a joint has {JOINT_VALUES} numbers, not {len(values)}")
            self.numbers(values)
        return list(map(float, itertools.chain.from_iterable(rows)))

    def numbers(self, values: list[bytes]) -> None:
        for wrong in (value for value in values if not _is_number(value)):
            self.refuse(f"{shown(wrong)} stands where a number should be")

    def end(self, frames: int) -> None:
        if self.number < len(self.lines):
            self.number += 1
            self.refuse(f"the file goes on after its {frames} frames")


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return b"_" not in text


def shown(text: bytes) -> str:
    """A piece of a file for a message, not longer than it should be."""
    return repr(text[:40].decode("ascii", "replace"))
