"""What ``scripts/publish.py`` says of what it publishes; tests of tables and milestones look at the files."""

import pytest
from made_up import make

from indrnn import files, publish
from indrnn.errors import UserError
from indrnn.tables import schema


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """The other tables take their time."""
    monkeypatch.setattr(schema, "table_names", lambda: ["figure2_adding"])


def test_a_profile_with_what_it_misses_and_all_of_it_again(tmp_path):
    make(tmp_path / "runs", "figure2_adding", "quick", lambda run: None if run.seed == 2 else 0.5)
    text = publish.main("quick", False, tmp_path / "runs", tmp_path / "results")
    head, *missing = text.splitlines()
    assert head == "quick/figure2_adding: 16 of 24 runs"
    assert missing[0] == "  missing: T = 100: RNN-tanh 1, LSTM 1, IRNN 1, IndRNN 1" and len(missing) == 2
    assert publish.main(None, False, tmp_path / "nowhere", tmp_path / "results") == text


def test_nothing_is_published_is_said_with_the_folder_as_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = (tmp_path / "runs").relative_to(tmp_path)
    assert publish.main(None, False, where, where) == "Nothing is published in runs."
    with pytest.raises(UserError, match=f"in {tmp_path / 'runs'}: nothing to publish"):
        publish.main(None, True, where, where)


@pytest.mark.parametrize("own", [True, False])
def test_the_readme_shows_the_repositorys_results_alone(tmp_path, monkeypatch, own):
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.setattr(publish, "RESULTS", tmp_path / "results" if own else tmp_path / "others")
    monkeypatch.setattr(publish, "with_tables", str.upper)
    (tmp_path / "README.md").write_text("read me")
    publish.main(None, False, tmp_path / "runs", tmp_path / "results")
    assert (tmp_path / "README.md").read_text() == ("READ ME" if own else "read me")
