"""What one run does, from config to record."""

import contextlib
import logging
import math
import signal
import sys
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger

from indrnn import configs, digests, files, record
from indrnn.data import Data
from indrnn.errors import NoData, OutOfMemory, UserError
from indrnn.machine import keep_pages, matrix_products
from indrnn.networks import Network
from indrnn.out_of_memory import free, no_memory
from indrnn.tasks import CLIP, Diverged, Task
from indrnn.training.callbacks import Aloud, Checkpoint, Interrupted, UpdateBar
from indrnn.training.checks import check, seconds
from indrnn.training.compiled import OF_TORCH, compile_, how
from indrnn.training.dials import Dials
from indrnn.training.graph import graph_, release
from indrnn.training.listening import listen
from indrnn.training.ranks import Rank, Ranks, check_devices, synchronise_batch_norm
from indrnn.training.sitting import CKPT, Sitting, folder_of, of_other_data, only_one, quiet_lightning, seal, stands
from indrnn.training.wandb_listener import stop_listening

PRECISIONS = ("32-true", "tf32", "bf16-mixed")
NEEDS_LESS = "machine.save_memory=true, fewer runs at once or a smaller batch need less; the same command tries again."

log = logging.getLogger(__name__)


def train(cfg: DictConfig) -> dict[str, Any]:
    """Bring one run to its end, from wherever an earlier sitting left it; returns its record.

    Raises:
        UserError: a value in the config makes no sense, data or memory are missing, the data changed meanwhile, or
            another process trains this run. The record says no_data or out_of_memory; the next start tries again.
        KeyboardInterrupt, SystemExit: a signal came; the record says interrupted.
    """
    check(cfg)  # before a folder is made
    if cfg.machine.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise UserError("There is no GPU that torch can use on this machine: leave machine=gpu out.")
    folder = folder_of(cfg)
    if stands(cfg, done := record.read(folder)) and not (folder / CKPT).exists():
        return done
    with only_one(folder):
        if stands(cfg, done := record.read(folder)):  # another process has ended it meanwhile, or was killed at its end
            seal(folder)
            return done
        finished = done is not None and done["status"] in record.FINAL  # and stays until its data are there to go on
        try:
            data, task = build(cfg)
        except Exception as error:
            full, more = no_memory(error)
            if not finished:
                with torch.device("meta"):
                    Sitting(cfg, *build(cfg)).end("out_of_memory", more)
            raise OutOfMemory(f"Out of memory with the network ({full}): {NEEDS_LESS}") from None
        before = digests.of(configs.signed(cfg)["data"])
        try:
            data.setup()
        except NoData:
            if not finished:
                Sitting(cfg, data, task).end("no_data", {})
            raise
        except Exception as error:
            full, more = no_memory(error)
            if not finished:
                Sitting(cfg, data, task).end("out_of_memory", more)
            raise OutOfMemory(f"Out of memory with the data ({full}): {NEEDS_LESS}") from None
        # A store of stand-ins may have been made anew just now.
        if cfg.data.get("source") != "stand_in" and not digests.agree(before, data.digest()):
            raise UserError(f"The data of {folder.name} changed while they were read: start the same command again.")
        other = done and of_other_data(cfg, done)
        if other:
            log.warning("%s was trained on other data: it is set aside, and the run is trained anew.", folder)
        if other or cfg.machine.fresh:
            record.set_aside(folder)
        sitting = Sitting(cfg, data, task)
        if done and done["updates"] > task.update:  # it tells of a checkpoint that is gone
            for name in ("run.json", "curve.csv"):
                (folder / name).unlink(missing_ok=True)
        logger = listen(sitting)
        full, more = "", {}
        try:
            status, stop = fit(sitting, logger)
            if status == "finished":
                status, more = test(sitting)
        except Exception as error:  # a driver, a library or a compiler says it in a kind of its own
            full, more = no_memory(error)
            status, stop = "out_of_memory", 0
        reached = task.update
        where = {"status": status, "record": f"{cfg.machine.runs}/{sitting.signature}/run.json"}
        kept = None
        try:
            done = sitting.end(status, more)
            kept = folder if status == "finished" and logger and logger.keeps(sitting.parameters) else None
        finally:
            stop_listening(logger, more, task.update, task.chosen() | where, kept)
        if (word := how(task.network)) and word.startswith("eager: ") and word != OF_TORCH:
            log.warning("This run was trained without machine.compile=%s (%s).", cfg.machine.compile, word)
    if full:
        del data, task, sitting  # what they hold is the next run's
        free()
        raise OutOfMemory(f"Out of memory at update {reached} ({full}): {NEEDS_LESS}")
    if stop == signal.SIGINT:
        raise KeyboardInterrupt
    if stop == signal.SIGUSR2:
        signal.raise_signal(stop)  # submitit listens for it, too, and queues the job again if it may
    if stop:
        sys.exit(128 + stop)
    return done


def build(cfg: DictConfig) -> tuple[Data, Task]:
    """Data and task of a run, in a process made ready for it; the network's weights follow from the seed."""
    check(cfg)  # studies, benchmarks and other ranks come in here
    keep_pages()
    torch.set_num_threads(cfg.machine.threads)
    torch.set_flush_denormal(True)  # vanishing gradients are denormal numbers: fifteen times slower
    quiet_lightning()
    if cfg.trainer.precision not in PRECISIONS:
        raise UserError(f"trainer.precision must be {', '.join(PRECISIONS)}, not {cfg.trainer.precision!r}.")
    matrix_products(cfg.trainer.precision)
    pl.seed_everything(cfg.seed, verbose=False)
    data: Data = instantiate(cfg.data)
    data.eval_factor = cfg.machine.eval_factor
    network: Network = instantiate(cfg.model)
    network.save_memory = cfg.machine.save_memory
    clip_by = cfg.trainer.clip_by or "norm"
    if clip_by not in CLIP:
        raise UserError(f"trainer.clip_by must be {' or '.join(CLIP)}, not {clip_by!r}.")
    lstm = any(isinstance(module, torch.nn.LSTM) for module in network.modules())
    if lstm and cfg.trainer.precision == "bf16-mixed" and cfg.machine.accelerator == "cpu":
        raise UserError("Few CPUs have an LSTM in bf16: set trainer.precision=32-true (another run) or use a GPU.")
    task: Task = instantiate(cfg.task, network=network)
    task.clip, task.clip_by, task.bf16 = cfg.trainer.clip, clip_by, cfg.trainer.precision == "bf16-mixed"
    if task.carries_state and cfg.machine.devices > 1:
        raise UserError("This task carries its state from batch to batch, on one device: set machine.devices=1.")
    check_devices(cfg.machine.devices, cfg.machine.accelerator, data.batch_size)
    if cfg.machine.devices > 1:
        synchronise_batch_norm(task.network)
    if cfg.machine.compile is not None:
        if cfg.machine.devices > 1:
            raise UserError("machine.compile works on one device: leave machine.devices out, or machine.compile=null.")
        if cfg.machine.compile == "reduce-overhead":  # of older command lines
            log.warning("machine.compile=reduce-overhead is gone: with machine=gpu a whole update is a CUDA graph.")
        else:
            compile_(task.network, cfg.machine.compile)
    if cfg.machine.graph:
        graph_(task, data, cfg.machine.devices, cfg.machine.accelerator)
    task.together = cfg.machine.together
    return data, task


def fit(sitting: Sitting, logger: Logger | None) -> tuple[str, int]:
    """Train to the last update; returns the record's status, and the signal that stopped it or 0."""
    machine, task = sitting.cfg.machine, sitting.task
    if task.finished:
        return end_of(task), 0
    try:
        with Ranks(machine.devices, follow, sitting.cfg) as rank:
            max_time = seconds(sitting.cfg.trainer.max_time)
            checkpoint = Checkpoint(sitting.save, machine.checkpoint_seconds, max_time, agree=rank.agree)
            aside = [Aloud(sitting.say), *[UpdateBar()] * machine.progress]
            if every := getattr(logger, "every", None):
                aside.append(Dials(logger, every, sitting.data.batch_size))
            make_updates(sitting, rank, checkpoint, logger, aside)
    except Interrupted as interrupted:
        return "interrupted", interrupted.signal
    except Diverged:
        log.warning("The loss is not a number at update %s: the run ends as diverged.", task.update)
        return "diverged", 0
    sitting.save()
    return end_of(task), 0


def end_of(task: Task) -> str:
    """The status of a run whose updates are made: there is something to test if a validation was a number."""
    if task.best is None:
        log.warning("No validation was a number: the run ends as diverged.")
    return "finished" if task.best else "diverged"


def follow(rank: Rank, cfg: DictConfig) -> None:
    """What a rank above 0 does (``training.ranks``): the same updates from the same checkpoint, and not a word."""
    data, task = build(cfg)
    data.setup()
    sitting = Sitting(cfg, data, task)
    checkpoint = Checkpoint(lambda: None, math.inf, None, agree=rank.agree, hears=False)
    with contextlib.suppress(Interrupted, Diverged):
        make_updates(sitting, rank, checkpoint, None, [])


def make_updates(
    sitting: Sitting, rank: Rank, checkpoint: Checkpoint, logger: Logger | None, callbacks: list[pl.Callback]
) -> None:
    """Train from the update that the task is at to the last one, or until ``checkpoint`` stops it."""
    task, data = sitting.task, sitting.data
    with checkpoint:
        if not task.validated:  # a signal came in the midst of it
            validating = trainer(sitting.cfg, logger or False, callbacks=[checkpoint], **rank.options)
            validating.validate(task, datamodule=data, verbose=False)
        if not task.finished:
            # Lightning's epoch is the stretch to the next validation.
            options = rank.options | {"reload_dataloaders_every_n_epochs": 1}
            fitting = trainer(sitting.cfg, logger or False, callbacks=[checkpoint, *callbacks], **options)
            fitting.fit(task, datamodule=data)
    release(task)


def test(sitting: Sitting) -> tuple[str, dict[str, float]]:
    """The one look at the test data, with the weights that validation chose: the record's status, and the metrics.

    Where loss or metric is not a number, the run has diverged and there are none; any other is dropped by name.
    """
    task = sitting.task
    task.load_best()
    bars = [Aloud(sitting.say), *[UpdateBar()] * sitting.cfg.machine.progress]
    testing = trainer(sitting.cfg, callbacks=bars, **Rank().options)
    testing.test(task, datamodule=sitting.data, verbose=False)
    found = {name: float(value) for name, value in testing.callback_metrics.items()}
    for name in [name for name, value in found.items() if not math.isfinite(value)]:
        value = found.pop(name)
        if name in ("test/loss", f"test/{task.metric}"):
            log.warning("%s is %s: the run ends as diverged.", name, value)
            return "diverged", {}
        log.warning("%s is %s: the record is without it, and the rest stands.", name, value)
    return "finished", found


def trainer(cfg: DictConfig, logger: Logger | bool = False, **options: Any) -> pl.Trainer:
    """Lightning's Trainer without what this project does itself or does not want.

    Itself: updates with their precision and clipping, when to stop, checkpoints, bars. Not wanted: samplers.
    """
    return pl.Trainer(
        accelerator=cfg.machine.accelerator,
        logger=logger,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        max_epochs=-1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        inference_mode=False,  # batch-norm statistics are recomputed in there and used in training
        default_root_dir=files.ROOT / cfg.machine.runs,
        **options,
    )
