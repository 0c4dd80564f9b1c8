"""The processes that turn raw files into sequences. They import neither torch nor what takes long.

Shapes: F frames.
"""

import multiprocessing.connection
import multiprocessing.resource_tracker
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from indrnn.data.ntu.bodies import STEPS, to_sequence
from indrnn.data.ntu.names import Name
from indrnn.data.ntu.skeleton import Refused, parse
from indrnn.data.ntu.sources import ENDING, Source
from indrnn.errors import UserError

CHUNK = 16  # files that a process gets at a time

Results = Iterator[np.ndarray | str]


def convert(source: Source, steps: list[str], name: str) -> np.ndarray | str:
    """One recording as (F, 2, 25, 3), or the reason why it is refused."""
    try:
        Name.of(name.removesuffix(ENDING))
        bodies = parse(source.read(name), name)
        if not bodies:
            raise Refused(f"{name}, line 1: no frame has a body.")
        return to_sequence(bodies, **{step: step in steps for step in STEPS})
    except (UserError, OSError) as error:
        return str(error)


_given: tuple = ()  # source and steps, in a worker


def _begin(source: Source, steps: list[str]) -> None:
    """In a worker, once: a source knows tens of thousands of names, too many to come with every chunk."""
    global _given
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _given = source, steps


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for its next chunk for ever."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _convert_all(names: list[str]) -> list[np.ndarray | str]:
    return [convert(*_given, name) for name in names]


def _submit(pool: ProcessPoolExecutor, chunk: list[str]) -> Future:
    """Ctrl-C is held back from the workers, which start here; it would hit them while they import."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_convert_all, chunk)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def in_order(source: Source, steps: list[str], names: list[str], jobs: int) -> Results:
    """``convert`` of all, in their order; at most four chunks a process are on their way."""
    if jobs == 1:
        yield from (convert(source, steps, name) for name in names)
        return
    chunks = (names[i : i + CHUNK] for i in range(0, len(names), CHUNK))
    context = multiprocessing.get_context("spawn")  # a fork would take locks along whose threads it leaves behind
    multiprocessing.resource_tracker.ensure_running()  # where it starts later, it lets signals through again
    with ProcessPoolExecutor(jobs, context, _begin, (source, steps)) as pool:
        try:
            waiting: deque = deque()
            for chunk in chunks:
                waiting.append(_submit(pool, chunk))
                if len(waiting) > 4 * jobs:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool:
            raise UserError("A process that read files was killed: start the same command, it goes on.") from None
        finally:
            pool.shutdown(cancel_futures=True)
