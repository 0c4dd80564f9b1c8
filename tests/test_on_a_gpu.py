"""What only a GPU can show, in a minute there: `python -m pytest tests/test_on_a_gpu.py`; skipped elsewhere.

It needs Hydra and mlxtend beside torch, Lightning, pytest and hypothesis, no data set and no network.
"""

import pytest
import torch
from recurrence_samples import assert_like_reference, long_memory, sample
from small_language import overrides, own_text
from test_run import DIGITS, PLATEAU, SMALL, Killed, kept, kill_at, outcome, rows_of

from indrnn.bench.gpu.graphs import recorded
from indrnn.layers.norm_dropout import SharedMaskDropout, batch_norms
from indrnn.tasks import Task
from indrnn.training import graph
from indrnn.training.run import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

WORDS = ("data.reset=4", "seed=1", "trainer.max_updates=20", "trainer.val_every=7")
TEXT = overrides("quick/ptb_char", "indrnn", *WORDS)
MASKS = ("recipe.dropout=0.2",)
CASES = {
    "adding": SMALL,
    "digits": (*DIGITS, *MASKS),
    "plateau": PLATEAU,
    "carried state": (*TEXT, *MASKS),
    "residual": (*DIGITS, *MASKS, "model=res_indrnn", "model.num_layers=3"),
    "dense, carried state": (*overrides("quick/ptb_char", "dense_indrnn", "data.vary_length=false", *WORDS), *MASKS),
    "lstm": (*SMALL, "model=lstm"),
    "lstm with carried state": (*TEXT, "model=lstm"),
    "memory saved": (*DIGITS, *MASKS, "machine.save_memory=true"),
    "bf16": (*TEXT, *MASKS, "trainer.precision=bf16-mixed"),
}


@pytest.fixture
def runs(config, tmp_path, monkeypatch):
    """runs(overrides, name) -> the config of a run on the GPU, or on another machine, in a folder of that name."""
    text = own_text(tmp_path / "text")

    def build(words, name, machine="gpu"):
        source = [f"data.source={text}"] * any("ptb" in word for word in words)
        return config(f"machine={machine}", *words, *source, f"machine.runs={tmp_path / name}")

    return build


@pytest.fixture
def graphs(monkeypatch):
    """Graphs of runs, in the order in which they were made."""
    return kept(monkeypatch, graph.Graph)


# Kernels


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("backend", ["triton", "scan"])
def test_kernels_compute_what_the_reference_does(backend, dtype):
    """With as many columns as a program has lanes, with more, and with fewer."""
    for T, B, N in ((300, 4, 128), (77, 3, 11), (1, 1, 1)):
        assert_like_reference(backend, "relu", *sample(T, B, N, dtype, "cuda"))
    if dtype == torch.float32:
        assert_like_reference(backend, "relu", *long_memory(5000, 6, "cuda"))


# Whole runs


@pytest.mark.parametrize("words", CASES.values(), ids=CASES)
def test_a_graph_gives_the_bits_of_eager_updates(runs, graphs, monkeypatch, words):
    statistics = kept(monkeypatch, graph.Statistics)
    eager, cfg = runs((*words, "machine.graph=false"), "eager"), runs(words, "graph")
    train(eager)
    done = train(cfg)
    (mine,) = graphs
    drawn = [mine.data.draw(update) for update in range(cfg.trainer.max_updates)]
    others = sum(not mine.task.alike(batch) for batch in drawn) if mine.task.carries_state else 0
    assert done["sittings"][0]["graph"] == "true" and mine.replays == len(drawn) - others - graph.WARM_UP > 3
    assert statistics[0].replays > 0 or not batch_norms(mine.task.network)
    assert outcome(cfg) == outcome(eager)


@pytest.mark.parametrize("words", [CASES["digits"], CASES["carried state"]], ids=["digits", "carried state"])
def test_an_old_batch_or_state_is_found_out(runs, monkeypatch, words):
    """The control of the test above."""
    eager, cfg = runs((*words, "machine.graph=false"), "eager"), runs(words, "graph")
    train(eager)
    monkeypatch.setattr(graph, "fill", lambda mine, given: None)
    assert train(cfg)["sittings"][0]["graph"] == "true" and rows_of(cfg) != rows_of(eager)


@pytest.mark.parametrize("words", [PLATEAU, CASES["carried state"]], ids=["plateau", "carried state"])
def test_killed_and_started_again_ends_with_the_same_bits(runs, graphs, monkeypatch, words):
    undisturbed, cfg = runs(words, "undisturbed"), runs((*words, "machine.checkpoint_seconds=0"), "killed")
    train(undisturbed)
    kill_at(monkeypatch, "training_step", 6)
    with pytest.raises(Killed):
        train(cfg)
    assert train(cfg)["status"] == "finished" and outcome(cfg) == outcome(undisturbed)
    assert all(made.replays > 0 for made in graphs)


def test_a_checkpoint_of_a_gpu_goes_on_on_a_cpu(runs, monkeypatch):
    cfg = runs((*PLATEAU, "machine.checkpoint_seconds=0"), "killed")
    kill_at(monkeypatch, "training_step", 9)
    with pytest.raises(Killed):
        train(cfg)
    done = train(runs(PLATEAU, "killed", machine="cpu"))
    assert done["status"] == "finished" and len(done["sittings"]) == 2


def test_the_gradients_that_dials_read_are_those_of_the_last_update(runs, monkeypatch):
    found, end = [], Task.on_train_batch_end

    def look(task, *others):
        found.append(sum(p.grad.double().square().sum().item() for p in task.network.parameters()))
        end(task, *others)

    monkeypatch.setattr(Task, "on_train_batch_end", look)
    words = (*CASES["carried state"], "machine.together=1")
    for graphed in ("false", "true"):
        train(runs((*words, f"machine.graph={graphed}"), graphed))
    assert found[:20] == found[20:] and len(set(found)) == 20


def test_a_loss_that_is_no_number_is_found(runs, graphs):
    done = train(runs((*SMALL, "recipe.learning_rate=1e30"), "nan"))
    assert done["status"] == "diverged" and graphs[0].replays > 0


def test_a_run_says_what_it_took_and_gives_its_memory_back(runs, graphs):
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    (sitting,) = train(runs(CASES["digits"], "memory"))["sittings"]
    assert sitting["peak_bytes"] > 0 and sitting["on_the_card"] != 0, "it is there itself"
    assert torch.cuda.memory_reserved() <= before + 8 * 2**20, "libraries keep some"


# Recordings


def masks():
    dropout, like = SharedMaskDropout(0.5), torch.empty(1, 64, device="cuda")
    return torch.stack([dropout.mask(8, like), dropout.mask(8, like)])


def test_a_replay_draws_the_masks_of_the_seed_that_was_set_before_it():
    found = torch.empty(2, 8, 64, device="cuda")
    replay = recorded(lambda: found.copy_(masks()))
    seen = []
    for seed in (3, 4, 3):
        torch.manual_seed(seed)
        expected = masks()
        torch.manual_seed(seed)
        replay()
        assert torch.equal(found, expected) and not torch.equal(found[0], found[1])
        seen.append(found.clone())
    assert torch.equal(seen[0], seen[2]) and not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("breaks", [True, False], ids=["the recording breaks", "an error of Python's"])
def test_after_a_recording_that_failed_torch_draws_and_records_as_before(breaks):
    recorder, stream = graph.Cuda(), torch.cuda.current_stream()
    recorder.apart(masks)

    def update():
        found = masks()
        if breaks:
            found.sum().item()  # waits for the device, which cannot be recorded
        raise ArithmeticError

    with pytest.raises(Exception) as error:
        recorder.record(update)
    assert breaks or error.type is ArithmeticError
    assert torch.cuda.current_stream() == stream
    torch.manual_seed(3)
    expected = masks()
    assert not torch.equal(expected, masks())
    found, replay = recorder.record(masks)
    torch.manual_seed(3)
    replay()
    assert torch.equal(found, expected)


def test_an_update_that_cannot_be_recorded_is_made_without(runs, graphs, monkeypatch, caplog):
    eager, cfg = runs((*CASES["digits"], "machine.graph=false"), "eager"), runs(CASES["digits"], "graph")
    train(eager)
    looks = Task.apply_gradients

    def looked_at(task):
        float(next(task.network.parameters()).grad.sum())
        looks(task)

    monkeypatch.setattr(Task, "apply_gradients", looked_at)
    assert train(cfg)["sittings"][0]["graph"].startswith("eager: ") and outcome(cfg) == outcome(eager)
    assert caplog.text.count("The update could not be recorded as a graph") == 1
