"""The adding problem, P18 Section 5.1. Shapes: T time, B batch."""

import numpy as np
from torch import Tensor, from_numpy

from indrnn import digests
from indrnn.adding_numbers import fixed, numbers
from indrnn.data import TEST, TRAIN, VAL, Data
from indrnn.errors import UserError, positive


class Adding(Data):
    """Sequences of two numbers a step: a value from U(0, 1) and a mark; the target is the sum of the marked values.

    One mark lies in each half of the sequence. Who answers 1, the mean, has an mse of 1/6 in expectation. Every update
    has fresh sequences; validation and test are the same for every run of one length.

    A batch is x (B, T, 2), y (B, 1).
    """

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

    @property
    def slow_to_draw(self) -> bool:
        """From 10,000 numbers on; fewer take less than handing them from thread to thread (60 us for 40)."""
        return self.batch_size * self.seq_len >= 10_000

    def draw(self, update: int) -> tuple[Tensor, Tensor, Tensor]:
        """Values (B, T), marked steps (B, 2), targets (B, 1)."""
        return self._numbers(np.random.default_rng([TRAIN, self.seed, update]), self.batch_size)

    def look_up(self, values: Tensor, marked: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        x = values.new_zeros(*values.shape, 2)
        x[..., 0] = values
        x[..., 1].scatter_(1, marked, 1.0)
        return x, targets

    def examples(self, split: int, count: int | None = None) -> tuple[Tensor, Tensor]:
        drawn = self._numbers(fixed(split, self.seq_len), count or self.counts[split])
        return self.look_up(*self.here(drawn))

    def _numbers(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
        values, marked, targets = numbers(rng, count, self.seq_len)
        return from_numpy(values), from_numpy(marked), from_numpy(targets)

    def digest(self) -> str:
        return digests.adding(self.seq_len, (self.counts[VAL], self.counts[TEST]))

    def describe(self) -> dict:
        return {"name": "adding problem, made on the spot", "stand_in": False}
