"""What happens beside the training: checkpoints, stops between two updates, a progress bar."""

import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, Trainer
from tqdm import tqdm

from indrnn.tasks import Task

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
EVERY = 2.0  # seconds between words of a run to who looks on


class Interrupted(Exception):
    """Training stopped between two updates; its checkpoint is written. ``signal`` is 0 where the time was up."""

    def __init__(self, number: int):
        self.signal = number


class Checkpoint(Callback):
    """Writes one checkpoint, whole or not at all, and only between updates.

    Lightning's own mid-epoch checkpoints keep counters of four nested loops, which a restart has to guess right;
    ``Task.state`` needs none of them, and a killed run ends with the same bits.

    SIGUSR2 is what submitit hears before a Slurm job's time is up; it is left alone where nobody listens for it.

    Args:
        save: writes the checkpoint.
        every: seconds between checkpoints; 0 writes one before each update.
        max_time: seconds that this sitting may take, or none.
        agree: makes a stop of one rank a stop of all (``indrnn.training.ranks``).
        hears: signals; ranks above 0 do not.
    """

    def __init__(
        self,
        save: Callable[[], None],
        every: float,
        max_time: float | None,
        agree: Callable[[int | None], int | None] = lambda stop: stop,
        hears: bool = True,
    ):
        self.save, self.every, self.max_time, self.agree, self.hears = save, every, max_time, agree, hears
        self.signal: int | None = None
        self.began = self.saved = time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, task: Task, batch: Any, batch_idx: int) -> None:
        now = time.monotonic()
        if self.signal is None and self.max_time is not None and now - self.began > self.max_time:
            self.signal = 0
        stop = self.agree(self.signal)
        if stop is not None or now - self.saved >= self.every:
            self.save()
            self.saved = time.monotonic()
        if stop is not None:
            raise Interrupted(stop)

    def on_validation_batch_start(
        self, trainer: Trainer, task: Task, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if stop := self.agree(self.signal):
            self.save()  # the validation is made again when the run goes on
            raise Interrupted(stop)

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: stop before the next update; the same signal again stops at once.

        Another one does not: a worker that has heard Ctrl-C gets SIGTERM, too, when its launcher ends before it.

        SIGUSR2 never counts as a second one and outdoes the others: Slurm may send it and SIGTERM together.
        """
        if signal.SIGUSR2 in (number, self.signal):
            number = signal.SIGUSR2
        elif self.signal == number:
            raise KeyboardInterrupt
        self.signal = number

    def __enter__(self) -> "Checkpoint":
        self.previous = {number: signal.getsignal(number) for number in SIGNALS}
        if not callable(self.previous[signal.SIGUSR2]):
            del self.previous[signal.SIGUSR2]
        return self

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        if threading.current_thread() is threading.main_thread():  # here, because Lightning has set its own by now
            for number in self.previous:
                signal.signal(number, self.hear if self.hears else signal.SIG_IGN)

    on_validation_start = on_train_start  # for one that a sitting begins with

    def __exit__(self, *exception: object) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self.previous.items():
                signal.signal(number, handler)


class Aloud(Callback):
    """Lets a run say how far it is: at its start and then every two seconds, also while it validates and tests."""

    def __init__(self, say: Callable[[], None]):
        self.say, self.said = say, -math.inf

    def on_train_start(self, *_: Any) -> None:
        if time.monotonic() - self.said >= EVERY:
            self.say()
            self.said = time.monotonic()

    on_train_batch_end = on_validation_batch_end = on_test_batch_end = on_train_start


class UpdateBar(Callback):
    """A bar over updates, with the last validation and how far one is that goes on; then one over the test."""

    bar: tqdm | None = None

    def on_train_start(self, trainer: Trainer, task: Task) -> None:
        self.bar = tqdm(total=task.max_updates, initial=task.update, unit=" updates", dynamic_ncols=True)

    def on_train_batch_end(self, trainer: Trainer, task: Task, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.measured(task, refresh=False)
        self.bar.update(task.update - self.bar.n)

    def measured(self, task: Task, refresh: bool) -> None:
        if task.curve:
            self.bar.set_postfix_str(f"val/{task.metric} {task.curve[-1][f'val/{task.metric}']:.4g}", refresh=refresh)

    def on_train_epoch_end(self, trainer: Trainer, task: Task) -> None:  # an epoch ends with a validation
        self.measured(task, refresh=True)

    def on_validation_batch_end(
        self, trainer: Trainer, task: Task, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self.bar is not None and time.time() - self.bar.last_print_t > EVERY:  # it counts so, too
            self.bar.set_postfix_str(f"validating: {batch_idx + 1} of {trainer.num_val_batches[0]} batches")

    def on_test_start(self, trainer: Trainer, task: Task) -> None:
        batches = trainer.num_test_batches[0]
        self.bar = tqdm(total=batches, desc="test", unit=" batches", leave=False, dynamic_ncols=True)

    def on_test_batch_end(self, *_: Any) -> None:
        self.bar.update()

    def teardown(self, trainer: Trainer, task: Task, stage: str) -> None:
        if self.bar is not None:
            self.bar.close()
