"""Reproducing within this process, from made-up records; tests of commands start it as a user does."""

from pathlib import Path

import pytest
from made_up import make

from indrnn import reproduce
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
