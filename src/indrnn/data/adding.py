"""The adding problem, P18 Section 5.1. Shapes: T time, B batch."""

import numpy as np
from torch import Tensor

from indrnn.adding_numbers import fixed, numbers
from indrnn.data import TEST, TRAIN, VAL, Data, as_float
from indrnn.errors import UserError, positive


def adding_batch(rng: np.random.Generator, batch_size: int, seq_len: int) -> tuple[Tensor, Tensor]:
    """Sequences of two numbers a step: a value from U(0, 1) and a mark; the target is the sum of the marked values.

    One mark lies in each half of the sequence. Who answers 1, the mean, has an mse of 1/6 in expectation.

    Returns:
        x (B, T, 2), y (B, 1).
    """
    values, marked, targets = numbers(rng, batch_size, seq_len)
    marks = np.zeros_like(values)
    np.put_along_axis(marks, marked, 1, axis=1)
    return as_float(np.stack([values, marks], axis=2)), as_float(targets)


class Adding(Data):
    """Fresh sequences for every update; validation and test are the same for every run of one length."""

    sizes = (2, 1)

    def __init__(
        self,
        seq_len: int,
        batch_size: int,
        seed: int,
        val_examples: int,
        test_examples: int,
        input_size: int = 2,
        output_size: int = 1,
    ):
        super().__init__(seq_len, batch_size, seed, input_size, output_size)
        positive(val_examples=val_examples, test_examples=test_examples)
        if seq_len < 2:
            raise UserError(f"data.seq_len must be at least 2: the adding problem marks two steps, not {seq_len}.")
        self.counts = {VAL: val_examples, TEST: test_examples}

    def train_batch(self, update: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([TRAIN, self.seed, update])
        return adding_batch(rng, self.batch_size, self.seq_len)

    def examples(self, split: int, count: int | None = None) -> tuple[Tensor, Tensor]:
        return adding_batch(fixed(split, self.seq_len), count or self.counts[split], self.seq_len)

    def describe(self) -> dict:
        return {"name": "adding problem, made on the spot", "stand_in": False}
