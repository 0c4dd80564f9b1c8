"""What all data modules share. Shapes: T time, B batch, M input, K outputs; batch first here."""

import functools
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from indrnn.data import TEST, TRAIN, VAL
from indrnn.data.ahead import Ahead
from indrnn.errors import UserError, positive

SHARE = 0.1  # of a device's free memory, that examples may take: ten runs may share a card, and networks need the most

log = logging.getLogger(__name__)


class Data(LightningDataModule, Dataset):
    """Training batches as a function of (seed, update), and fixed validation and test batches.

    Because batch i depends on nothing but the seed and i, a run that was killed goes on with the very batch that
    was next, and no shuffling state has to be kept.

    A subclass gives ``examples``, and ``train_batch`` in two parts: ``draw`` says in a few numbers what is in a batch,
    ``look_up`` makes the batch of them, where the examples are. A batch is (x, y) with x (B, T, M), or (x, y, lengths)
    where sequences are padded (``tasks.last_step``).

    Args:
        seq_len: T, time steps of one sequence.
        batch_size: B, sequences per update.
        seed: of the run.
        input_size, output_size: M and K, checked against ``sizes`` of a subclass that has them.
    """

    sizes: tuple[int, int] | None = None
    vary_length = False  # whether T is drawn anew for every training batch
    slow_to_draw = False  # enough for a thread of its own; ``draw`` may then be called by two threads at once
    nbytes = 0  # of the examples, if they were to lie on a device
    eval_factor = 1  # a batch of validation and test is so many times as large; a text's is not

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
        self.device = self.asked = torch.device("cpu")  # where batches are made, and where they were asked for
        self.recorded = False  # ``look_up`` is part of a graph, wherever the examples lie on the device
        self.ahead: Ahead | None = None

    def setup(self, stage: str | None = None) -> None:
        """Read what lies on disk; networks and plans need none of it."""

    @property
    def regular_len(self) -> int | None:
        """T of all training batches but odd ones, None where there is no such T."""
        return None if self.vary_length else self.seq_len

    def train_batch(self, update: int) -> tuple[Tensor, ...]:
        """Batch number ``update`` (from 0) of this run, on ``device``."""
        return self.look_up(*self.drawn_here(update))

    def drawn_here(self, update: int) -> tuple[Any, ...]:
        return self.here(self.draw(update) if self.ahead is None else self.ahead(update))

    def draw(self, update: int) -> tuple[Any, ...]:
        """What is in batch ``update``: row numbers and all that is random, as tensors of the CPU and numbers."""
        raise NotImplementedError

    def look_up(self, *drawn: Any) -> tuple[Tensor, ...]:
        """The batch, of what was drawn; all tensors on ``device``, and nothing waits for it, as in a graph."""
        raise NotImplementedError

    def here(self, drawn: tuple[Any, ...]) -> tuple[Any, ...]:
        """The same, with its tensors on ``device``."""
        return tuple(d.to(self.device, non_blocking=True) if isinstance(d, Tensor) else d for d in drawn)

    def lie_on(self, device: torch.device) -> None:
        """Make the same batches on ``device`` from now on, if the examples fit there: they move once, then only what is
        drawn does.

        They fit if they take at most ``SHARE`` of the memory that is free when this is first called; otherwise batches
        are made on the CPU as before, and are sent.
        """
        if device == self.asked:
            return
        self.asked = device
        free = free_bytes(device)
        if self.nbytes > SHARE * free:
            sizes = f"{self.nbytes / 1e9:.2f} GB, where {free / 1e9:.2f} GB are free"
            log.warning("The examples stay in the CPU's memory (%s): each batch is sent.", sizes)
            return
        self.device = device
        self.move()

    def move(self) -> None:
        """Take the examples to ``device``."""

    def examples(self, split: int, count: int | None = None) -> tuple[Tensor, ...]:
        """The first ``count`` examples of a split, or all, in a fixed order, batch first."""
        raise NotImplementedError

    def describe(self) -> dict:
        """What the data are, for the record: name, stand_in (false, or what it stands in for), checksums."""
        raise NotImplementedError

    def digest(self) -> str | None:
        """Twelve digits that tell what is read from whatever else could be (``indrnn.digests``), as it is by now.

        None: nobody can tell, which agrees with all.
        """
        return None

    def __getitem__(self, updates: range) -> list[tuple[Tensor, ...]]:
        """The batches of updates that are made together; only what was drawn, where a graph looks them up."""
        if self.drawn_only:
            return [self.drawn_here(update) for update in updates]
        return [self.part(self.train_batch(update)) for update in updates]

    def part(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What this process trains on."""
        return tuple(t[self.share] for t in batch)

    @property
    def drawn_only(self) -> bool:
        return self.recorded and self.device == self.asked

    def train_dataloader(self) -> DataLoader:
        size = self.batch_size // self.trainer.world_size
        self.share = slice(size * self.trainer.global_rank, size * (self.trainer.global_rank + 1))
        self.lie_on(self.trainer.strategy.root_device)
        self.draw_ahead()
        return DataLoader(self, batch_size=None, sampler=self.trainer.lightning_module.next_updates())

    def draw_ahead(self) -> None:
        """Let another thread draw from now on, until ``teardown``, where that is worth it.

        On a CPU it never is: there it takes the time of the updates themselves.
        """
        if self.ahead is None and self.slow_to_draw and self.device.type != "cpu":
            self.ahead = Ahead(self.draw)

    def teardown(self, stage: str | None = None) -> None:
        """End the thread that draws, if there is one; Lightning calls this, or ``on_exception``."""
        if self.ahead is not None:
            self.ahead.close()
            self.ahead = None

    def on_exception(self, exception: BaseException) -> None:
        self.teardown()

    def val_dataloader(self) -> DataLoader:
        return self._fixed(VAL)

    def test_dataloader(self) -> DataLoader:
        return self._fixed(TEST)

    def calibration_batches(self, count: int) -> Iterator[tuple[Tensor, ...]]:
        """``count`` training examples, the same in every call, for batch-norm statistics."""
        yield from self._batches(self.batch_size, TRAIN, count)  # the statistics are those of batches of this size

    @property
    def eval_size(self) -> int:
        """Examples in a batch of validation and test."""
        return self.eval_factor * self.batch_size

    def _fixed(self, split: int) -> DataLoader:
        return DataLoader(self._batches(self.eval_size, split), batch_size=None)

    def _batches(self, size: int, split: int, count: int | None = None) -> list[tuple[Tensor, ...]]:
        return list(zip(*(t.split(size) for t in self.examples(split, count)), strict=True))


def free_bytes(device: torch.device) -> int:
    """Memory of a GPU that no process holds."""
    return torch.cuda.mem_get_info(device)[0]


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
