"""A call as a CUDA graph: what it costs a GPU when Python launches none of its kernels."""

from collections.abc import Callable
from typing import Any

from indrnn.training.graph import WARM_UP, Cuda

MODES = ("eager", "graph")


def recorded(call: Callable[[], Any]) -> Callable[[], None]:
    """Replays of a graph that is recorded after some calls, in which libraries make what they need."""
    recorder = Cuda()

    def once() -> tuple[()]:
        call()
        return ()

    for _ in range(WARM_UP):
        recorder.apart(once)
    return recorder.record(once)[1]


def as_mode(call: Callable[[], Any], mode: str) -> Callable[[], Any]:
    """The call itself if ``mode`` is eager, its replays if it is graph."""
    return recorded(call) if mode == "graph" else call
