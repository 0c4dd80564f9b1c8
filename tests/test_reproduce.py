"""Reproducing within this process, from made-up records; tests of commands start it as a user does."""

import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest
from made_up import make
from processes import living

from indrnn import launching, reproduce
from indrnn.errors import UserError
from indrnn.reproduce import Choice
from indrnn.tables import judged


def choice(runs: Path, **change) -> Choice:
    """``scripts/reproduce.py --table figure2_adding --runs RUNS``, and what is changed."""
    words = dict.fromkeys(("column", "seeds", "only_list", "smoke"))
    words |= {"table": ["figure2_adding"], "profile": "quick", "launcher": "basic", "jobs": 1, "runs": runs}
    return Choice(**words | {"overrides": [], "command": "python scripts/reproduce.py ..."} | change)


def test_a_report_is_judged_once_written_whole_and_printed_with_the_columns_asked_for(tmp_path, monkeypatch, capsys):
    names, report = [], judged.report
    monkeypatch.setattr(judged, "report", lambda name, *rest: names.append(name) or report(name, *rest))
    make(tmp_path, "figure2_adding", "quick")
    assert reproduce.reproduce(choice(tmp_path, column=["T200"])) == 0
    assert names == ["figure2_adding"]
    shown, text = capsys.readouterr().out, (tmp_path / "tables/quick/figure2_adding.md").read_text()
    assert "## T = 200\n" in shown and "T = 100" not in shown and "12 of 12 done" in shown
    assert "## T = 200\n" in text and "## T = 100\n" in text and "24 of 24 done" in text
    assert shown.endswith(f"\nTables: {tmp_path / 'tables' / 'quick'}\n")


def test_the_command_of_other_runs_is_the_users_own(tmp_path):
    make(tmp_path, "figure2_adding", "quick", seeds=[7])
    for change in (
        {"seeds": [7], "column": ["T100"]},
        {"seeds": [7], "column": ["T100"], "overrides": ["machine=cpu"]},
    ):
        assert reproduce.reproduce(choice(tmp_path, **change)) == 0
        text = (tmp_path / "tables/quick/figure2_adding.md").read_text()
        assert "- Command: `python scripts/reproduce.py ...`" in text


def test_second_reproduction_is_refused(tmp_path):
    with reproduce.only_one(tmp_path):
        with pytest.raises(UserError, match=r"is in use by process \d+: wait for it"):
            with reproduce.only_one(tmp_path):
                pass
    with reproduce.only_one(tmp_path):
        pass


def test_a_full_disk_is_told_with_the_folder_and_a_named_file_stays_as_it_is(tmp_path):
    for error, words in ((OSError(28, "No space left"), f": {tmp_path}$"), (OSError(28, "No", "a.md"), r": 'a\.md'$")):
        with pytest.raises(OSError, match=words):
            with reproduce.only_one(tmp_path):
                raise error


def test_a_plan_says_how_many_runs_follow_when_candidates_are_chosen(tmp_path, capsys):
    words = {"table": ["table1_mnist"], "profile": "fast", "column": ["smnist"], "only_list": True}
    reproduce.main(choice(tmp_path, **words))
    assert "21 runs: 21 to do\n6 more follow when validation has chosen" in capsys.readouterr().out


def test_when_the_minutes_are_over_the_tables_are_written_and_all_is_well(tmp_path, monkeypatch, capsys):
    given = {}

    def launch(choice, first, lock, until):
        given["until"] = until
        make(tmp_path, "figure2_adding", "quick", seeds=[0])
        return False

    monkeypatch.setattr(reproduce, "launch", launch)
    began = time.time()
    assert reproduce.reproduce(choice(tmp_path, minutes=2.0)) == 0
    said = capsys.readouterr()
    assert began + 60 < given["until"] < began + 120 - reproduce.IN_TIME
    assert "2 minutes, 1 at once, to begin with:\n  figure2_adding: IndRNN, T = 100, seed 0 (own, seed 0, " in said.out
    assert "16 of 24 runs are not done; the same command goes on with them." in said.err
    assert "8 of 24 done" in (tmp_path / "tables/quick/figure2_adding.md").read_text()


def test_minutes_that_hold_no_run_are_refused_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "launch", lambda *_: pytest.fail("started"))
    with pytest.raises(UserError, match=r"0.1 minutes do not do for plan, run and tables: give 0\.[2-9] or more\."):
        reproduce.reproduce(choice(tmp_path, minutes=0.1))
    assert not list(tmp_path.glob("tables"))


def test_minutes_are_not_for_runs_of_a_queue_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setitem(launching.CLUSTER, "slurm", "json")  # of a package that is there
    with pytest.raises(UserError, match="hydra.launcher.timeout_min"), open(tmp_path / "lock", "w") as lock:
        launching.launch(choice(tmp_path, launcher="slurm"), "experiment=quick/adding", lock, time.time())


def test_runs_have_time_to_write_after_their_launcher_has_ended(tmp_path):
    """The launcher ends at once, its run a moment later; one that never ends is killed."""
    run = "trap 'sleep 0.4; echo written > record; exit' INT; echo > ready; while :; do sleep 0.05; done"
    stubborn = "trap '' INT; echo > deaf; while :; do sleep 0.05; done"
    launcher = f"({run}) & ({stubborn}) & trap 'exit 1' INT; while :; do sleep 0.05; done"
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a test in the background of a shell would not
    child = subprocess.Popen(["bash", "-c", launcher], cwd=tmp_path, process_group=0, preexec_fn=hears)
    while not {"ready", "deaf"} <= {path.name for path in tmp_path.iterdir()}:
        time.sleep(0.01)
    began = time.monotonic()
    launching.stop(child, 2.0)
    assert (tmp_path / "record").read_text() == "written\n" and time.monotonic() - began < 30
    assert not living(child.pid)


def test_what_has_no_data_here_is_not_among_what_is_begun_with(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("INDRNN_DATA", str(tmp_path / "none"))
    of = choice(tmp_path, table=["table1_mnist", "figure2_adding"], profile="fast", column=None, minutes=60.0, jobs=30)
    reproduce.until_(of, of.planned(), time.time())
    said = capsys.readouterr().out
    assert "figure2_adding: IndRNN, T = 100, seed 0" in said and "table1_mnist" not in said
