"""How a run ends where a number is none: what counts, what the record says, what sweepers are told."""

import errno
import math
import os
import signal

import pytest
import torch
from made_up import make, record_of
from small_language import overrides as language
from small_language import own_text
from test_commands import TRAIN, call, records
from test_run import DIGITS, PLATEAU, SMALL, Killed, folder, kill_at, rows_of

from indrnn import record
from indrnn.errors import OutOfMemory, UserError
from indrnn.tables import judged, render
from indrnn.tasks import Classification, Regression, Task
from indrnn.train import objective, run
from indrnn.training.run import train
from indrnn.training.tensors import load_tensors

NAN, INF = math.nan, math.inf
EVERY = "machine.checkpoint_seconds="  # 0: before each update; 1e9: when it is stopped, and at the end


def measured(monkeypatch, kind, when, loss=None, metric=None):
    """Where ``when(task)`` holds, let a task measure another loss or metric; training never is touched."""
    original = kind.measure

    def other(task, batch):
        found = original(task, batch)
        if task.training or not when(task):
            return found
        return tuple(x if y is None else x * 0 + y for x, y in zip(found, (loss, metric), strict=True))

    monkeypatch.setattr(kind, "measure", other)


@pytest.mark.parametrize("loss, metric", [(NAN, 0.0), (INF, 0.0), (None, NAN), (None, -INF), (NAN, NAN)])
def test_a_validation_that_is_no_number_is_not_chosen(config, monkeypatch, loss, metric):
    """The error of logits that are NaN is a number, and may be the lowest of all."""
    cfg = config(*DIGITS)
    expected = train(config(*DIGITS, "machine.runs=" + cfg.machine.runs + "2"))
    measured(monkeypatch, Classification, lambda task: task.update == 10, loss, metric)
    done = train(cfg)
    assert done["status"] == "finished" and done["metrics"]["best_update"] in (5, 12)
    assert all(map(math.isfinite, done["metrics"].values()))
    assert len(rows_of(cfg)) == 4, "the curve shows it"
    if expected["metrics"]["best_update"] != 10:
        assert done["metrics"] == expected["metrics"]


def test_a_schedule_hears_of_it_as_of_one_that_is_not_better(config, monkeypatch, tmp_path):
    rates = []
    for loss, metric in ((NAN, 0.0), (None, 100.0)):
        cfg = config(*PLATEAU, f"machine.runs={tmp_path / str(metric)}")
        with monkeypatch.context() as patch:
            measured(patch, Classification, lambda task: task.update == 4, loss, metric)
            train(cfg)
        rates.append([row["learning_rate"] for row in record.curve(folder(cfg))])
    assert rates[0] == rates[1] and len(set(rates[0])) > 1


def test_where_no_validation_is_a_number_the_run_has_diverged_and_is_not_tested(config, monkeypatch, caplog):
    monkeypatch.setattr(Task, "on_test_start", None)
    measured(monkeypatch, Regression, lambda task: True, NAN)
    cfg = config(*SMALL)
    done = train(cfg)
    assert done["status"] == "diverged" and done["metrics"] == {} and done["updates"] == 12
    assert caplog.text.count("No validation was a number: the run ends as diverged.") == 1
    assert record.read(folder(cfg)) == done == train(cfg)


def test_it_ends_so_too_where_its_last_sitting_could_not_write_the_record(config, monkeypatch):
    """All updates are in the checkpoint, and no weights to test with."""
    measured(monkeypatch, Regression, lambda task: True, NAN)
    cfg = config(*SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(record, "write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(cfg)
    monkeypatch.setattr(Task, "training_step", None)
    assert train(cfg)["status"] == "diverged"


@pytest.mark.parametrize("loss, metric, name", [(NAN, None, "loss"), (None, INF, "mse"), (INF, NAN, "loss")])
def test_a_test_that_is_no_number_ends_the_run_as_diverged(config, monkeypatch, caplog, loss, metric, name):
    measured(monkeypatch, Regression, lambda task: task.trainer.testing, loss, metric)
    cfg = config(*SMALL)
    done = train(cfg)
    assert done["status"] == "diverged" and set(done["metrics"]) == {"val/mse", "best_update"}
    assert f"test/{name} is " in caplog.text and "the run ends as diverged" in caplog.text
    assert record.read(folder(cfg)) == done == train(cfg)
    assert objective(done, cfg) == INF


def test_dynamic_evaluation_that_is_no_number_is_dropped_by_name(config, tmp_path, caplog):
    source = own_text(tmp_path / "text")
    sizes = ("trainer.max_updates=6", "trainer.val_every=3", "recipe.learning_rate=0.01")
    usual = language("ptb_word", "indrnn", f"data.source={source}", *sizes)
    plain = train(config(*usual))
    cfg = config(*usual, "+dynamic@task.dynamic=rms", "task.dynamic.learning_rate=1e38")
    done = train(cfg)
    assert done["status"] == "finished" and done["metrics"] == plain["metrics"]
    assert "test/dynamic_ppl is inf: the record is without it, and the rest stands." in caplog.text
    assert record.read(folder(cfg)) == done


def test_a_cell_that_asks_for_what_was_dropped_says_failed(tmp_path):
    make(tmp_path, "table3_ptb_word", "fast", value=lambda run: None)
    report = judged.report("table3_ptb_word", "fast", tmp_path)
    for results in report.columns.values():
        for planned in results["dense_indrnn_dynamic"].runs:
            entry = record_of(planned)
            entry["metrics"] = {"val/ppl": 60.0, "test/ppl": 59.0}
            record.write(tmp_path / planned.signature, entry, [{"update": 1, "val/ppl": 60.0}])
    report = judged.report("table3_ptb_word", "fast", tmp_path)
    (results,) = report.columns.values()
    static, dynamic = results["dense_indrnn"], results["dense_indrnn_dynamic"]
    count = len(dynamic.runs)
    assert static.ours.mean == 59.0 and dynamic.verdict == f"failed {count}/{count}"
    (line,) = [x for x in render.markdown(report, None).splitlines() if x.startswith("| dense-IndRNN + dynamic")]
    assert f"failed {count}/{count}" in line


@pytest.mark.parametrize(
    "word, told",
    [
        ("+recipe.own=nan", "recipe.own must be a number, not nan."),
        ("+recipe.own={a:[1,{b:-inf}]}", "recipe.own.a.1.b must be a number, not -inf."),
        ("+trainer.own=[1e400]", "trainer.own.0 must be a number, not inf."),
        ("+logger.own=inf", "logger.own must be a number, not inf."),
        ("+own=nan", "own must be a number, not nan."),
    ],
)
def test_a_config_with_a_number_that_is_none_is_refused_before_training(config, word, told):
    cfg = config(*SMALL, word)
    with pytest.raises(UserError) as refused:
        train(cfg)
    assert str(refused.value) == told and not folder(cfg).parent.exists()


def test_a_sweeper_that_optimises_hears_of_a_diverged_run_as_the_worst(config):
    """A NaN ends Optuna's sweep: it is told as a failure that has a value, which is an error of its own."""
    rates, words = ("1e30", "0.001"), (*SMALL, "model=irnn", "trainer.clip=null")
    diverged, finished = (run(config(*words, f"recipe.learning_rate={rate}"), []) for rate in rates)
    assert diverged == INF and 0 < finished < INF
    assert run(config(*SMALL, "trainer.max_time=0"), []) == INF
    done = {"status": "diverged", "metrics": {"val/accuracy": 40.0, "best_update": 5}}
    assert objective(done, config("experiment=quick/ntu_cs")) == -INF, "where higher is better"
    assert objective(done | {"status": "finished"}, config("experiment=quick/ntu_cs")) == 40.0


def held(cfg) -> dict:
    """How far the checkpoint is, and what it has seen; where there is none, the run is at its start."""
    path = folder(cfg) / "last.ckpt"
    state = load_tensors(path)["task"] if path.exists() else {"update": 0, "best": None, "curve": []}
    best = state["best"] and {"val/mse": state["best"]["value"], "best_update": state["best"]["update"]}
    return {"update": state["update"], "metrics": best or {}, "curve": [row["update"] for row in state["curve"]]}


def assert_not_ahead(cfg) -> dict:
    """The record, which says what the checkpoint holds and nothing that was lost."""
    found, expected = record.read(folder(cfg)), held(cfg)
    metrics = {name: value for name, value in found["metrics"].items() if not name.startswith("memory/")}
    assert (found["updates"], metrics) == (expected["update"], expected["metrics"])
    assert found["examples"] == 8 * found["updates"] and found["sittings"][-1]["updates"][-1] == found["updates"]
    assert [row["update"] for row in record.curve(folder(cfg))] == expected["curve"]
    return found


def fails_at(monkeypatch, method, update, error):
    """Let a method of Task raise once: when it is called at this update."""
    original = getattr(Task, method)

    def failing(task, *arguments):
        if task.update == update:
            monkeypatch.setattr(Task, method, original)
            raise error
        return original(task, *arguments)

    monkeypatch.setattr(Task, method, failing)


@pytest.mark.parametrize("every", [0, 1e9], ids=["checkpoints", "no checkpoint"])
@pytest.mark.parametrize(
    "method, update",
    [("training_step", 0), ("training_step", 7), ("apply_gradients", 8), ("validation_step", 5),
     ("on_validation_end", 10), ("on_train_batch_end", 12), ("test_step", 12)],
)  # fmt: skip
def test_where_memory_ran_out_the_record_is_not_ahead_of_the_checkpoint(config, monkeypatch, every, method, update):
    cfg = config(*SMALL, f"{EVERY}{every}")
    fails_at(monkeypatch, method, update, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB."))
    with pytest.raises(OutOfMemory, match="^Out of memory at update"):
        train(cfg)
    found = assert_not_ahead(cfg)
    assert found["status"] == "out_of_memory" and (found["updates"] > 0) == (
        every == 0 < update or method == "test_step"
    )
    done = train(cfg)
    assert done["status"] == "finished" and done["updates"] == 12
    assert [span for sitting in done["sittings"] for span in sitting["updates"]] == [0, 12]


@pytest.mark.parametrize("full", ["last.ckpt", "curve.csv", "run.json"])
@pytest.mark.parametrize("update", [3, 7])
def test_stopped_while_the_disk_is_full_the_record_is_not_ahead(config, monkeypatch, full, update):
    """A first stop leaves a record; after the second, one of the files can not be written."""
    cfg = config(*SMALL, f"{EVERY}1e9")
    stop_at(monkeypatch, update)
    with pytest.raises(KeyboardInterrupt):
        train(cfg)
    assert assert_not_ahead(cfg)["updates"] == update + 1
    with monkeypatch.context() as patch:
        stop_at(patch, update + 4)
        replace = os.replace

        def no_space(part, path):
            if path.name == full:
                raise OSError(errno.ENOSPC, "No space left on device")
            replace(part, path)

        patch.setattr(os, "replace", no_space)
        with pytest.raises(OSError, match="No space left"):
            train(cfg)
    assert record.read(folder(cfg))["updates"] <= held(cfg)["update"]
    assert train(cfg)["status"] == "finished"


def stop_at(monkeypatch, update):
    """A signal in the midst of an update."""
    original = Task.training_step

    def stopped(task, *arguments):
        if task.update == update:
            os.kill(os.getpid(), signal.SIGINT)
        return original(task, *arguments)

    monkeypatch.setattr(Task, "training_step", stopped)


@pytest.mark.parametrize("gone", ["damaged", "removed"])
def test_a_record_of_a_checkpoint_that_is_gone_goes_too(config, monkeypatch, gone):
    cfg = config(*SMALL, f"{EVERY}1e9")
    stop_at(monkeypatch, 7)
    with pytest.raises(KeyboardInterrupt):
        train(cfg)
    path = folder(cfg) / "last.ckpt"
    path.write_bytes(path.read_bytes()[:500]) if gone == "damaged" else path.unlink()
    kill_at(monkeypatch, "training_step", 2)
    with pytest.raises(Killed):
        train(cfg)
    assert not (folder(cfg) / "run.json").exists() and not (folder(cfg) / "curve.csv").exists()


def test_a_sweep_goes_on_after_a_diverged_run(tmp_path):
    words = ("model=irnn", "trainer.clip=null", "recipe.learning_rate=1e30,0.001", f"machine.runs={tmp_path}")
    call(*TRAIN, "-m", *SMALL, *words, "logger=csv", "machine.progress=false")
    assert sorted(entry["status"] for entry in records(tmp_path)) == ["diverged", "finished"]
