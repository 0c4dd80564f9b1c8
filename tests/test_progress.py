"""What a run says of itself before it has a record, read from another process."""

import json
import os
import time

import pytest

from indrnn import progress
from indrnn.errors import UserError
from indrnn.training import callbacks, run
from indrnn.training.sitting import folder_of

NOTE = {"overrides": ["seed=0"], "config": {"seed": 0}, "updates": 3, "metrics": {"val/mse": 0.5}, "seconds": 1.5}
SMALL = ("experiment=quick/adding", "data.seq_len=10", "data.val_examples=20", "data.test_examples=20")
SMALL += ("model.hidden_size=4", "trainer.max_updates=6", "trainer.val_every=3")


def test_a_note_comes_back_with_its_age(tmp_path):
    assert progress.read(tmp_path) is None
    progress.write(tmp_path, NOTE)
    os.utime(tmp_path / progress.NAME, (time.time() - 90,) * 2)
    found = progress.read(tmp_path)
    assert 89 < found.pop("age") < 100 and found == NOTE
    assert [path.name for path in tmp_path.iterdir()] == [progress.NAME]
    progress.forget(tmp_path)
    progress.forget(tmp_path)
    assert progress.read(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", json.dumps(NOTE | {"updates": "3"})])
def test_half_a_note_says_nothing(tmp_path, text):
    (tmp_path / progress.NAME).write_text(text)
    assert progress.read(tmp_path) is None


def test_where_no_note_can_be_written_nothing_happens(tmp_path):
    progress.write(tmp_path / "gone", NOTE)
    assert not list(tmp_path.iterdir())


def test_a_run_says_how_far_it_is_and_its_record_ends_that(config, monkeypatch):
    monkeypatch.setattr(callbacks, "EVERY", 0.0)
    said, write = [], progress.write
    monkeypatch.setattr(progress, "write", lambda folder, note: said.append((folder, note)) or write(folder, note))
    cfg = config(*SMALL)
    run.train(cfg)
    folders, notes = zip(*said, strict=True)
    assert set(folders) == {folder_of(cfg)} and not (folder_of(cfg) / progress.NAME).exists()
    updates = [note["updates"] for note in notes]
    assert updates == sorted(updates) and set(range(7)) == set(updates)
    assert notes[-1]["metrics"]["best_update"] in (3, 6) and notes[-1]["seconds"] > 0


def test_who_is_killed_leaves_the_note(config, monkeypatch):
    def killed(*_):
        raise UserError("killed")

    monkeypatch.setattr(run, "test", killed)
    cfg = config(*SMALL)
    with pytest.raises(UserError, match="killed"):
        run.train(cfg)
    assert progress.read(folder_of(cfg))["updates"] == 0  # two seconds are not over


def test_the_bar_says_how_far_a_validation_and_the_test_are(config, monkeypatch, capsys):
    monkeypatch.setattr(callbacks, "EVERY", -1.0)
    run.train(config(*SMALL, "data.batch_size=8", "machine.progress=true"))
    said = capsys.readouterr().err
    assert "6/6" in said and "validating: 2 of 3 batches]" in said and "test:  " in said
    assert "val/mse " in said[: said.index("test:")].rstrip().rpartition("\r")[2]  # the last word on training
