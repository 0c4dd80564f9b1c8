"""What all data modules share. Shapes: T time, B batch, M input, K outputs; batch first here."""

import functools
from collections.abc import Iterator

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from indrnn.data import TEST, TRAIN, VAL
from indrnn.errors import UserError, positive


class Data(LightningDataModule, Dataset):
    """Training batches as a function of (seed, update), and fixed validation and test batches.

    Because batch i depends on nothing but the seed and i, a run that was killed goes on with the very batch that
    was next, and no shuffling state has to be kept.

    A subclass gives ``train_batch`` and ``examples``; a batch is (x, y) with x (B, T, M).

    Args:
        seq_len: T, time steps of one sequence.
        batch_size: B, sequences per update.
        seed: of the run.
        input_size, output_size: M and K, checked against ``sizes`` of a subclass that has them.
    """

    sizes: tuple[int, int] | None = None
    vary_length = False  # whether T is drawn anew for every training batch

    def __init__(self, seq_len: int, batch_size: int, seed: int, input_size: int, output_size: int):
        super().__init__()
        positive(seq_len=seq_len, batch_size=batch_size)
        if self.sizes and (input_size, output_size) != self.sizes:
            raise UserError(
                f"{type(self).__name__} has input_size, output_size = {self.sizes}, not {(input_size, output_size)}."
            )
        self.seq_len, self.batch_size, self.seed = seq_len, batch_size, seed
        self.input_size, self.output_size = input_size, output_size
        self.share = slice(None)  # of a training batch: what this process trains on, where there are several

    def setup(self, stage: str | None = None) -> None:
        """Read what lies on disk; networks and plans need none of it."""

    @property
    def regular_len(self) -> int | None:
        """T of all training batches but odd ones, None where there is no such T."""
        return None if self.vary_length else self.seq_len

    def train_batch(self, update: int) -> tuple[Tensor, ...]:
        """Batch number ``update`` (from 0) of this run."""
        raise NotImplementedError

    def examples(self, split: int, count: int | None = None) -> tuple[Tensor, ...]:
        """The first ``count`` examples of a split, or all, in a fixed order, batch first."""
        raise NotImplementedError

    def describe(self) -> dict:
        """What the data are, for the record: name, stand_in (false, or what it stands in for), checksums."""
        raise NotImplementedError

    def __getitem__(self, update: int) -> tuple[Tensor, ...]:
        return tuple(t[self.share] for t in self.train_batch(update))

    def train_dataloader(self) -> DataLoader:
        size = self.batch_size // self.trainer.world_size
        self.share = slice(size * self.trainer.global_rank, size * (self.trainer.global_rank + 1))
        return DataLoader(self, batch_size=None, sampler=self.trainer.lightning_module.next_updates())

    def val_dataloader(self) -> DataLoader:
        return self._fixed(VAL)

    def test_dataloader(self) -> DataLoader:
        return self._fixed(TEST)

    def calibration_batches(self, count: int) -> Iterator[tuple[Tensor, ...]]:
        """``count`` training examples, the same in every call, for batch-norm statistics."""
        yield from self._batches(TRAIN, count)

    def _fixed(self, split: int) -> DataLoader:
        return DataLoader(self._batches(split), batch_size=None)

    def _batches(self, split: int, count: int | None = None) -> list[tuple[Tensor, ...]]:
        return list(zip(*(t.split(self.batch_size) for t in self.examples(split, count)), strict=True))


def shuffled(n: int, update: int, batch_size: int, seed: int) -> np.ndarray:
    """Indices of batch ``update`` when n examples are drawn in a new order each epoch, without remainder.

    The stream of all epochs is cut into batches, so that one batch may hold the end of an epoch and the start of
    the next, and every example is seen equally often.
    """
    start = update * batch_size
    parts = []
    for epoch in range(start // n, (start + batch_size - 1) // n + 1):
        parts.append(epoch_order(n, seed, epoch)[max(start - epoch * n, 0) : start + batch_size - epoch * n])
    return np.concatenate(parts)


@functools.lru_cache(maxsize=2)  # two, because a batch may end one epoch and start the next; also safe among threads
def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order of n examples in an epoch; not to be written to, as all batches of the epoch are cut from it."""
    order = np.random.default_rng([TRAIN, seed, epoch]).permutation(n)
    order.flags.writeable = False
    return order


def noise_seed(seed: int, update: int, rank: int = 0) -> int:
    """A 63-bit seed for everything random inside update number ``update`` (dropout masks), other on each rank."""
    entropy = [seed, update, rank] if rank else [seed, update]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


def as_float(x: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
