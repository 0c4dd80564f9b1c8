"""How a GPU records what a function asks of it, to be replayed with one launch: CUDA graphs, and what fails of them."""

import logging
from collections.abc import Callable
from typing import Any

import torch

from indrnn.errors import UserError
from indrnn.out_of_memory import out_of_memory

log = logging.getLogger(__name__)


class Cuda:
    """How a GPU records; tests give another that calls instead.

    Args:
        accelerator: of the run. What a CPU computes is not recorded, whether or not there is a GPU: replays of it would
            do nothing.
    """

    def __init__(self, accelerator: str = "gpu"):
        if accelerator not in ("gpu", "cuda") or not torch.cuda.is_available():
            raise UserError("machine.graph needs a GPU: leave it out, or use machine=gpu.")
        self.stream = torch.cuda.Stream()

    def apart(self, function: Callable[[], Any]) -> Any:
        """Call it where it will be recorded: on a stream of its own, which no one else waits for."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            result = function()
        torch.cuda.current_stream().wait_stream(self.stream)
        return result

    def record(self, function: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        """What the function returns, which is there after each call of the second: a replay."""
        graph, stream, reason = torch.cuda.CUDAGraph(), torch.cuda.current_stream(), None
        try:
            # Other threads may go on meanwhile: W&B's, or one that makes batches.
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                try:
                    result = function()
                except Exception as error:
                    reason = error  # the end of the recording may fail of it, too, and says less
                    raise
        except Exception as error:
            as_before(stream)
            raise reason or error from None
        return result, graph.replay


def as_before(stream: torch.cuda.Stream) -> None:
    """Undo what a recording that failed leaves behind: its stream is the current one, and some is drawn already."""
    torch.cuda.set_stream(stream)
    # Torch 2.11 takes this state of its generator for one that is recorded, and refuses to draw: a copy is not.
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    generator.graphsafe_set_state(generator.clone_state())
    torch.manual_seed(torch.initial_seed())


class CannotRecord(Exception):
    """Why not, in a line; it was said."""


def recorded(device: Cuda, function: Callable[[], Any], what: str) -> tuple[Any, Callable[[], None]]:
    """As ``Cuda.record``; where that fails there is one warning.

    Raises:
        CannotRecord: it failed. Where memory ran out, that error is raised.
    """
    try:
        return device.record(function)
    except Exception as error:  # whatever a driver or an operator that cannot be recorded raises
        if out_of_memory(error):
            raise
        reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
        log.warning("%s could not be recorded as a graph (%s): the run goes on without, slower.", what, reason)
        raise CannotRecord(reason) from None
