"""The bar of a table: shares of the time that runs take, within a run, and when all may be over."""

import os
import re
import sys
import time
from dataclasses import dataclass, field

import pytest
from made_up import record_of

from hydra_plugins.indrnn_plan import Watch
from indrnn import aloud, how_far, progress, record
from indrnn.tables import plan


@pytest.fixture(scope="module")
def runs():
    """IndRNN at T = 100, 500 updates: one and another seed."""
    return [run for run in plan.runs(["figure2_adding"], "quick", ["T100"], [0, 1]) if run.row == "IndRNN"]


def tell(folder, run, updates, silent=0.0):
    note = {"overrides": [], "config": run.config, "updates": updates, "metrics": {}, "seconds": 1.0}
    (folder / run.signature).mkdir(exist_ok=True)
    progress.write(folder / run.signature, note)
    os.utime(folder / run.signature / progress.NAME, (time.time() - silent,) * 2)


def test_runs_in_progress_count_by_their_updates_and_are_named(tmp_path, runs):
    far = how_far.HowFar(runs, tmp_path)
    assert far.text() == (0.0, "0 of 2 runs, 0%; the first are starting")
    tell(tmp_path, runs[0], 250)
    assert far.text() == (0.25, "0 of 2 runs, 25%; IndRNN, T = 100, seed 0: 250 of 500")
    far.end(runs[0].signature)
    tell(tmp_path, runs[1], 100, silent=600)  # killed long ago: what it made counts, but it does not run
    assert far.text() == (pytest.approx(0.6), "1 of 2 runs, 60%")


def test_the_end_is_estimated_from_what_was_made_here(tmp_path, runs):
    tell(tmp_path, runs[0], 300)  # by an earlier sitting
    far = how_far.HowFar(runs, tmp_path)
    far.text()
    far.began -= 30
    tell(tmp_path, runs[0], 400)
    assert far.text()[1].startswith("0 of 2 runs, 40%, about 3 min left; ")  # 30 s a tenth, and six are left


def test_longer_runs_weigh_more(tmp_path):
    pair = plan.runs(["figure2_adding"], "quick", ["T100", "T200"], [0])
    long, short = ([run for run in pair if run.column == f"T = {T}" and run.row == "IndRNN"][0] for T in (200, 100))
    far = how_far.HowFar([long, short], tmp_path)
    far.end(long.signature)
    assert far.look()[0] == pytest.approx(2 / 3)


def test_many_runs_in_progress_are_counted(tmp_path):
    several = plan.runs(["figure2_adding"], "quick", ["T100"], [0, 1])
    for run in several[:5]:
        tell(tmp_path, run, 50)
    _, text = how_far.HowFar(several, tmp_path).text()
    assert text.count(": 50 of 500") == 3 and text.endswith(" and 2 more")


def test_a_log_gets_a_line_where_nothing_else_was_said(tmp_path, runs, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    for name in ("start", "join"):  # it looks when this test does
        monkeypatch.setattr(Watch, name, lambda watch: None)
    tell(tmp_path, runs[0], 250)
    with Watch(runs, tmp_path) as watch:
        watch.far.show(watch.bar)
        assert capsys.readouterr().err == ""
        watch.far.spoken -= aloud.EVERY
        watch.far.show(watch.bar)
        told = capsys.readouterr().err
        watch.far.spoken -= aloud.EVERY
        record.write(tmp_path / runs[0].signature, record_of(runs[0]), [])
        watch.look()
        watch.far.show(watch.bar)
    assert told == "0 of 2 runs, 25%; IndRNN, T = 100, seed 0: 250 of 500\n"
    said = capsys.readouterr()
    assert "1/2  finished" in said.out and said.err == ""


@dataclass
class Bar:
    """What is shown of one in a terminal."""

    disable: bool = False
    n: float = 0.0
    texts: list[str] = field(default_factory=list)

    def set_description_str(self, text, refresh):
        self.texts.append(text)

    def refresh(self):
        self.texts.append("shown")


def test_a_terminal_gets_a_bar_that_moves_within_a_run(tmp_path, runs, capsys):
    far, bar = how_far.HowFar(runs, tmp_path), Bar()
    for updates in (100, 200):
        tell(tmp_path, runs[0], updates)
        far.show(bar)
    assert bar.n == pytest.approx(0.2) and re.match("0 of 2 runs, 10%; .*: 100 of 500", bar.texts[0])
    assert bar.texts[1::2] == ["shown"] * 2 and capsys.readouterr().err == ""
