"""Sequences of one's own from csv files. Shapes: n sequences, T time, B batch, M input, K outputs; batch first."""

from pathlib import Path

import numpy as np
from torch import Tensor, from_numpy

from indrnn import digests
from indrnn.data import TEST, TRAIN, VAL, Data, as_float, csv_rows, shuffled
from indrnn.errors import UserError

SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}


class CsvSequences(Data):
    """Sequences that csv files hold, a row a step; the answer to each is a number or a label.

    Inputs, and answers that are numbers, are standardised: minus the mean and over the standard deviation of the
    training sequences alone. An mse is therefore in variances of the training answers, and 1 is what the best constant
    answer has. The record keeps these means and deviations.

    A batch is x (B, T, M), y (B, 1) or (B,), and, where sequences differ in length, lengths (B,): T is then that of the
    longest of all, and the steps after the end of a sequence are zeros that no network looks at.

    Args:
        seq_len: T of the longest sequence there may be; a network's bound on abs(u) is made for it.
        path: a csv file, or a folder of them (``csv_rows.read``); relative to where the command is typed.
        inputs: names of the M columns that a network reads.
        target: name of the column of answers; one for each sequence, in any of its rows.
        labels: the K classes of answers that are labels, in the order of the outputs; none where answers are numbers.
        sequence: name of the column that says to which sequence a row belongs; if none, each file is one.
        split: name of the column that says train, val or test; if none, sequences are drawn with ``split_seed``.
        val_share, test_share: of all sequences, where they are drawn.
    """

    def __init__(
        self,
        seq_len: int,
        batch_size: int,
        seed: int,
        path: str | None,
        inputs: list[str | int],
        target: str,
        labels: list[str | int] | None,
        sequence: str | None,
        split: str | None,
        val_share: float,
        test_share: float,
        input_size: int,
        output_size: int,
        split_seed: int = 0,
    ):
        super().__init__(seq_len, batch_size, seed, input_size, output_size)
        self.columns = csv_rows.Columns([str(name) for name in inputs], target, sequence, split)
        self.labels = None if labels is None else [str(label) for label in labels]
        if self.labels is not None and (len(self.labels) < 2 or len(set(self.labels)) < len(self.labels)):
            raise UserError(f"data.labels must name two or more different labels, not {self.labels}.")
        sizes = (len(self.columns.inputs), len(self.labels or [None]))
        if (input_size, output_size) != sizes:
            given = f"not {(input_size, output_size)}"
            raise UserError(f"data.input_size, data.output_size are {sizes} by data.inputs and data.labels, {given}.")
        if not (0 < val_share and 0 < test_share and val_share + test_share < 1):
            raise UserError(
                f"data.val_share and data.test_share must be above 0 and leave some for training, not {val_share} and "
                f"{test_share}."
            )
        if not 0 <= split_seed < 2**32:  # numpy's RandomState takes no other
            raise UserError(f"data.split_seed must be at least 0 and below 2^32, not {split_seed}.")
        self.path, self.val_share, self.test_share, self.split_seed = path, val_share, test_share, split_seed
        self.scales: dict[str, list[float]] = {}
        self.steps: list[int] = []  # of the shortest and of the longest sequence
        self._splits: dict[int, tuple[Tensor, ...]] | None = None

    @property
    def regular_len(self) -> int | None:
        """None: before the files are read nobody knows whether there are lengths, at which the layers look."""
        return None

    def setup(self, stage: str | None = None) -> None:
        """Read, split and standardise the sequences.

        Raises:
            UserError: as ``csv_rows.read``; a sequence is too long; a split is unknown or empty; a label is unknown, or
                known in validation or test alone.
        """
        if self._splits is not None:
            return
        if self.path is None:
            raise UserError("data.path names no csv file: say data.path=FILE, or a folder of them.")
        found = csv_rows.read(self.path, self.columns)
        lengths = np.array([len(one.steps) for one in found])
        if lengths.max() > self.seq_len:
            place = found[lengths.argmax()].place
            raise UserError(
                f"{place}: a sequence of {lengths.max()} steps begins here: set data.seq_len to that or more."
            )
        answers = [self._answer(one) for one in found]
        splits = self._by_column(found) if self.columns.split else self._drawn(len(found))
        if self.labels is not None:
            self._check_labels(found, answers, splits)
        trained = np.array([step for number in splits[TRAIN] for step in found[number].steps])
        mean, std = moments(trained)
        self.scales = {"mean": mean.tolist(), "std": std.tolist()}
        y = np.array(answers)
        if self.labels is None:
            (target_mean,), (target_std,) = moments(y[splits[TRAIN], None])
            self.scales |= {"target_mean": target_mean, "target_std": target_std}
            y = ((y - target_mean) / target_std).astype(np.float32)[:, None]
        x = np.zeros((len(found), lengths.max(), len(mean)))
        for row, one in zip(x, found, strict=True):
            row[: len(one.steps)] = (np.array(one.steps) - mean) / std
        self.steps = [int(lengths.min()), int(lengths.max())]
        parts = [as_float(x), from_numpy(y)]
        if lengths.min() < lengths.max():
            parts.append(from_numpy(lengths))
        self._splits = {split: tuple(part[from_numpy(pick)] for part in parts) for split, pick in splits.items()}

    def draw(self, update: int) -> tuple[Tensor]:
        """The numbers (B,) of the sequences."""
        return (from_numpy(shuffled(len(self._splits[TRAIN][0]), update, self.batch_size, self.seed)),)

    def look_up(self, pick: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.index_select(0, pick) for part in self._splits[TRAIN])

    def examples(self, split: int, count: int | None = None) -> tuple[Tensor, ...]:
        return tuple(part[:count] for part in self._splits[split])

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for parts in self._splits.values() for part in parts)

    def move(self) -> None:
        self._splits = {split: tuple(p.to(self.device) for p in parts) for split, parts in self._splits.items()}

    def digest(self) -> str | None:
        return digests.csv_files(self.path)

    def describe(self) -> dict:
        found = {"name": f"own sequences of {Path(self.path or '-').name}", "stand_in": False}
        if self._splits is not None:
            counts = [len(self._splits[split][0]) for split in (TRAIN, VAL, TEST)]
            found |= {"counts": counts, "steps": self.steps} | self.scales
        return found

    def _answer(self, one: csv_rows.Sequence) -> int | float:
        if self.labels is None:
            instead = "; data.labels=[...] names the labels, if it is one"
            return csv_rows.number(one.target, self.columns.target, one.target_place, instead)
        if one.target not in self.labels:
            raise UserError(
                f"{one.target_place}: column {self.columns.target!r} is {one.target!r}, "
                f"which data.labels does not name: {', '.join(self.labels)}."
            )
        return self.labels.index(one.target)

    def _by_column(self, found: list[csv_rows.Sequence]) -> dict[int, np.ndarray]:
        for one in found:
            if one.split not in SPLITS:
                name, known = self.columns.split, ", ".join(SPLITS)
                raise UserError(f"{one.place}: column {name!r} is {one.split!r}, and must be one of {known}.")
        said = np.array([SPLITS[one.split] for one in found])
        splits = {number: np.flatnonzero(said == number) for number in SPLITS.values()}
        for word, number in SPLITS.items():
            if not len(splits[number]):
                raise UserError(f"{self.path}: no sequence is {word!r} in column {self.columns.split!r}.")
        return splits

    def _drawn(self, n: int) -> dict[int, np.ndarray]:
        order = np.random.RandomState(self.split_seed).permutation(n)
        val, test = round(self.val_share * n), round(self.test_share * n)
        if min(val, test, n - val - test) < 1:
            rows = "" if self.columns.sequence else " (data.sequence=null makes each file one)"
            raise UserError(
                f"{self.path} has {n} sequence{'s' * (n > 1)}{rows}, of which data.val_share={self.val_share} and "
                f"data.test_share={self.test_share} leave {n - val - test}, {val} and {test} for training, validation "
                "and test: each needs one."
            )
        return {
            TEST: np.sort(order[:test]),
            VAL: np.sort(order[test : test + val]),
            TRAIN: np.sort(order[test + val :]),
        }

    def _check_labels(self, found: list[csv_rows.Sequence], answers: list, splits: dict[int, np.ndarray]) -> None:
        """Raise UserError where validation or test has a label that training has not."""
        trained = {answers[number] for number in splits[TRAIN]}
        for split, word in ((VAL, "validation"), (TEST, "test")):
            for number in splits[split]:
                if answers[number] not in trained:
                    label, place = found[number].target, found[number].target_place
                    raise UserError(
                        f"{place}: a sequence of the {word} has the label {label!r}, which none of training has."
                    )


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column of x (n, M); a constant column has the deviation 1."""
    std = x.std(axis=0)
    return x.mean(axis=0), np.where(std > 0, std, 1.0)
