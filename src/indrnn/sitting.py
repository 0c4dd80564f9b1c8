"""One sitting of a run: from a start or a checkpoint until it ends, is stopped or killed."""

import contextlib
import ctypes
import errno
import fcntl
import io
import logging
import os
import platform
import sys
import time
import warnings
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from indrnn import record
from indrnn.errors import UserError
from indrnn.tasks import Task

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # some shared file systems

log = logging.getLogger(__name__)


class Sitting:
    """Takes up a run's checkpoint, if there is one, and keeps what the record says of time and place.

    Args:
        folder: of the run.
        signature: of the run; a checkpoint of another one is refused.
        task: takes up the state of the checkpoint.
    """

    def __init__(self, folder: Path, signature: str, task: Task):
        self.path, self.signature, self.task = folder / "last.ckpt", signature, task
        self.began = time.monotonic()
        past = self._load()
        self.started = past.get("started", datetime.now(UTC).isoformat(timespec="seconds"))
        self.wall_seconds = past.get("wall_seconds", 0.0)
        self.code = record.code()
        if past:
            task.load_state(past["task"])
            for key in ("commit", "source"):  # two codes trained one run: say so
                if past["code"][key] != self.code[key]:
                    self.code[key] = f"{past['code'][key]}+{self.code[key]}"
            self.code["dirty"] |= past["code"]["dirty"]

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "signature": self.signature,
            "started": self.started,
            "wall_seconds": self.elapsed(),
            "code": self.code,
            "task": self.task.state(),
        }
        save_tensors(self.path, state)

    def elapsed(self) -> float:
        """Seconds of all sittings together."""
        return self.wall_seconds + time.monotonic() - self.began

    def provenance(self) -> dict[str, Any]:
        """The record's commit, source, dirty, versions, started, wall_seconds."""
        return {**self.code, "started": self.started, "wall_seconds": round(self.elapsed(), 2)}

    def end(self, done: dict[str, Any]) -> None:
        """Write the record; of a run that needs no further sitting keep the chosen weights and drop the checkpoint."""
        folder = self.path.parent
        final = done["status"] in record.FINAL
        if final and self.task.best:
            save_tensors(folder / "weights.pt", self.task.best["network"])
        record.write(folder, done, self.task.curve)
        if final:
            self.path.unlink(missing_ok=True)

    def _load(self) -> dict[str, Any]:
        if not self.path.exists():
            return {}
        try:
            check(self.path)
            past = torch.load(self.path, weights_only=True)
        except Exception as error:  # a damaged file raises whatever the unpickler meets first
            log.warning("%s is damaged (%s): the run starts from the beginning.", self.path, type(error).__name__)
            return {}
        if past["signature"] != self.signature:
            log.warning("%s belongs to another run: this one starts from the beginning.", self.path)
            return {}
        if shapes(past["task"]["task"]) != shapes(self.task.state_dict()):
            log.warning("%s was written by other code: the run starts from the beginning.", self.path)
            return {}
        return past


def save_tensors(path: Path, state: dict[str, Any]) -> None:
    """torch.save, whole or not at all; through memory, because on a full disk torch loses the reason of its error."""
    content = io.BytesIO()
    torch.save(state, content)
    record.replace_whole(path, lambda part: part.write_bytes(content.getbuffer()))


def check(path: Path) -> None:
    """Compare a checkpoint with the checksums that torch writes into it but does not read: it is a zip archive.

    Raises:
        zipfile.BadZipFile: it is not what was written.
    """
    with zipfile.ZipFile(path) as archive:
        if name := archive.testzip():
            raise zipfile.BadZipFile(f"{name} differs from its checksum")


def shapes(state: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a run's folder, rid of what a killed process was writing; the lock ends with the process in any case.

    Raises:
        UserError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder} is being trained by another process: wait for it, or stop it.") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            log.warning("The file system of %s has no locks: do not start one run twice at the same time.", folder)
        else:
            record.remove_parts(folder)
        yield


def quiet_lightning() -> None:
    """Leave out Lightning's greetings and tips, and two warnings that do not hold here."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Batches are made from arrays in memory in well under a millisecond; worker processes would only slow that down.
    warnings.filterwarnings("ignore", message=".*does not have many workers which may be a bottleneck.*")
    # Lightning 2.6 calls a function of torch that goes on to work under another name; nothing of ours is concerned.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*", category=FutureWarning)


def keep_pages() -> None:
    """Let glibc keep freed memory: fresh pages for every large tensor cost up to a third of an update."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
                libc.mallopt(parameter, 1 << 30)


def device_name(accelerator: str, count: int = 1) -> str:
    """What the run was computed on, in words."""
    if count > 1:
        return f"{count} {'GPUs' if accelerator in ('gpu', 'cuda') else 'processes'}: {device_name(accelerator)}"
    if accelerator in ("gpu", "cuda"):
        return torch.cuda.get_device_name()
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()} ({os.cpu_count()} cores)"
    return f"{platform.processor() or platform.machine()} ({os.cpu_count()} cores)"
