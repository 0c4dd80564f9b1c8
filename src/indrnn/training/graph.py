"""A whole update as one CUDA graph: what a GPU computes for it is recorded once and replayed with one launch an update.

It is the task's own ``on_device`` that is recorded: loss, backward pass, clipping, Adam, the bound on u and the sums of
the training metrics. What changes from update to update are tensors that the graph reads where they were when it was
recorded: the batch, the state that is carried on, the rate, and the seed of torch's generator, from which dropout draws
the masks of (seed, update) that it draws without a graph. So a run has the same bits with graphs and without.

The statistics of batch norm that a validation needs are another graph, of the task's ``take_statistics``.
"""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from indrnn.data import Data
from indrnn.layers.norm_dropout import batch_norms
from indrnn.tasks import Task
from indrnn.training.recording import CannotRecord, Cuda, recorded

WARM_UP = 3  # updates before it is recorded, in which libraries make what they need and Adam its state


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
            self.result, self.replay = recorded(self.device, update, "The update")
        except CannotRecord as reason:
            self.word = f"eager: {reason}"
        else:
            self.gradients = [(p, p.grad) for p in task.network.parameters() if p.grad is not None]
        task.carried = carried
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


class Statistics:
    """``take_statistics`` of a task through a graph; see above.

    The batches are the same in every call: they are made once, before anything is recorded, and kept, as the graph
    reads them where they are. Weights and statistics only ever change in place. The first call is made apart, the
    second is recorded; a replay leaves the network as the call does, in eval mode with its statistics, and nothing else
    of what Python does in there outlives the call. Without a graph are: networks without batch norm, batches that are
    sent to the device, a run whose updates are not recorded, a validation before the examples lie where it trains.

    Args:
        updates: those of the same run; task, data and device are theirs.
    """

    def __init__(self, updates: Graph):
        self.updates, self.whole = updates, updates.task.take_statistics
        self.batches: list[tuple[Tensor, ...]] | None = None
        self.replay: Callable[[], None] | None = None
        self.replays = 0
        self.failed = False

    def __call__(self, batches: Iterable[tuple[Tensor, ...]]) -> None:
        task, data = self.updates.task, self.updates.data
        there = data.drawn_only and data.device == task.device
        if self.failed or self.updates.word != "true" or not there or not batch_norms(task.network):
            return self.whole(batches)
        if self.batches is None:
            self.batches = list(batches)
            return self.updates.device.apart(lambda: self.whole(self.batches))
        try:
            if self.replay is None:
                what = "The statistics of batch norm"
                self.replay = recorded(self.updates.device, lambda: self.whole(self.batches), what)[1]
        except CannotRecord:
            self.failed, self.batches = True, None
            return self.whole(batches)
        self.replay()
        self.replays += 1
        task.network.eval()


def graph_(task: Task, data: Data, devices: int, accelerator: str = "gpu") -> None:
    """Let updates and statistics of a task go through graphs; where that cannot be, ``word_of`` has the reason.

    Raises:
        UserError: there is no GPU, or the run is for a CPU.
    """
    graph = Graph(task, data, Cuda(accelerator))
    if devices > 1:
        graph.word = "eager: several devices"
    elif data.regular_len is None:
        graph.word = "eager: pieces of many lengths"
    task.on_device, data.recorded = graph, graph.word == "true"
    task.take_statistics = Statistics(graph)


def release(task: Task) -> None:
    """Give back what ``graph_`` made, when the last update is made: the test needs memory, too.

    It takes its statistics without a graph, as the network has been moved meanwhile.
    """
    if isinstance(task.on_device, Graph):
        task.on_device.close()
        del task.take_statistics


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
