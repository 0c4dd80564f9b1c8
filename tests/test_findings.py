"""What we found: every line has an answer that stands on the page that it links to."""

import re

import pytest

from indrnn import configs, files, findings
from indrnn.errors import UserError
from indrnn.findings import Answer, Line
from indrnn.tables import judged

RESULTS = files.ROOT / "results"
LINES = findings.load()


def report(name, profile):
    return judged.report(name, profile, RESULTS / "runs")


def test_the_page_is_the_published_one_and_its_links_lead_somewhere():
    page = (RESULTS / "findings.md").read_text(encoding="utf-8")
    assert page == findings.page(RESULTS)
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert len(links) == len(LINES.papers) + len(LINES.ours) + len(LINES.numbers)
    assert all((RESULTS / link).is_file() for link in links)


@pytest.mark.parametrize(
    "line", [line for line in LINES.papers + LINES.ours if line.claims], ids=lambda line: line.text
)
def test_each_verdict_that_is_counted_stands_on_the_page(line):
    for answer in findings.answers(line, RESULTS, report):
        page = (RESULTS / answer.page).read_text(encoding="utf-8")
        cells = [[cell.strip() for cell in row.split("|")[1:3]] for row in page.splitlines() if row.startswith("| ")]
        judgements = [
            judgement
            for judgement in report(line.table, answer.profile).judgements
            if judgement.claim.name in line.claims and (not line.columns or judgement.column in line.columns)
        ]
        assert [x.finding.verdict for x in judgements] == answer.verdicts
        assert all([x.text, x.finding.verdict] in cells for x in judgements)


@pytest.mark.parametrize(
    "verdicts, words",
    [
        (["holds"] * 3, "holds"),
        (["holds", "undecided", "holds"], "holds 2 of 3, open 1"),
        (["undecided", "incomplete 1/3"], "open"),
        (["does not hold", "undecided", "undecided"], "does not hold 1 of 3, open 2"),
        (["worse", "better", "worse"], "worse 2 of 3, better 1"),
        (["within tolerance, n too small"], "open"),
    ],
)
def test_verdicts_are_counted(verdicts, words):
    assert Answer(verdicts, [3], "quick", "x.md").words == words


def test_seeds_are_a_number_or_a_span():
    assert [Answer(["holds"], seeds, "quick", "x.md").n for seeds in ([], [3, 3], [5, 3])] == ["-", "3", "3 to 5"]


@pytest.mark.parametrize(
    "line, words",
    [
        (
            Line("a", table="figure2_adding", claims=["gone"]),
            "'a' names 'gone', which figure2_adding does not have",
        ),
        (Line("b", pairs="gone"), "no table has the pair 'gone'"),
    ],
)
def test_a_line_that_names_nothing_is_told(line, words):
    with pytest.raises(UserError, match=words):
        findings.answers(line, RESULTS, report)


def test_a_mistyped_key_is_told(tmp_path, monkeypatch):
    (tmp_path / "findings.yaml").write_text("papers: [{text: a, tabel: b}]\nours: []\n")
    monkeypatch.setattr(configs, "CONF", tmp_path)
    with pytest.raises(UserError, match="findings.yaml: .*tabel"):
        findings.load()
