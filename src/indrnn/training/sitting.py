"""One sitting of a run: from a start or a checkpoint until it ends, is stopped or killed."""

import logging
import time
import warnings
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from indrnn import checksums, configs, digests, files, predictions, progress, provenance, record
from indrnn.data import Data
from indrnn.errors import OutOfMemory, UserError
from indrnn.machine import device_name, on_the_card
from indrnn.out_of_memory import out_of_memory
from indrnn.recurrence.choice import replaced
from indrnn.tasks import Task
from indrnn.training import checkpoint
from indrnn.training.compiled import how
from indrnn.training.graph import word_of
from indrnn.training.own_code import code_files
from indrnn.training.tensors import load_tensors, save_tensors, set_aside

SPAN = ("updates", "seconds", "examples_a_second", "peak_bytes", "on_the_card")  # of a sitting: how it went

CKPT = "last.ckpt"

log = logging.getLogger(__name__)


class Sitting:
    """One sitting of a run: its data and task, its checkpoints, and the record that it writes.

    Args:
        cfg: of the run.
        data, task: as built from it, the data set up; the task takes up the checkpoint, if there is one for these data.
    """

    def __init__(self, cfg: DictConfig, data: Data, task: Task):
        self.cfg, self.data, self.task = cfg, data, task
        self.config, self.folder = configs.signed(cfg), folder_of(cfg)
        self.path, self.signature = self.folder / CKPT, self.folder.name
        self.device = device_name(cfg.machine.accelerator, cfg.machine.devices)
        self.began, self.on_a_gpu = time.monotonic(), cfg.machine.accelerator in ("gpu", "cuda")
        if self.on_a_gpu:
            torch.cuda.reset_peak_memory_stats()
        self.digest = data.digest()
        past = self._load()
        self.started = past.get("started", datetime.now(UTC).isoformat(timespec="seconds"))
        self.wall_seconds = past.get("wall_seconds", 0.0)
        self.here = provenance.code()
        self.code = self.here | code_files(cfg)
        self.before: list[dict[str, Any]] = []
        if past:
            self.before = past.get("sittings", [untold(past)])
            for key in ("commit", "source"):  # two codes trained one run: say so
                earlier = past["code"][key]
                self.code[key] = earlier if earlier.split("+")[-1] == self.here[key] else f"{earlier}+{self.here[key]}"
            self.code["dirty"] |= past["code"]["dirty"]
        self.first = task.update
        self.overrides = record.told(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
        self.hold()

    def hold(self) -> None:
        """Remember what the checkpoint holds: the record of a run that is to go on says that, and no more."""
        self.held = {"update": self.task.update, "metrics": self.task.chosen(), "curve": list(self.task.curve)}

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "signature": self.signature,
            "data": self.digest,
            "started": self.started,
            "wall_seconds": self.elapsed(),
            "code": self.code,
            "sittings": self.sittings(self.task.update),
            "task": self.task.state(),
        }
        save_tensors(self.path, state)
        self.hold()

    def say(self) -> None:
        """Tell who looks on how far the run is, which has no record yet."""
        note = {"overrides": self.overrides, "config": self.config, "updates": self.task.update}
        progress.write(self.folder, note | {"metrics": self.task.chosen(), "seconds": self.elapsed()})

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.task.network.parameters())

    def elapsed(self) -> float:
        """Seconds of all sittings together."""
        return self.wall_seconds + time.monotonic() - self.began

    def sittings(self, update: int) -> list[dict[str, Any]]:
        """Where this run was made up to an update: one entry for sittings in a row on one device with one code."""
        now = {key: self.here[key] for key in ("commit", "source", "versions")} | {"device": self.device}
        if compiled := how(self.task.network):
            now["compile"] = compiled
        if graph := word_of(self.task):
            now["graph"] = graph
        if replaced:  # the numbers are those of a slower backend: the same to rounding
            now["replaced"] = sorted(replaced)
        first, seconds, before = self.first, time.monotonic() - self.began, self.before
        if before and now == {key: value for key, value in before[-1].items() if key not in SPAN}:
            *before, last = before
            first, seconds = last["updates"][0], seconds + last["seconds"]
        rate = (update - first) * self.data.batch_size / seconds
        span = {"updates": [first, update], "seconds": round(seconds, 2), "examples_a_second": round(rate, 1)}
        if self.on_a_gpu:
            span |= {"peak_bytes": torch.cuda.max_memory_allocated(), "on_the_card": on_the_card()}
        return [*before, now | span]

    def end(self, status: str, metrics: dict[str, float]) -> dict[str, Any]:
        """Write the record and return it; of a run that needs no further sitting keep weights and no checkpoint.

        What goes on later goes on from the checkpoint: memory may have run out long after it was written. SHA256SUMS,
        written last, covers what is kept; a run that is not final has none.

        Args:
            metrics: but for the validation that chose the weights, which the task knows.

        Raises:
            UserError: the run is over, and its data are others than those that it began with. There is no record then,
                and the next start trains anew, because the checkpoint is of other data, too.
        """
        task, final = self.task, status in record.FINAL
        if final and not digests.agree(self.digest, now := self.data.digest()):
            raise UserError(
                f"The data of {self.signature} changed while it was trained (digest {self.digest} at the start, {now} "
                "at the end): nothing is recorded, and the same command trains it anew."
            )
        if final:
            self.hold()
        update = self.held["update"]
        done = {
            "signature": self.signature,
            "overrides": self.overrides,
            "config": self.config,
            "seed": self.cfg.seed,
            "metrics": self.held["metrics"] | metrics,
            "status": status,
            "parameters": self.parameters,
            "updates": update,
            "examples": update * self.data.batch_size,
            "data": self.data.describe() | ({"digest": self.digest} if self.digest else {}),
            **self.code,
            "device": self.device,
            "started": self.started,
            "wall_seconds": round(self.elapsed(), 2),
            "sittings": self.sittings(update),
        }
        sums = self.folder / checksums.NAME
        sums.unlink(missing_ok=True)  # of an earlier end
        if final and task.best:
            save_tensors(self.folder / "weights.pt", task.best["network"])
        elif final:
            (self.folder / "weights.pt").unlink(missing_ok=True)  # of an earlier end
        if final:
            predictions.write(self.folder, task.predictions() if status == "finished" else None)
        record.write(self.folder, done, self.held["curve"])
        progress.forget(self.folder)
        if final:
            seal(self.folder)
        return done

    def _load(self) -> dict[str, Any]:
        """The checkpoint, which the task takes up; what cannot be gone on with is set aside, and nothing returned."""
        if not self.path.exists():
            return {}
        try:
            past = load_tensors(self.path)
            problem = checkpoint.problem(past, self.signature, self.digest, self.task, self.data.batch_size)
        except Exception as error:  # a damaged file raises whatever the unpickler meets first
            if out_of_memory(error):  # it may be whole
                words = "fewer runs at once need less; the same command tries again."
                raise OutOfMemory(f"Out of memory with the checkpoint {self.path}: {words}") from None
            problem = f"is damaged ({type(error).__name__})"
        if problem:
            aside = set_aside(self.path)
            log.warning("%s %s: it is kept as %s, and the run starts from the beginning.", self.path, problem, aside)
            return {}
        self.task.load_state(past["task"])
        return past


def seal(folder: Path) -> None:
    """What a final record is followed by: SHA256SUMS of all that is kept, and no checkpoint any more."""
    kept = [name for name in record.FILES if (folder / name).exists()]
    files.write_whole(folder / checksums.NAME, checksums.text(folder, kept))
    (folder / CKPT).unlink(missing_ok=True)


def folder_of(cfg: DictConfig) -> Path:
    """Where a run's record and checkpoint are."""
    return files.ROOT / cfg.machine.runs / configs.signature(configs.signed(cfg))


def stands(cfg: DictConfig, done: dict[str, Any] | None) -> bool:
    """Whether a run need not be trained: its record is final, of today's data, and nobody asks for it anew."""
    return bool(done) and done["status"] in record.FINAL and not cfg.machine.fresh and not of_other_data(cfg, done)


def of_other_data(cfg: DictConfig, done: dict[str, Any]) -> bool:
    return not digests.agree(digests.of_record(done), digests.of(configs.signed(cfg)["data"]))


def untold(past: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint without sittings, of an earlier version, tells of those before."""
    told = {key: past["code"][key] for key in ("commit", "source", "versions")}
    span = {"updates": [0, past["task"]["update"]], "seconds": round(past["wall_seconds"], 2)}
    return told | {"device": "a device that was not written down"} | span


def only_one(folder: Path) -> AbstractContextManager[TextIO]:
    """Hold a run's folder, rid of what a killed process was writing.

    Raises:
        UserError: another process holds it.
    """
    busy = UserError(f"{folder} is being trained by another process: wait for it, or stop it.")
    return files.lock(folder / "lock", lambda _: busy, tidy=True)


def quiet_lightning() -> None:
    """Leave out Lightning's greetings and tips, and warnings that do not hold here."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Batches are made from arrays in memory in well under a millisecond; worker processes would only slow that down.
    warnings.filterwarnings("ignore", message=".*does not have many workers which may be a bottleneck.*")
    # Lightning 2.6 calls a function of torch that goes on to work under another name; nothing of ours is concerned.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*", category=FutureWarning)
    # Its advice is no word of ours: that is machine=gpu.
    warnings.filterwarnings("ignore", message="GPU available but not used")
