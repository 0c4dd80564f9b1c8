"""Statistics of batch norm as one graph: as called, replayed, old, failed, given back; and that they wait for nothing.

That runs have the same bits with it and without, also after a kill, stands in test_graph.
"""

import gc
import itertools
import weakref

import pytest
import torch
from test_graph import GRAPH, MODELS, NUMBERLESS, WITHOUT, Called, called, made_up, taken  # noqa: F401, fixtures
from test_run import DIGITS, SMALL, rows_of
from test_sitting import LANGUAGE
from torch._subclasses.fake_tensor import DataDependentOutputException

from indrnn import configs
from indrnn.errors import OutOfMemory
from indrnn.layers import few_passes
from indrnn.layers.norm_dropout import FrameBatchNorm, batch_norms
from indrnn.networks import PlainIndRNN
from indrnn.tasks import Task
from indrnn.training import graph, run
from indrnn.training.run import train

DEVICES = [torch.device("cpu"), *[torch.device("cuda", 0)] * torch.cuda.is_available()]
OFTEN = (*DIGITS, "trainer.val_every=3")  # four validations
NETWORKS = {
    "digits": DIGITS,
    "digits, residual": (*DIGITS, "model=res_indrnn", "model.num_layers=3"),
    "carried state": LANGUAGE,
    "carried state, frame-wise": (*LANGUAGE, "recipe.frame_wise=true"),
}


def statistics(task: Task) -> list[torch.Tensor]:
    return [buffer.clone() for norm in batch_norms(task.network) for buffer in norm.buffers()]


@torch.no_grad()
def change_(task: Task, by: float) -> None:
    """As an update does: weights in place, statistics on their way, the network in training mode."""
    for number, parameter in enumerate(task.network.parameters()):
        steps = torch.arange(parameter.numel(), device=parameter.device)
        parameter.add_(by * torch.sin(steps + number).view_as(parameter))
    for norm in batch_norms(task.network):
        norm.running_mean.add_(by)
    task.network.train()


@pytest.mark.parametrize("where", DEVICES, ids=str)
@pytest.mark.parametrize("words", NETWORKS.values(), ids=NETWORKS)
def test_a_call_a_recording_and_replays_have_the_bits_of_calls(config, monkeypatch, taken, words, where):  # noqa: F811
    if where.type == "cpu":
        monkeypatch.setattr(graph, "Cuda", Called)
    (data, eager), (mine, task) = run.build(config(*words)), run.build(config(*words, GRAPH))
    for examples, network in ((data, eager), (mine, task)):
        examples.setup()
        examples.lie_on(where)
        network.to(where)
    for call in range(4):
        change_(eager, 0.01), change_(task, 0.01)
        eager.take_statistics(data.calibration_batches(40))
        task.take_statistics(mine.calibration_batches(40) if call < 1 else pytest.fail)  # no batch is made again
        for one, other in zip(statistics(eager), statistics(task), strict=True):
            assert torch.equal(one, other)
        assert taken[0].replays == max(0, call) and not any(module.training for module in task.network.modules())
    frame_wise = [isinstance(norm, FrameBatchNorm) for norm in batch_norms(task.network)]
    assert frame_wise and all(frame_wise) is ("recipe.frame_wise=true" in words)


@pytest.fixture
def of_statistics(monkeypatch, called):  # noqa: F811
    """Lets the recording of statistics, and not that of updates, do something else."""

    def instead(other):
        record = Called.record
        monkeypatch.setattr(
            Called, "record", lambda self, f: other(f) if "Statistics" in f.__qualname__ else record(self, f)
        )

    return instead


@pytest.mark.parametrize("again", [False, True], ids=["not made", "of old weights"])
def test_statistics_that_are_not_those_of_the_weights_are_found_out(config, tmp_path, taken, of_statistics, again):  # noqa: F811
    """The control of what test_graph compares: only the first replay computes anything."""
    eager, cfg = config(*OFTEN, f"machine.runs={tmp_path / 'eager'}"), config(*OFTEN, GRAPH)
    train(eager)

    def once(function):
        found = []

        def replay():
            buffers = [buffer for norm in batch_norms(taken[0].updates.task.network) for buffer in norm.buffers()]
            if not found:
                function()
                found.extend(buffer.clone() for buffer in buffers)
            elif again:
                for buffer, old in zip(buffers, found, strict=True):
                    buffer.copy_(old)

        return None, replay

    of_statistics(once)
    train(cfg)
    (*first, third, _), found = rows_of(eager)[1:], rows_of(cfg)[1:]
    assert first == found[:2] and third != found[2] and taken[0].replays == 3


def test_where_recording_fails_on_the_way_the_run_goes_on_without_and_says_so(
    config, tmp_path, monkeypatch, called, taken, of_statistics, caplog  # noqa: F811
):  # fmt: skip
    eager, cfg = config(*OFTEN, f"machine.runs={tmp_path / 'eager'}"), config(*OFTEN, GRAPH)
    expected = train(eager)

    def fails(function):
        features, calls = PlainIndRNN.features, []

        def features_(*arguments):
            calls.append(arguments)
            if len(calls) == 3:
                raise RuntimeError("operation not permitted when stream is capturing\nmore")
            return features(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(PlainIndRNN, "features", features_)
            function()

    of_statistics(fails)
    done = train(cfg)
    assert done["metrics"] == expected["metrics"] and rows_of(cfg) == rows_of(eager)
    assert taken[0].failed and not taken[0].replays and taken[0].batches is None
    assert done["sittings"][0]["graph"] == "true" and called[0].replays, "which is about updates"
    words = "(RuntimeError: operation not permitted when stream is capturing): the run goes on without, slower."
    assert caplog.text.count("The statistics of batch norm could not be recorded as a graph " + words) == 1


def test_memory_that_runs_out_in_the_recording_is_that(config, of_statistics, caplog):
    def full(function):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    of_statistics(full)
    with pytest.raises(OutOfMemory, match="at update 6 .asked for 2 GiB."):
        train(config(*OFTEN, GRAPH))
    assert "could not be recorded" not in caplog.text


def test_before_the_test_all_is_given_back(config, called, monkeypatch):  # noqa: F811
    made, tested = [], []
    init, start = graph.Statistics.__init__, Task.on_test_start

    def tests(task):
        gc.collect()  # here the replay is a function that holds what it was made of
        tested.append(made[0]())
        start(task)

    monkeypatch.setattr(graph.Statistics, "__init__", lambda self, g: init(self, g) or made.append(weakref.ref(self)))
    monkeypatch.setattr(Task, "on_test_start", tests)
    train(config(*OFTEN, GRAPH))
    assert tested == [None], "nobody holds graph and batches any more"


@pytest.mark.parametrize("change", ["word", "place", "sent", "norm"])
def test_without_what_it_takes_there_is_no_graph(config, called, taken, monkeypatch, change):  # noqa: F811
    """Updates that could not be recorded; a validation before the examples have moved; batches sent; no batch norm."""
    data, task = run.build(config(*(SMALL if change == "norm" else DIGITS), GRAPH))
    data.setup()
    if change == "word":
        called[0].word = "eager: RuntimeError: no"
    elif change == "place":
        data.device = data.asked = torch.device("meta")
    elif change == "sent":
        data.asked = torch.device("meta")
    seen = []
    monkeypatch.setattr(taken[0], "whole", seen.append)
    monkeypatch.setattr(Called, "apart", None)
    for _ in range(3):
        task.take_statistics("as they come")
    assert seen == ["as they come"] * 3 and taken[0].replay is taken[0].batches is None


# On a GPU, where to look at a number is to wait for it

PAIRS = [
    pair for pair in itertools.product(sorted(p.stem for p in (configs.CONF / "experiment").glob("*.yaml")), MODELS)
]
PAIRS = [pair for pair in PAIRS if pair not in WITHOUT] + [("quick/ntu_cs", "indrnn"), ("quick/ptb_char", "indrnn")]


def numberless(cfg) -> Task:
    """A task whose tensors hold no numbers; torch knows those that begin as one number, such as counts of batches."""
    task = run.build(cfg)[1]
    for norm in batch_norms(task.network):
        norm.num_batches_tracked = torch.zeros(norm.num_batches_tracked.shape, dtype=torch.long)
    return task


@pytest.mark.parametrize("experiment, model", PAIRS)
def test_no_statistics_wait_for_numbers(config, monkeypatch, experiment, model):
    monkeypatch.setattr(few_passes, "serve", lambda *_: False)  # a way of CPUs
    cfg, read = config(f"experiment={experiment}", f"model={model}"), []
    with NUMBERLESS:
        task = numberless(cfg)
        monkeypatch.setattr(
            task, "calibrating", lambda batch: read.append(batch) or type(task).calibrating(task, batch)
        )
        task.take_statistics(batch[:2] for batch in made_up(cfg))
    assert len(read) == (2 if batch_norms(task.network) else 0)


def test_torchs_own_average_does(config, monkeypatch):
    """The control of the test above."""
    monkeypatch.setattr(few_passes, "serve", lambda *_: False)
    cfg = config(*DIGITS)
    with NUMBERLESS:
        task = numberless(cfg)
        x = task.calibrating(made_up(cfg)[0])
        task.network.features(x)
        for norm in batch_norms(task.network):
            norm.momentum = None
        with pytest.raises(DataDependentOutputException):
            task.network.features(x)
