"""An update as one graph: the code path with a recorder that calls instead, and with tensors that hold no numbers."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from hydra.utils import instantiate
from test_run import DIGITS, LEFT, PLATEAU, SMALL, Killed, folder, kept, kill_at, outcome, rows_of
from test_sitting import LANGUAGE
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from indrnn import configs
from indrnn.data import Data
from indrnn.errors import UserError
from indrnn.layers import few_passes
from indrnn.layers.norm_dropout import batch_norms
from indrnn.tasks import Task
from indrnn.training import graph, run
from indrnn.training.run import train

CASES = {
    "adding": SMALL,
    "digits": (*DIGITS, "recipe.dropout=0.2"),
    "plateau": PLATEAU,
    "carried state": (*LANGUAGE, "data.reset=4", "recipe.dropout=0.2"),
    "lstm": (*SMALL, "model=lstm"),
}
GRAPH = "machine.graph=true"


class Called:
    """In the place of a GPU's recorder: a replay calls what was recorded. Recording computes nothing, as there."""

    def __init__(self, accelerator="gpu"):
        pass

    def apart(self, function):
        return function()

    def record(self, function):
        result = [None, None]
        return result, lambda: result.__setitem__(slice(None), function() or ())


@pytest.fixture
def called(monkeypatch):
    """Graphs of runs on a CPU, in the order in which they were made."""
    monkeypatch.setattr(graph, "Cuda", Called)
    return kept(monkeypatch, graph.Graph)


@pytest.fixture
def taken(monkeypatch):
    """The same of their statistics of batch norm."""
    return kept(monkeypatch, graph.Statistics)


@pytest.mark.parametrize("there", [True, False], ids=["examples on the device", "batches sent"])
@pytest.mark.parametrize("overrides", CASES.values(), ids=CASES)
def test_a_run_has_the_same_bits_with_a_graph_and_without(
    config, tmp_path, called, taken, monkeypatch, overrides, there
):
    eager = config(*overrides, f"machine.runs={tmp_path / 'eager'}")
    expected, cfg = train(eager), config(*overrides, GRAPH)
    if not there:
        monkeypatch.setattr(Data, "drawn_only", False)
    done = train(cfg)
    assert done["metrics"] == expected["metrics"] and rows_of(cfg) == rows_of(eager)
    assert done["signature"] == expected["signature"] and done["sittings"][0]["graph"] == "true"
    (mine,) = called
    assert mine.replay is None, "its memory is given back"
    drawn = [mine.data.draw(update) for update in range(12)]
    others = sum(words[2:] not in ((), (None, False)) for words in drawn) if mine.task.carries_state else 0
    assert mine.replays == 12 - others - graph.WARM_UP >= 3, "all updates but the first and those of another kind"
    (statistics,), validations = taken, len(rows_of(cfg)) - 1
    recorded = there and batch_norms(mine.task.network)
    assert statistics.replays == (validations - 1 if recorded else 0) and validations >= 2, "all but the first"


def test_a_graph_that_reads_an_old_batch_is_found_out(config, tmp_path, called, monkeypatch):
    """The control of the test above."""
    expected = train(config(*SMALL, f"machine.runs={tmp_path / 'eager'}"))
    monkeypatch.setattr(graph, "fill", lambda mine, given: None)
    assert train(config(*SMALL, GRAPH))["metrics"] != expected["metrics"]


def test_a_graph_that_goes_on_from_an_old_state_is_found_out(config, tmp_path, called, monkeypatch):
    overrides = CASES["carried state"]
    expected = train(config(*overrides, f"machine.runs={tmp_path / 'eager'}"))
    real = graph.fill
    monkeypatch.setattr(graph, "fill", lambda mine, given: real(mine, given) if isinstance(given, tuple) else None)
    assert train(config(*overrides, GRAPH))["metrics"] != expected["metrics"]


@pytest.mark.parametrize("overrides", [PLATEAU, CASES["carried state"]], ids=["plateau", "carried state"])
def test_killed_and_started_again_with_a_graph_ends_with_the_same_bits(
    config, tmp_path, monkeypatch, called, taken, overrides
):
    overrides = (*overrides, "trainer.val_every=2")
    undisturbed = config(*overrides, f"machine.runs={tmp_path / 'undisturbed'}")
    train(undisturbed)
    cfg = config(*overrides, GRAPH, "machine.checkpoint_seconds=0")
    for method, update in (("training_step", 5), ("validation_step", 6), ("on_train_batch_end", 9)):
        kill_at(monkeypatch, method, update)
        with pytest.raises(Killed):
            train(cfg)
    assert train(cfg)["status"] == "finished" and outcome(cfg) == outcome(undisturbed)
    assert len(called) == len(taken) == 4 and called[-1].replays + called[0].replays > 0
    assert sum(statistics.replays for statistics in taken) > 0


def test_where_recording_fails_the_run_goes_on_without_and_says_so(config, tmp_path, called, monkeypatch, caplog):
    def fails(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    expected = train(config(*CASES["digits"], f"machine.runs={tmp_path / 'eager'}"))
    monkeypatch.setattr(Called, "record", fails)
    done = train(config(*CASES["digits"], GRAPH))
    reason = "eager: RuntimeError: operation not permitted when stream is capturing"
    assert done["metrics"] == expected["metrics"] and done["sittings"][0]["graph"] == reason
    assert caplog.text.count("The update could not be recorded as a graph") == 1


def test_pieces_of_many_lengths_are_made_without(config, called):
    cfg = config(*LANGUAGE, "data.vary_length=true", GRAPH)
    assert train(cfg)["sittings"][0]["graph"] == "eager: pieces of many lengths" and called[0].replays == 0


def test_without_a_gpu_it_is_refused(config):
    with pytest.raises(UserError, match="machine.graph needs a GPU"):
        train(config(*SMALL, GRAPH))


def test_updates_made_together_are_the_same_and_are_heard_of_seldom(config, tmp_path, monkeypatch):
    heard = []
    original = Task.on_train_batch_end
    monkeypatch.setattr(
        Task, "on_train_batch_end", lambda task, *others: heard.append(task.update) or original(task, *others)
    )
    overrides = (*SMALL, "trainer.max_updates=40", "trainer.val_every=20")
    alone = config(*overrides, f"machine.runs={tmp_path / 'alone'}")
    expected = train(alone)
    assert heard == list(range(1, 41))
    heard.clear()
    cfg = config(*overrides, "machine.together=8", f"machine.runs={tmp_path / 'together'}")
    assert train(cfg)["metrics"] == expected["metrics"] and rows_of(cfg) == rows_of(alone)
    assert heard[20:] == [28, 36, 40], "the first stretch shows how long an update takes"


NUMBERLESS = FakeTensorMode()  # one for all: torch keeps some of its tensors


def made_up(cfg):
    """A first and a further batch of a run, without numbers."""
    B, T = cfg.data.batch_size, cfg.data.seq_len
    if cfg.task._target_.endswith("LanguageModel"):
        x = torch.zeros(B, T, dtype=torch.long)
        return (x, x, None, True), (x, x, None, False)
    y = torch.zeros(B, 1) if cfg.data.output_size == 1 else torch.zeros(B, dtype=torch.long)
    width = 150 if "ntu" in cfg.data._target_ else cfg.data.input_size
    return [(torch.zeros(B, T, width), y)] * 2


@pytest.mark.parametrize("model", ["indrnn", "res_indrnn", "dense_indrnn", "lstm", "irnn", "gru", "rnn_tanh"])
@pytest.mark.parametrize("experiment", ["adding", "smnist", "ptb_char", "ptb_word", "ntu_cs", "quick/ntu_cs"])
def test_nothing_in_an_update_waits_for_numbers(config, monkeypatch, experiment, model):
    """As on a GPU, where to look at one is to wait for the device, and cannot be recorded."""
    monkeypatch.setattr(few_passes, "serve", lambda *_: False)  # a way of CPUs
    cfg = config(f"experiment={experiment}", f"model={model}")
    with NUMBERLESS:
        _, task = run.build(cfg)
        for batch in made_up(cfg):
            loss, metric = task.on_device(batch)
    assert loss.shape == metric.shape == ()


def test_a_look_at_a_number_is_noticed(config, monkeypatch):
    """The control of the test above."""
    looks = Task.measured
    with NUMBERLESS:
        task = run.build(config(*SMALL))[1]
        monkeypatch.setattr(Task, "measured", lambda task, batch: (looks(task, batch)[0].item(), 0))
        with pytest.raises(DataDependentOutputException):
            task.on_device(made_up(config(*SMALL))[0])


def test_the_folder_holds_what_any_run_leaves(config, called):
    cfg = config(*SMALL, GRAPH)
    train(cfg)
    assert sorted(p.name for p in folder(cfg).iterdir()) == LEFT


MODELS = sorted(path.stem for path in (configs.CONF / "model").glob("*.yaml"))
WITHOUT = {  # experiment and model: why
    (experiment, model): "pieces of many lengths" for experiment in ("csv", "ptb_word") for model in MODELS
} | {("ptb_char", "dense_indrnn"): "pieces of many lengths"}


def test_all_experiments_and_models_have_graphs_on_a_gpu_but_those_with_a_reason(called):
    experiments = sorted(path.stem for path in (configs.CONF / "experiment").glob("*.yaml"))
    found = {}
    for experiment, model in itertools.product(experiments, MODELS):
        cfg = configs.build([f"experiment={experiment}", f"model={model}", "machine=gpu"])
        assert cfg.machine.graph and cfg.machine.compile is None
        task = SimpleNamespace(on_device=None, take_statistics=None)
        graph.graph_(task, instantiate(cfg.data), cfg.machine.devices)
        if graph.word_of(task) != "true":
            found[experiment, model] = graph.word_of(task).removeprefix("eager: ")
    assert found == WITHOUT
