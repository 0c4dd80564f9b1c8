"""Streams of text for language models, P18 Section 5.3. Shapes: B columns, T time.

A stream of n tokens is cut into B contiguous columns that are read side by side, T steps a batch; the first n mod B
columns have one token more, so that every token is predicted exactly once in an epoch. The input of a step is the token
before its target; before the first token of a text stands an end of line.

A batch is (x, y, lengths, fresh): x and y (B, T) token numbers; lengths (B,) where the last step of the epoch is there
in some columns only (y is -1 in the others), else None; fresh says that the state starts from zeros, which it does at
the start of an epoch. Otherwise it is carried over from the batch before.
"""

import bisect
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, from_numpy
from torch.utils.data import DataLoader

from indrnn import digests
from indrnn.data import TEST, TRAIN, VAL, Data, corpus
from indrnn.errors import UserError, positive

Batch = tuple[Tensor, Tensor, Tensor | None, bool]
Drawn = tuple[Tensor, int, Tensor | None, bool]  # where each column begins, (B,); T; lengths; fresh
PADDING = -1  # target of a step that is not there
CALIBRATION_STEPS = 4000  # of a column, for batch-norm statistics


class Text(Data):
    """A text as B columns with carried state.

    Args:
        seq_len: T, steps of one update.
        batch_size: B, columns in training.
        source: ``ptb``, ``kjv`` (the stand-in) or a folder with train.txt, valid.txt and test.txt.
        level: ``char`` or ``word``.
        offset: an epoch leaves out up to this many times T tokens at its start, drawn anew for each; 0 leaves out none.
            The authors: 5 (Theano code, P18), 5 B (PyTorch code, P19).
        vary_length: T of every update is drawn from N(T, 5), one time in twenty from N(T/2, 5), and kept within
            [5, T + 10] (the authors' PyTorch code, after AWD-LSTM).
        reset: the state starts from zeros in one of so many updates, by chance; 0 never within an epoch (PyTorch
            code: 10).
        eval_columns: columns of the validation and of the test split; each starts from a state of zeros.
        input_size: width of the embedding.
        output_size: tokens in the vocabulary, end of line included; checked against the text.
    """

    def __init__(
        self,
        seq_len: int,
        batch_size: int,
        seed: int,
        source: str,
        level: str,
        input_size: int,
        output_size: int,
        offset: int = 0,
        vary_length: bool = False,
        reset: int = 0,
        eval_columns: tuple[int, int] = (10, 1),
    ):
        super().__init__(seq_len, batch_size, seed, input_size, output_size)
        if level not in ("char", "word"):
            raise UserError(f"data.level must be char or word, not {level}.")
        for name, value in (("offset", offset), ("reset", reset)):
            if not isinstance(value, int) or value < 0:
                raise UserError(f"data.{name} must be a whole number of at least 0, not {value!r}.")
        if len(eval_columns) != 2:
            raise UserError(f"data.eval_columns must name those of validation and test, not {list(eval_columns)}.")
        for count in eval_columns:
            positive(eval_columns=count)
        self.source, self.level, self.offset, self.vary_length, self.reset = source, level, offset, vary_length, reset
        self.eval_columns = {VAL: eval_columns[0], TEST: eval_columns[1]}
        self.corpus: corpus.Corpus | None = None
        self._firsts = [0]  # the number of the first update of every epoch so far
        self._epoch: tuple[int, Epoch] | None = None  # the one last asked for
        self._streams: dict[int, Tensor] = {}

    def setup(self, stage: str | None = None) -> None:
        """Read the text.

        Raises:
            UserError: as ``corpus.read``; or a split is too short for B columns of T steps.
        """
        if self.corpus is not None:
            return
        text = corpus.read(self.source, self.level, self.output_size)
        tokens = len(text.splits[TRAIN]) - self.offset * self.seq_len
        if tokens < self.batch_size * self.seq_len:
            left = " after the random offset" if self.offset else ""
            raise UserError(
                f"{text.name}: {max(tokens, 0):,} tokens{left} do not make data.batch_size={self.batch_size} columns "
                f"of data.seq_len={self.seq_len} steps: make one of them smaller."
            )
        for split, columns in self.eval_columns.items():
            if len(text.splits[split]) < columns:
                raise UserError(
                    f"{text.name}: {corpus.SPLITS[split]} has {len(text.splits[split]):,} tokens, fewer than "
                    f"data.eval_columns asks for ({columns}): make it smaller."
                )
        self.corpus = text

    def draw(self, update: int) -> Drawn:
        while self._firsts[-1] <= update:
            self._firsts.append(self._firsts[-1] + len(self.epoch(len(self._firsts) - 1)))
        number = bisect.bisect_right(self._firsts, update) - 1
        return self.epoch(number).draw(update - self._firsts[number])

    def look_up(self, first: Tensor, steps: int, lengths: Tensor | None, fresh: bool) -> Batch:
        return piece(self.stream(TRAIN), first, steps, lengths, fresh)

    def stream(self, split: int) -> Tensor:
        """All of a split, after an end of line: (n + 1,)."""
        if split not in self._streams:
            self._streams[split] = from_numpy(np.concatenate([[0], self.corpus.splits[split]])).to(self.device)
        return self._streams[split]

    @property
    def nbytes(self) -> int:
        return sum(tokens.nbytes for tokens in self.corpus.splits)

    def move(self) -> None:
        self._streams.clear()
        for split in (TRAIN, VAL, TEST):
            self.stream(split)

    def epoch(self, number: int) -> "Epoch":
        """Epoch ``number`` (from 0): its offset, the lengths of its batches, its resets; a function of the seed."""
        if self._epoch is None or self._epoch[0] != number:
            rng = np.random.default_rng([TRAIN, self.seed, number])
            n = len(self.corpus.splits[TRAIN])
            start = int(rng.integers(self.offset * self.seq_len)) if self.offset else 0
            steps = -(-(n - start) // self.batch_size)
            ends = self._ends(steps, rng)
            fresh = rng.integers(self.reset, size=len(ends)) == 0 if self.reset else np.zeros(len(ends), bool)
            fresh[0] = True
            self._epoch = number, Epoch(n, start, self.batch_size, ends, fresh)
        return self._epoch[1]

    def _ends(self, steps: int, rng: np.random.Generator) -> np.ndarray:
        """Where in a column the batches end."""
        if not self.vary_length:
            return closed(np.arange(self.seq_len, steps, self.seq_len), steps)
        count = steps // 5 + 1  # more cannot be, as 5 is the least
        means = np.where(rng.random(count) < 0.95, self.seq_len, self.seq_len / 2)
        ends = np.cumsum(np.clip(rng.normal(means, 5).astype(int), 5, self.seq_len + 10))
        return closed(ends, steps)

    def eval_batches(self, split: int) -> list[Batch]:
        """All of a split with carried state, about as many tokens a batch as in training."""
        columns = self.eval_columns[split]
        return self._all(split, columns, max(self.seq_len, self.seq_len * self.batch_size // columns))

    def segments(self, split: int, steps: int) -> list[Batch]:
        """All of a split with carried state, ``steps`` at a time."""
        return self._all(split, self.eval_columns[split], steps)

    def gradient_batches(self, steps: int) -> list[Batch]:
        """All of the training text in B columns, ``steps`` at a time, the same in every call."""
        return self._all(TRAIN, self.batch_size, steps)

    def _all(self, split: int, columns: int, size: int) -> list[Batch]:
        n = len(self.corpus.splits[split])
        steps = -(-n // columns)
        ends = closed(np.arange(size, steps, size), steps)
        epoch = Epoch(n, 0, columns, ends, np.arange(len(ends)) == 0)
        return [piece(self.stream(split), *self.here(epoch.draw(i))) for i in range(len(ends))]

    def calibration_batches(self, count: int) -> Iterator[tuple[Tensor, ...]]:
        """Training text read as the validation is: B columns of as many steps, at most CALIBRATION_STEPS, T at a time.

        The columns start evenly spread over the text, and each batch goes on where the one before it ended. ``count``
        is for data that have examples. Here the length matters: with abs(u) near 1, states go on growing for thousands
        of steps after zeros, and statistics of the first few hundred misjudge them by far.
        """
        n = len(self.corpus.splits[TRAIN])
        steps = -(-len(self.corpus.splits[VAL]) // self.eval_columns[VAL])
        steps = min(steps, CALIBRATION_STEPS, n // self.batch_size)
        (firsts,) = self.here((from_numpy(np.linspace(0, n - 1 - steps, self.batch_size).astype(int)),))
        for begin in range(0, steps, self.seq_len):
            _, tokens, *_ = piece(self.stream(TRAIN), firsts + begin, min(self.seq_len, steps - begin), None, False)
            yield (tokens,)

    def part(self, batch: Batch) -> Batch:
        return batch

    def _fixed(self, split: int) -> DataLoader:
        return DataLoader(self.eval_batches(split), batch_size=None)

    def digest(self) -> str | None:
        return digests.text(self.source)

    def describe(self) -> dict:
        if self.corpus is None:
            return {"name": f"text {self.source} by {self.level}", "stand_in": False}
        return {
            "name": self.corpus.name,
            "stand_in": self.corpus.stand_in or False,
            "tokens": [len(split) for split in self.corpus.splits],
            "counted": f"{'symbols' if self.level == 'char' else 'words'} and one end of line per line",
            "vocabulary_sha256": self.corpus.digest,
        }


def closed(ends: np.ndarray, steps: int) -> np.ndarray:
    """Ends of batches up to the last step, which no batch has to itself: some columns would have nothing in it."""
    return np.append(ends[ends < steps - 1], steps)


class Epoch:
    """Some of a text as columns and batches.

    Args:
        n: tokens of the text.
        start: how many of them are left out; but the last of these is the first input.
        columns: B.
        ends: the step of a column at which each batch ends.
        fresh: whether each batch starts from a state of zeros.
    """

    def __init__(self, n: int, start: int, columns: int, ends: np.ndarray, fresh: np.ndarray):
        short, self.longer = divmod(n - start, columns)
        self.starts = start + short * np.arange(columns) + np.minimum(np.arange(columns), self.longer)
        self.short, self.ends, self.fresh = short, ends, fresh

    def __len__(self) -> int:
        return len(self.ends)

    def draw(self, number: int) -> Drawn:
        """What is in a batch."""
        begin, end = self.ends[number - 1] if number else 0, self.ends[number]
        lengths = None
        if end > self.short:  # the last step, which only the longer columns have
            lengths = np.full(len(self.starts), end - begin)
            lengths[self.longer :] -= 1
            lengths = from_numpy(lengths)
        return from_numpy(self.starts + begin), int(end - begin), lengths, bool(self.fresh[number])


def piece(stream: Tensor, first: Tensor, steps: int, lengths: Tensor | None, fresh: bool) -> Batch:
    """The batch of which this was drawn, from the text after an end of line, (n + 1,)."""
    step = torch.arange(steps, device=stream.device)
    at = first[:, None] + step
    if lengths is None:
        return stream[at], stream[at + 1], None, fresh
    gone = step >= lengths[:, None]
    at = at - gone.long()  # its input is the one before: it has to be a token
    return stream[at], stream[at + 1].masked_fill(gone, PADDING), lengths, fresh
