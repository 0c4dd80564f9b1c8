"""How a run ends where a number is none: what counts, what the record says, what sweepers are told."""

import math

import pytest
from made_up import make, record_of
from small_language import overrides as language
from small_language import own_text
from test_run import DIGITS, PLATEAU, SMALL, folder, rows_of

from indrnn import record
from indrnn.errors import UserError
from indrnn.tables import judged, render
from indrnn.tasks import Classification, Regression, Task
from indrnn.train import objective, run
from indrnn.training.run import train

NAN, INF = math.nan, math.inf


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
