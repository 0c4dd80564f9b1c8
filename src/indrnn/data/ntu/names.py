"""What the names of NTU RGB+D's files say, and the protocols of its evaluation (Shahroudy et al., CVPR 2016)."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from indrnn.errors import UserError

PATTERN = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
SETUPS, CAMERAS, PERFORMERS, REPLICATIONS, ACTIONS = 17, 3, 40, 2, 60  # of NTU RGB+D; 120 goes on from there
PROTOCOLS = ("cs", "cv")
CS_TRAINING = frozenset([1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38])
CV_TRAINING = frozenset([2, 3])
RECORDINGS = 56_880
COUNTS = {"cs": (40_091, 16_487), "cv": (37_646, 18_932)}  # training and test, without those that miss their skeletons


@dataclass(frozen=True)
class Name:
    """``SsssCcccPpppRrrrAaaa``: setup, camera, performer, replication, action, each from 1."""

    setup: int
    camera: int
    performer: int
    replication: int
    action: int

    @classmethod
    def of(cls, text: str) -> "Name":
        """Read a name without its folder and ending.

        Raises:
            UserError: it is no such name.
        """
        found = PATTERN.fullmatch(text)
        if not found or 0 in (values := [int(digits) for digits in found.groups()]) or values[1] > CAMERAS:
            raise UserError(f"{text!r} is no name of a recording, which is like S001C002P003R002A013.")
        return cls(*values)

    def __str__(self) -> str:
        return "S{:03}C{:03}P{:03}R{:03}A{:03}".format(*vars(self).values())

    @property
    def of_60(self) -> bool:
        """Whether it belongs to NTU RGB+D, and not to the 60 more actions and 15 more setups of NTU RGB+D 120."""
        return self.setup <= SETUPS and self.performer <= PERFORMERS and self.action <= ACTIONS

    def trains(self, protocol: str) -> bool:
        """Whether it is a training recording: cross-subject (cs) by performer, cross-view (cv) by camera."""
        return self.performer in CS_TRAINING if protocol == "cs" else self.camera in CV_TRAINING


@cache
def missing_skeletons() -> frozenset[str]:
    """The 302 recordings whose skeletons are missing or incomplete, as the data set's authors list them."""
    return frozenset(Path(__file__).with_name("missing.txt").read_text(encoding="utf-8").split())
