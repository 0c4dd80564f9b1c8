"""Which published numbers become others, and that their reasons stay."""

import pytest
from made_up import make, record_of

from indrnn import record
from indrnn.errors import UserError
from indrnn.tables import changes, judged, render, schema

NAME = "figure2_adding"


def published(folder, value, keep=lambda run: True):
    """A folder such as results/ with the table of some made-up runs."""
    make(folder / "runs", NAME, "quick", lambda run: value(run) if keep(run) else None)
    render.write_texts(judged.report(NAME, "quick", folder / "runs"), folder / "quick", folder / "runs")
    return folder


def told(before, after) -> list[tuple]:
    found = changes.between(before, after)
    return [(*change.place, change.old, change.new, change.filled) for change in found]


def base(run):
    return 0.5 + run.seed / 100


@pytest.fixture
def before(tmp_path):
    return published(tmp_path / "before", base)


def test_equal_numbers_are_no_change(tmp_path, before):
    assert told(before, before) == told(before, published(tmp_path / "after", base)) == []
    assert told(tmp_path / "nowhere", before) == []


def test_a_number_that_moves_is_told_in_as_many_digits_as_it_takes(tmp_path, before):
    def value(run):
        small = {"LSTM": 0.1, "IRNN": 1e-5, "IndRNN": 1e-12}.get(run.row, 0)
        return base(run) + (small if run.column == "T = 100" and run.seed == 2 else 0)

    found = told(before, published(tmp_path / "after", value))
    assert [(column, row) for column, row, *_ in found] == [("T = 100", row) for row in ("LSTM", "IRNN", "IndRNN")]
    assert found[0][2:] == ("0.510 ± 0.0100 (3)", "0.543 ± 0.0666 (3)", False)
    assert found[1][2:] == ("0.51 ± 0.01 (3)", "0.510003 ± 0.010005 (3)", False)
    old, new = found[2][2:4]
    assert old != new and new.startswith("0.5100000000003")


def test_a_cell_that_gains_seeds_is_filled_and_one_whose_seeds_are_others_is_changed(tmp_path):
    before = published(tmp_path / "before", base, lambda run: run.seed != 2)
    after = published(tmp_path / "after", lambda run: base(run) + (run.row == "LSTM" and run.seed == 1))
    found = {(column, row): filled for column, row, _, _, filled in told(before, after)}
    assert len(found) == 8 and [place for place, filled in found.items() if not filled] == [
        ("T = 100", "LSTM"),
        ("T = 200", "LSTM"),
    ]
    fewer = told(after, before)
    assert len(fewer) == 8 and not any(filled for *_, filled in fewer)


def test_a_seed_that_diverged_takes_the_number_away(tmp_path, before):
    make(tmp_path / "after/runs", NAME, "quick", base)
    (run, *_) = make(tmp_path / "other", NAME, "quick", base)
    record.write(tmp_path / "after/runs" / run.signature, record_of(run, status="diverged"), [])
    folder = tmp_path / "after"
    render.write_texts(judged.report(NAME, "quick", folder / "runs"), folder / "quick", folder / "runs")
    assert told(before, folder) == [(run.column, run.row, "0.510 ± 0.0100 (3)", "failed 1/3", False)]
    ((*_, old, new, filled),) = told(folder, before)  # that a seed fails is a result, too
    assert (old, new, filled) == ("failed 1/3", "0.510 ± 0.0100 (3)", False)


def test_a_cell_that_is_gone_counts_and_one_under_another_label_does_not(tmp_path, before, monkeypatch):
    table = schema.load_table(NAME)
    after = published(tmp_path / "after", base)
    path = after / f"quick/{NAME}.csv"
    path.write_text(path.read_text().replace(",LSTM,", ",an LSTM,"))
    assert told(before, after) == []
    path.write_text("".join(line for line in path.read_text().splitlines(True) if ",an LSTM," not in line))
    assert [(row, new) for _, row, _, new, _ in told(before, after)] == [("LSTM", "-"), ("LSTM", "-")]
    assert table.rows["lstm"].label == "LSTM"


def test_runs_under_other_signatures_are_others(tmp_path, before):
    after = published(tmp_path / "after", base)
    path, run = after / f"quick/{NAME}.csv", next(iter(changes.cells(after / f"quick/{NAME}.csv").values())).runs
    path.write_text(path.read_text().replace(next(iter(run)), "0" * 12))
    assert told(before, after) == []  # the numbers are the same
    path.write_text(path.read_text().replace(",0.51,", ",0.52,"))
    assert {new for *_, new, filled in told(before, after)} == {"0.520 ± 0.0100 (3)"}


def test_reasons_are_kept_once_and_said_in_one_sentence_for_each(tmp_path, before):
    after = published(tmp_path / "after", lambda run: base(run) + (run.row == "LSTM"))
    found = changes.between(before, after)
    assert {change.date for change in found} == {"2026-01-01"}
    changes.add(after, found, "a faster kernel, another rounding.")
    changes.add(after, found, "said twice")
    (first, second) = changes.read(after / "quick")
    assert first == {
        "date": "2026-01-01",
        "table": NAME,
        "column": "T = 100",
        "row": "LSTM",
        "old": "0.510 ± 0.0100 (3)",
        "new": "1.51 ± 0.0100 (3)",
        "reason": "a faster kernel, another rounding.",
    }
    (sentence,) = changes.sentences(after / "quick", NAME)
    expected = "Published anew with runs of 2026-01-01, 2 cells: a faster kernel, another rounding (old and new in "
    assert sentence == f"{expected}[changes.csv](changes.csv))." and second["column"] == "T = 200"
    assert changes.sentences(after / "quick", "table1_mnist") == [] == changes.sentences(tmp_path, NAME)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "column,row,signatures,statuses,values\nx,y,a;b,finished,1\n"])
def test_a_table_or_a_list_that_is_none_of_ours_is_named(tmp_path, before, text):
    path = before / f"quick/{NAME}.csv"
    if text:
        path.write_text(text)
        with pytest.raises(UserError, match=f"{path} is no table of ours"):
            changes.cells(path)
    (before / "quick" / changes.NAME).write_text(text or "date,table\n2026-01-01,x\n")
    with pytest.raises(UserError, match="changes.csv is damaged"):
        changes.read(before / "quick")
