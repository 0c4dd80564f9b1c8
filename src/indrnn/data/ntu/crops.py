"""Which frames of a recording a network sees, as in ST-LSTM and both papers. Shapes: n recordings, T time steps."""

import numpy as np

SHIFT = 0.25  # of T: a recording that is not longer than T starts within this share of it


def frame_numbers(lengths: np.ndarray, T: int, draws: np.ndarray) -> np.ndarray:
    """Numbers (n, T) of the frames that are taken, -1 where a step stays empty.

    From 2 T frames on, T equal segments (the last one takes the rest) with one frame of each. Between T and 2 T, T
    frames in a row. Up to T, all frames in a row from a step below max(T - length, T / 4) on; what does not fit is cut
    off at either end. The authors' code never takes the last row of the second kind, nor the last piece of the third
    where something is cut off (with T = 20, of recordings of 21 to 39 and of 17 to 20 frames); this does.

    Args:
        lengths: (n,), frames of each recording, at least 1.
        draws: (n, T + 2) in [0, 1): where in its segment the frame of each step lies; where a row of frames starts;
            what is cut off. Random in training; for a fixed crop k of K all are (k + 1/2) / K.
    """
    length, step = lengths[:, None], np.arange(T)
    within, row, cut = draws[:, :T], draws[:, T : T + 1], draws[:, T + 1 :]
    size = length // T
    segments = step * size + np.floor(within * np.where(step == T - 1, length - size * (T - 1), size))
    window = step + np.floor(row * (length - T + 1))
    start = np.floor(row * np.maximum(T - length, max(1, int(SHIFT * T))))
    place = step - start
    short = place + np.floor(cut * (np.maximum(start + length - T, 0) + 1))
    short = np.where((place >= 0) & (place < length), short, -1)
    return np.where(length >= 2 * T, segments, np.where(length > T, window, short)).astype(np.int64)


def fixed_draws(T: int, K: int) -> np.ndarray:
    """``draws`` (K, T + 2) of K crops at evenly spaced places."""
    return np.broadcast_to((np.arange(K)[:, None] + 0.5) / K, (K, T + 2))
