"""The numbers of the adding problem, P18 Section 5.1, without torch, for tables too. Shapes: T time, B batch."""

import numpy as np

SOLVED = 0.01  # squared units: an mse below it counts as the problem solved; chance has 1/6
FIXED = 3  # separates the fixed splits' random numbers from those of the training batches


def numbers(rng: np.random.Generator, batch_size: int, seq_len: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A value from U(0, 1) a step, and two marked steps, one in each half; the target is the sum of their values.

    Returns:
        values (B, T), marked steps (B, 2), targets (B, 1).
    """
    values = rng.random((batch_size, seq_len), dtype=np.float32)
    first = rng.integers(0, seq_len // 2, batch_size)
    second = rng.integers(seq_len // 2, seq_len, batch_size)
    rows = np.arange(batch_size)
    return values, np.stack([first, second], axis=1), (values[rows, first] + values[rows, second])[:, None]


def fixed(split: int, seq_len: int) -> np.random.Generator:
    """What a fixed split is drawn from, the same for every run of one length."""
    return np.random.default_rng([FIXED + split, seq_len])


def chance(split: int, seq_len: int, count: int) -> float:
    """The mse of the best constant answer, the mean, on a fixed split: the variance of its targets, on average 1/6.

    Args:
        split: VAL or TEST.
        seq_len: T, time steps.
        count: examples of the split.
    """
    _, _, targets = numbers(fixed(split, seq_len), count, seq_len)
    return float(targets.var(dtype=np.float64))
