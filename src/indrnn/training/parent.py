"""A worker that a launcher such as joblib started ends with its sweep, whatever ended that: kill -9 tells nobody."""

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator

LOOK, PATIENCE = 1.0, 600.0  # seconds: between two looks at the parent; for a run to write its checkpoint

_idle = threading.Event()


@contextlib.contextmanager
def ends_with_its_parent() -> Iterator[None]:
    """A run in here stops as at SIGTERM once the process that started this one is gone, and this process then ends.

    So does a worker between two runs. A process that a user or a cluster's queue started is nobody's worker.
    """
    parent, name = multiprocessing.parent_process(), multiprocessing.current_process().name
    # A fork of a worker is nobody's; joblib's own worker may have lost its parent before it came here.
    if parent is not None and (os.getppid() == parent.pid or name.startswith("LokyProcess")):
        _idle.clear()
        _watch(parent.pid)
    try:
        yield
    finally:
        _idle.set()


@functools.cache
def _watch(parent: int) -> None:
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    if not _idle.is_set():
        os.kill(os.getpid(), signal.SIGTERM)  # which ends what is not yet, or no longer, training
        _idle.wait(PATIENCE)
    os._exit(1)
