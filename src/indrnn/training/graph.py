"""A whole update as one CUDA graph: what a GPU computes for it is recorded once and replayed with one launch an update.

It is the task's own ``on_device`` that is recorded: loss, backward pass, clipping, Adam, the bound on u and the sums of
the training metrics. What changes from update to update are tensors that the graph reads where they were when it was
recorded: the batch, the state that is carried on, the rate, and the seed of torch's generator, from which dropout draws
the masks of (seed, update) that it draws without a graph. So a run has the same bits with graphs and without.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from indrnn.data import Data
from indrnn.errors import UserError
from indrnn.out_of_memory import out_of_memory
from indrnn.tasks import Task

WARM_UP = 3  # updates before it is recorded, in which libraries make what they need and Adam its state

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


class Graph:
    """``on_device`` of a task through a graph; see above.

    Updates that are not like the one that was recorded are made without: a batch of another shape, or one that
    ``Task.alike`` says is another kind. Where recording fails there is one warning, and training goes on without.

    Args:
        task: its own ``on_device`` is taken; ``word`` says what became of it, for the record.
        data: where its examples lie on the device, batches come as what was drawn, and are looked up in the graph.
        device: records and calls apart.
    """

    def __init__(self, task: Task, data: Data, device: Cuda):
        self.task, self.data, self.device, self.whole = task, data, device, task.on_device
        self.calls = self.replays = 0
        self.shapes: list[Any] | None = None
        self.replay: Callable[[], None] | None = None
        self.result: Any = None
        self.word = "true"
        self.gradients: list[tuple[Tensor, Tensor]] = []  # parameters, and where a replay leaves theirs

    def eager(self, batch: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        return self.whole(self.data.look_up(*batch) if self.data.drawn_only else batch)

    def __call__(self, batch: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        """One update, as ``Task.on_device``; what it returns is overwritten by the next."""
        if self.word != "true" or not self.task.alike(batch) or self.shapes not in (None, shapes(batch)):
            return self.eager(batch)
        self.shapes = shapes(batch)
        if self.calls < WARM_UP:
            self.calls += 1
            return self.device.apart(lambda: self.eager(batch))
        if self.replay is None and not self._record(batch):
            return self.eager(batch)
        return self._replay(batch)

    def close(self) -> None:
        """Give back the memory of the graph; another update would record it again."""
        self.replay = self.result = None
        self.gradients = []

    def _record(self, batch: tuple[Any, ...]) -> bool:
        task, carried = self.task, self.task.carried
        self.batch = [copy_of(x) for x in batch]
        start, self.tree = tree_flatten(carried)
        self.state = [copy_of(x) for x in start]

        def update() -> tuple[Tensor, Tensor]:
            task.carried = tree_unflatten(self.state, self.tree)
            result = self.eager(tuple(self.batch))
            end = tree_flatten(task.carried)[0]
            fill(self.state, end)
            self.steps = [x - first if isinstance(x, int) else 0 for x, first in zip(end, start, strict=True)]
            return result

        try:
            self.result, self.replay = self.device.record(update)
        except Exception as error:  # whatever a driver or an operator that cannot be recorded raises
            if out_of_memory(error):
                raise
            reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
            self.word = f"eager: {reason}"
            log.warning("The update could not be recorded as a graph (%s): the run goes on without, slower.", reason)
        task.carried = carried
        self.gradients = [(p, p.grad) for p in task.network.parameters() if p.grad is not None]
        return self.replay is not None

    def _replay(self, batch: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        before = tree_flatten(self.task.carried)[0]
        fill(self.batch, batch)
        fill(self.state, before)
        self.replay()
        self.replays += 1
        # A validation takes them off, and an update without a graph puts its own there.
        if any(p.grad is not gradient for p, gradient in self.gradients[:1]):
            for p, gradient in self.gradients:
                p.grad = gradient
        # A position (FrameBatchNorm) decides nothing in training; it goes on from where it was.
        places = zip(self.state, before, self.steps, strict=True)
        after = [b + step if isinstance(x, int) else x for x, b, step in places]
        self.task.carried = tree_unflatten(after, self.tree)
        return self.result


def graph_(task: Task, data: Data, devices: int, accelerator: str = "gpu") -> None:
    """Let the updates of a task go through a graph; where that cannot be, ``word_of`` has the reason.

    Raises:
        UserError: there is no GPU, or the run is for a CPU.
    """
    graph = Graph(task, data, Cuda(accelerator))
    if devices > 1:
        graph.word = "eager: several devices"
    elif data.regular_len is None:
        graph.word = "eager: pieces of many lengths"
    task.on_device, data.recorded = graph, graph.word == "true"


def release(task: Task) -> None:
    """Give back what ``graph_`` made, when the last update is made: the test needs memory, too."""
    if isinstance(task.on_device, Graph):
        task.on_device.close()


def word_of(task: Task) -> str | None:
    """What became of ``graph_``: "true", "eager: " and the reason, or None where it was not called."""
    return getattr(task.on_device, "word", None)


def shapes(batch: tuple[Any, ...]) -> list[Any]:
    return [(x.shape, x.dtype) if isinstance(x, Tensor) else x for x in batch]


def copy_of(x: Any) -> Any:
    return x.clone() if isinstance(x, Tensor) else x


def fill(mine: list[Any], given: Any) -> None:
    """Copy the tensors of ``given`` to where a graph reads them."""
    for to, new in zip(mine, given, strict=True):
        if isinstance(to, Tensor) and to is not new:
            to.copy_(new, non_blocking=True)
