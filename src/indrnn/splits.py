"""The splits of a data set, by their numbers."""

TRAIN, VAL, TEST = 0, 1, 2
