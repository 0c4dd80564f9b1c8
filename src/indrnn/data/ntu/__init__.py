"""NTU RGB+D (Shahroudy et al., CVPR 2016): 25 joints of people, tracked by Kinect, who do one of 60 things."""

from indrnn.data.ntu.bodies import to_sequence
from indrnn.data.ntu.skeleton import read_skeleton

__all__ = ["read_skeleton", "to_sequence"]
