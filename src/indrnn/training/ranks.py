"""One run on several devices: a process for each, called ranks, which make the same updates in step.

Rank 0 is the process that was started; it alone writes, logs and hears signals, and it starts the others. All compose
the same batch and each trains on its own part of it (B is over all devices together, DESIGN Section 2), so that the
mean of their gradients is the gradient of one device.
"""

import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, distributed, nn

from indrnn.errors import UserError, positive
from indrnn.layers.norm_dropout import SequenceBatchNorm
from indrnn.out_of_memory import out_of_memory

OUT_OF_MEMORY = 3  # exit code of a rank


class Rank(LightningEnvironment):
    """Where one process stands among those of a run, and what it says to the others; also Lightning's view of it.

    Args:
        number: of this process, from 0.
        count: of processes.
        port: on this machine, where they meet; none for a single one.
    """

    creates_processes_externally = True  # Lightning is not to start any: it would repeat the whole command

    def __init__(self, number: int = 0, count: int = 1, port: int = -1):
        super().__init__()
        self.number, self.count, self._main_port = number, count, port
        self.words: distributed.ProcessGroup | None = None

    def local_rank(self) -> int:
        return self.number

    def node_rank(self) -> int:
        return 0

    main_address = "127.0.0.1"

    @staticmethod
    def detect() -> bool:  # never asked: Rank is always given by hand
        return False

    @property
    def options(self) -> dict[str, Any]:
        """What Lightning's Trainer has to be told."""
        if self.count == 1:  # without a word Lightning would take over a Slurm job's signals
            return {"devices": 1, "plugins": [LightningEnvironment()]}
        return {"devices": self.count, "strategy": DDPStrategy(cluster_environment=self)}

    def agree(self, number: int | None) -> int | None:
        """The largest number that any rank brings here; all have to come. None is below all numbers.

        It travels between CPUs: the GPUs need not be waited for. Where a rank has died, this fails on all others.
        """
        if self.count == 1:
            return number
        if self.words is None:
            self.words = distributed.new_group(backend="gloo")
        agreed = torch.tensor(-1 if number is None else number)
        distributed.all_reduce(agreed, distributed.ReduceOp.MAX, group=self.words)
        return None if agreed < 0 else int(agreed)


class Ranks:
    """Context: starts the other ranks of a run, and ends them whatever happens; gives the Rank of this process.

    What stopped another rank stops this one at its next ``agree`` and leaves the context as OutOfMemoryError where it
    was that, else as UserError.

    Args:
        count: of ranks.
        follow: called as follow(rank, *arguments) in each of the others, which are fresh processes.
        arguments: what they are given; has to be picklable.
    """

    def __init__(self, count: int, follow: Callable[..., None], *arguments: Any):
        self.count, self.follow, self.arguments = count, follow, arguments
        self.others: list[multiprocessing.Process] = []

    def __enter__(self) -> Rank:
        if self.count == 1:
            return Rank()
        port = free_port()
        fresh = multiprocessing.get_context("spawn")
        for number in range(1, self.count):
            rank = Rank(number, self.count, port)
            self.others.append(fresh.Process(target=_follow, args=(self.follow, rank, *self.arguments)))
            self.others[-1].start()
        return Rank(0, self.count, port)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            leave()
        for process in self.others:  # most end by themselves by now, but one may wait for a rank that never comes
            process.join(1 if error else 30)
        codes = [process.exitcode for process in self.others if process.exitcode]
        for process in self.others:
            process.kill()
            process.join()
        leave()
        if codes and isinstance(error, RuntimeError) and not out_of_memory(error):
            if OUT_OF_MEMORY in codes:
                raise torch.OutOfMemoryError("on another device than the first") from error
            raise UserError(
                f"Another process of this run ended with exit code {codes[0]}; the same command goes on from the last "
                "checkpoint."
            ) from error


def _follow(follow: Callable[..., None], rank: Rank, *arguments: Any) -> None:
    """A rank above 0: deaf to signals, as rank 0 tells it when to stop, and gone when rank 0 is."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    first = multiprocessing.parent_process()
    threading.Thread(target=lambda: (first.join(), os._exit(1)), daemon=True).start()
    logging.getLogger("indrnn").setLevel(logging.ERROR)  # rank 0 says it
    try:
        follow(rank, *arguments)
    except Exception as error:
        if out_of_memory(error):
            os._exit(OUT_OF_MEMORY)
        raise
    leave()


def leave() -> None:
    """Forget the other ranks, so that a next run in this process can have its own."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]


def check_devices(devices: int, accelerator: str, batch_size: int) -> None:
    """Raise UserError unless so many devices are there and a batch can be dealt out evenly."""
    positive(**{"machine.devices": devices})
    if accelerator in ("gpu", "cuda") and devices > torch.cuda.device_count():
        raise UserError(f"machine.devices={devices}, but torch can use {torch.cuda.device_count()} GPUs here.")
    if devices > 1 and multiprocessing.current_process().daemon:
        raise UserError("This process may not start others, which machine.devices needs: use another launcher.")
    if batch_size % devices:
        raise UserError(f"data.batch_size={batch_size} cannot be dealt out evenly to machine.devices={devices}.")


# Batch norm over the batch of all ranks


class Mean(torch.autograd.Function):
    """The mean of a tensor over all ranks. Every rank's loss depends on it, so its gradient is a mean as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        distributed.all_reduce(total)
        return total / distributed.get_world_size()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return Mean.forward(ctx, gradient)


class SynchronisedBatchNorm(SequenceBatchNorm):
    """Batch norm of (T, B, N) whose B is that of all ranks; torch's own SyncBatchNorm has no CPU version.

    It takes effect in training only. Running statistics are left alone: they are recomputed, without gradients and by
    every rank from the same examples, before each evaluation.
    """

    def forward(self, x: Tensor, valid: Tensor | None = None, start: int = 0) -> Tensor:
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(x, valid)
        if valid is not None:
            raise UserError("Batch norm over several devices takes no padded batches: leave machine.devices out.")
        wide = x.float()
        mean = Mean.apply(wide.mean((0, 1)))
        variance = Mean.apply((wide - mean).square().mean((0, 1)))
        return ((wide - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias).to(x.dtype)


def synchronise_batch_norm(network: nn.Module) -> None:
    """Turn every batch norm of a network into one over all ranks, in place.

    Raises:
        UserError: it has a kind of batch norm that is not known here.
    """
    for norm in network.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            if type(norm) is not SequenceBatchNorm:
                raise UserError(f"{type(norm).__name__} works on one device only: leave machine.devices out.")
            norm.__class__ = SynchronisedBatchNorm
