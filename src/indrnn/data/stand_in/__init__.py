"""Stand-in recordings for NTU RGB+D, made up on the spot and written as true ``.skeleton`` text."""

from indrnn.data.stand_in.actions import ACTIONS
from indrnn.data.stand_in.recordings import Recordings

__all__ = ["ACTIONS", "Recordings"]
