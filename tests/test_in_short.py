"""The head of what we found: claims are counted, and each number is the one of the page that it links to."""

import functools
import re
from dataclasses import replace

import pytest

from indrnn import files, findings, in_short
from indrnn.errors import UserError
from indrnn.in_short import Number
from indrnn.tables import judged

RESULTS = files.ROOT / "results"
ASKED = findings.load().numbers


@functools.cache
def report(name, profile):
    return judged.report(name, profile, RESULTS / "runs")


def test_claims_are_counted_and_named_and_what_is_not_whole_is_open():
    claims = [("holds", "a"), ("reproduced", "b"), ("holds", ""), ("holds", "c"), ("does not hold", "d")]
    claims += [("open", "e"), ("holds 2 of 3, open 1", "f"), ("worse", "g")]
    assert in_short.sentence(claims) == (
        "Of 8 claims of the papers 4 hold at the budgets that we could give them, such as that IndRNN a, b and c; "
        "1 do not hold, such as that IndRNN d; 3 are open."
    )
    assert "2 hold at the budgets that we could give them; 0 do not hold; 0 are" in in_short.sentence(
        [("holds", "")] * 2
    )


def test_each_number_stands_on_its_page_at_the_highest_profile_that_is_complete():
    rows = in_short.numbers(ASKED, RESULTS, report)
    assert len(rows) == len(ASKED)
    for row, asked in zip(rows, ASKED, strict=True):
        text, ours, lstm, _, profile, link = row
        page = (RESULTS / re.search(r"\((.*)\)", link)[1]).read_text(encoding="utf-8")
        assert text == asked.text and f"| {ours} " in page and f"/{asked.table}.md" in link
        assert lstm.startswith("incomplete") or f"| {lstm} " in page
        for higher in ("fast", "paper")[("quick", "fast", "paper").index(profile) :]:
            columns = report(asked.table, higher).columns
            assert asked.column not in columns or columns[asked.column][asked.row].ours.reason


def test_no_number_of_the_paper_stands_beside_quick():
    rows = in_short.numbers(ASKED, RESULTS, report)
    papers = {profile: paper for _, _, _, paper, profile, _ in rows}
    assert papers["quick"] == "-" and papers["fast"] != "-"


def test_a_table_that_is_not_published_has_no_number_and_is_not_looked_at(tmp_path):
    assert in_short.numbers([*ASKED, replace(ASKED[0], table="gone")], tmp_path, report) == []


@pytest.mark.parametrize("what", ["column", "row", "lstm"])
def test_what_a_table_does_not_have_is_told(what):
    number = replace(Number("a number", "figure2_adding", "T100", "indrnn", "lstm"), **{what: "gone"})
    with pytest.raises(UserError, match="'a number' names 'gone', which figure2_adding does not have"):
        in_short.numbers([number], RESULTS, report)
