"""What a graph of an update leaves behind, where it was recorded and where it was not; a GPU is made up."""

import contextlib
from types import SimpleNamespace

import pytest
import torch
from test_graph import CASES, GRAPH, Called
from test_run import SMALL

from indrnn.errors import UserError
from indrnn.tasks import Task, language
from indrnn.training import graph, run
from indrnn.training.run import train

# Updates 1 to 3 are made before the recording; 4, 6, 7 and 11 are replays; 0, 5 and 8 to 10 begin from zeros, without.
# A validation after update 6, at which Lightning takes the gradients off, comes between two replays.
LANGUAGE = (*CASES["carried state"], "seed=1", "trainer.val_every=7")


class InPlace(Called):
    """As a GPU's replays: gradients come to where the recording had them, and what Python holds stays as it is."""

    task = None

    def record(self, function):
        parameters = [p for p in self.task.network.parameters() if p.requires_grad]
        for p in parameters:
            p.grad = torch.zeros_like(p)
        mine, (result, call) = [p.grad for p in parameters], super().record(function)

        def replay():
            held = [p.grad for p in parameters]
            call()
            for p, gradient, before in zip(parameters, mine, held, strict=True):
                gradient.copy_(p.grad)
                p.grad = before

        return result, replay


def gradients_of(config, monkeypatch, *words):
    """What W&B's dials would read after every update of a run."""
    found, end = [], Task.on_train_batch_end

    def look(task, *others):
        found.append([p.grad.clone() for p in task.network.parameters()])
        end(task, *others)

    with monkeypatch.context() as patch:
        patch.setattr(Task, "on_train_batch_end", look)
        train(config(*words))
    return found


def test_gradients_are_those_of_the_last_update_also_where_it_was_replayed(config, tmp_path, monkeypatch):
    first = graph.Graph.__init__

    def known(self, task, *others):
        InPlace.task = task
        first(self, task, *others)

    monkeypatch.setattr(graph, "Cuda", InPlace)
    monkeypatch.setattr(graph.Graph, "__init__", known)
    expected = gradients_of(config, monkeypatch, *LANGUAGE, f"machine.runs={tmp_path / 'eager'}")
    found = gradients_of(config, monkeypatch, *LANGUAGE, GRAPH)
    assert [all(map(torch.equal, *both)) for both in zip(found, expected, strict=True)] == [True] * 12


def kept(cfg, batches):
    """Parameters to which an update's backward pass came that something still holds, after updates of these batches."""
    task = run.build(cfg)[1]
    parameters, measure = list(task.network.parameters()), task.measure

    def end_of(p):
        """The node of autograd in which the backward pass ends; a new one where nothing holds the last."""
        return p.view_as(p).grad_fn.next_functions[0][0]

    def marked(batch):
        found = measure(batch)
        for p in parameters:
            end_of(p).metadata["of an update"] = True
        return found

    task.measure = marked
    for batch in batches:
        task.make_update(batch)
    return [name for name, p in task.network.named_parameters() if "of an update" in end_of(p).metadata]


@pytest.mark.parametrize("model", ["indrnn", "res_indrnn", "dense_indrnn", "lstm"])
@pytest.mark.parametrize("more", [(), ("machine.save_memory=true",)], ids=["", "memory saved"])
def test_nothing_of_an_updates_backward_pass_outlives_it(config, monkeypatch, model, more):
    """Or the recording would end on the stream of the update before it, and fail."""
    cfg = config("experiment=quick/ptb_char", f"model={model}", "data.seq_len=5", "data.batch_size=4", *more)
    x = torch.zeros(4, 5, dtype=torch.long)
    batches = (x, x, None, True), (x, x, None, False)
    assert kept(cfg, batches) == []
    # The control: the carried state keeps how it was made.
    monkeypatch.setattr(language, "apply_to_collection", lambda state, *_: state)
    assert kept(cfg, batches[:1])


class Broken(Exception):
    """What the end of a recording says that was broken off."""


@pytest.fixture
def gpu(monkeypatch):
    """torch.cuda as far as recording uses it; its stream and its generator are left as by torch 2.11."""
    state = SimpleNamespace(stream="default", recording=False, seeds=[])

    class Generator:
        def clone_state(self):
            return "not recorded"

        def graphsafe_set_state(self, other):
            state.recording = other != "not recorded"

    @contextlib.contextmanager
    def recording(made, stream, capture_error_mode):
        state.stream, state.recording = stream, True
        try:
            yield
        except Exception:
            raise Broken from None
        state.stream, state.recording = "default", False

    for name, value in {
        "is_available": lambda: True,
        "Stream": lambda: "another",
        "CUDAGraph": lambda: SimpleNamespace(replay=lambda: None),
        "graph": recording,
        "current_stream": lambda: state.stream,
        "set_stream": lambda stream: setattr(state, "stream", stream),
        "current_device": lambda: 0,
        "default_generators": (Generator(),),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch, "manual_seed", state.seeds.append)
    return state


def test_a_recording_that_breaks_off_leaves_torch_as_it_was_and_tells_the_first_reason(gpu):
    def update():
        raise RuntimeError("Cannot copy between CPU and CUDA tensors")

    with pytest.raises(RuntimeError, match="Cannot copy"):
        graph.Cuda().record(update)
    assert gpu.stream == "default" and not gpu.recording and gpu.seeds == [torch.initial_seed()]


def test_a_recording_whose_end_fails_leaves_torch_as_it_was(gpu, monkeypatch):
    @contextlib.contextmanager
    def fails(*_, **options):
        with contextlib.suppress(Broken), recording(*_, **options):
            yield
            raise RuntimeError
        raise Broken

    recording = torch.cuda.graph
    monkeypatch.setattr(torch.cuda, "graph", fails)
    with pytest.raises(Broken):
        graph.Cuda().record(lambda: None)
    assert gpu.stream == "default" and not gpu.recording


def test_a_recording_that_works_is_not_undone(gpu):
    assert graph.Cuda().record(lambda: 3)[0] == 3 and gpu.seeds == [] and not gpu.recording


def test_a_run_on_a_cpu_is_not_recorded_where_there_is_a_gpu(config, gpu):
    """Nothing of it would be in the graph, and replays would train nothing."""
    with pytest.raises(UserError, match="machine.graph needs a GPU: leave it out, or use machine=gpu"):
        train(config(*SMALL, GRAPH))
