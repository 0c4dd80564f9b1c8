"""The report page says what the tables say, and every number leads to its record."""

import csv
import html
import json
import math
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from made_up import make, record_of
from read_html import Reader

from indrnn import files, findings, publish, record, report_here, report_page
from indrnn.errors import UserError
from indrnn.tables import judged, logs, milestones, page_curves, page_tables, plan, schema, trials

RESULTS = files.ROOT / "results"
REPORT = RESULTS / report_page.NAME
TABLES = sorted(
    path for profile in schema.PROFILES for path in (RESULTS / profile).glob("*.csv") if path.stem != "changes"
)
each_table = pytest.mark.parametrize("path", TABLES, ids=lambda path: f"{path.parent.name}-{path.stem}")


@pytest.fixture(scope="module")
def published() -> Reader:
    return Reader((REPORT / "index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def curves() -> dict:
    return of((REPORT / "curves.js").read_text(encoding="utf-8"))


def lines_of(path: Path) -> list[dict[str, str]]:
    """The lines of a table's csv."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def of(script: str) -> dict:
    """The data of curves.js."""
    return json.loads(script.removeprefix("window.CURVES = ").removesuffix(";\n"))


@pytest.fixture
def few(monkeypatch):
    """The other tables, profiles and pages take their time."""
    monkeypatch.setattr(schema, "table_names", lambda: ["figure2_adding"])
    monkeypatch.setattr(milestones, "names", list)
    monkeypatch.setattr(report_here, "PROFILES", ["quick"])
    monkeypatch.setattr(trials, "write", lambda results: None)


# What is published


@each_table
def test_each_cell_of_a_table_stands_on_the_page(path, published):
    """Also its claims, and what compares example by example; links to runs stand in cells of their own."""
    lines = re.findall(r"^\| (.*) \|$", path.with_suffix(".md").read_text(encoding="utf-8"), re.M)
    cells = [cell.strip().replace("\\|", "|") for line in lines for cell in re.split(r"(?<!\\)\|", line)]
    runs = re.compile(r"(\[?[0-9a-f]{4}(\]\(\S+\))?( |$))+")
    wanted = {" ".join(cell.split()) for cell in cells if not re.fullmatch("-+", cell) and not runs.fullmatch(cell)}
    assert len(wanted) > 10
    assert wanted - {"runs"} <= set(published.cells[f"{path.parent.name}-{path.stem}"]), path


@each_table
def test_each_number_of_a_table_leads_to_its_record(path, published):
    there = {href: words for article, words, href in published.links if article == f"{path.parent.name}-{path.stem}"}
    number = schema.load_table(path.stem).number
    count = 0
    for line in lines_of(path):
        for signature, status in zip(line["signatures"].split(";"), line["statuses"].split(";"), strict=True):
            href = f"../runs/{signature}/run.json"
            assert (href in there) == (status not in ("", "to do"))
            if status == "finished":
                value = json.loads((REPORT / href).read_text(encoding="utf-8"))["metrics"][line["metric"]]
                assert there[href] == f"{value:{number if value < 1e4 else '.1e'}}"
                count += 1
    assert count


def test_each_link_leads_somewhere(published):
    assert len(published.ids) == len(set(published.ids)) and len(published.links) > 500
    for _, words, href in published.links:
        assert words
        if href.startswith("#"):
            assert href[1:] in published.ids
        elif not href.startswith("https://arxiv.org/abs/"):
            assert (REPORT / href.partition("#")[0]).is_file(), href


def test_it_loads_what_lies_beside_it_and_is_small(published):
    names = {path.name for path in REPORT.iterdir()}
    assert set(published.loads) - {"data:,"} <= names
    assert names == {"index.html", "curves.js", *report_page.AS_THEY_ARE}
    assert sum(path.stat().st_size for path in REPORT.iterdir()) < 2e6  # of the 5 MB that it may have
    for name in report_page.AS_THEY_ARE:
        assert (REPORT / name).read_bytes() == (report_page.WEB / name).read_bytes(), f"{name}: run `make tables`"
    assert "MIT License" in (REPORT / "uPlot.LICENSE.txt").read_text(encoding="utf-8")


def test_the_finding_comes_first(published):
    text = html.unescape((REPORT / "index.html").read_text(encoding="utf-8"))
    page = (RESULTS / "findings.md").read_text(encoding="utf-8")
    sentence = " ".join(page.split("## In short\n\n")[1].partition("\n\n")[0].split())
    assert 0 < text.index(sentence) < text.index("<table")
    rows = [row for row in re.findall(r"^\| (.*) \|$", page, re.M) if "](" in row]
    cells = {re.sub(r"\[(.*)\]\(.*\)", r"\1", cell.strip()) for row in rows for cell in row.split("|")}
    assert len(rows) > 20 and cells <= set(published.cells[""])


def test_curves_are_those_of_the_records(curves):
    chart = curves["fast-figure2_adding"]
    names = [row["label"] for row in chart["rows"]]
    panel = next(panel for panel in chart["panels"] if panel["title"] == "T = 100")
    of_table = lines_of(RESULTS / "fast/figure2_adding.csv")
    (line,) = [x for x in of_table if (x["row"], x["column"]) == ("IndRNN", "T = 100")]
    ours = [record.curve(RESULTS / "runs" / signature) for signature in line["signatures"].split(";")]
    drawn = [x for x in panel["lines"] if names[x["row"]] == "IndRNN"]
    thin, (mean,) = [x["y"] for x in drawn if x.get("thin")], [x["y"] for x in drawn if not x.get("thin")]
    assert panel["x"] == [row["update"] for row in ours[0]]
    assert thin == [[float(f"{row['val/mse']:.4g}") for row in curve] for curve in ours]
    last = math.fsum(curve[-1]["val/mse"] for curve in ours) / len(ours)
    assert mean[-1] == pytest.approx(last, rel=1e-3)


def test_the_authors_logs_stand_beside_ours(curves):
    every = [panel for name, chart in curves.items() if name.startswith("logs-") for panel in chart["panels"]]
    assert len(every) == len(logs.load())
    first = logs.load()["smnist_6"].by_examples
    panel = next(panel for panel in every if panel["title"] == "IndRNN (6 layers), MNIST")
    theirs, *ours = panel["lines"]
    points = {x: y for x, y in zip(panel["x"], theirs["y"], strict=True) if y is not None}
    assert points == pytest.approx(first, rel=1e-3) and len(ours) == 3
    assert [level["words"] for level in panel["levels"]] == ["paper 99"]


# What is made


def test_the_same_records_make_the_same_bytes_and_others_do_not(few, tmp_path):
    make(tmp_path / "runs", "figure2_adding", "quick", lambda run: 0.25)
    report = judged.report("figure2_adding", "quick", tmp_path / "runs")
    pages = [report_page.of_published(tmp_path, [report]) for _ in range(2)]
    assert pages[0] == pages[1] and "0.250 ±" in pages[0]["index.html"]
    make(tmp_path / "runs", "figure2_adding", "quick", lambda run: 0.35)
    other = report_page.of_published(tmp_path, [judged.report("figure2_adding", "quick", tmp_path / "runs")])
    assert other["index.html"] != pages[0]["index.html"] and other["curves.js"] != pages[0]["curves.js"]
    assert report_page.of_published(tmp_path, []) == {}


def test_what_is_not_done_is_said_and_leads_to_its_record(few, tmp_path):
    runs = make(tmp_path / "runs", "figure2_adding", "quick", lambda run: 0.5 if run.seed == 0 else None)
    first, second = (next(run for run in runs if run.seed == seed and run.row == "LSTM") for seed in (1, 2))
    record.write(tmp_path / "runs" / first.signature, record_of(first, status="interrupted"), [])
    record.write(tmp_path / "runs" / second.signature, record_of(second, status="diverged"), [])
    report = judged.report("figure2_adding", "quick", tmp_path / "runs")
    page = Reader(report_page.of_published(tmp_path, [report])["index.html"])
    words = {href: words for _, words, href in page.links}
    assert words[f"../runs/{first.signature}/run.json"] == "interrupted"
    assert words[f"../runs/{second.signature}/run.json"] == "diverged"
    cells = page.cells["quick-figure2_adding"]
    assert "failed 1/3" in cells and "incomplete 1/3" in cells and "diverged" not in cells


def test_publishing_writes_the_page_and_says_why_a_number_changed(few, tmp_path):
    def without_t100(run):
        return 0.5 + run.seed / 100 + (run.row == "LSTM")

    make(tmp_path / "first", "figure2_adding", "quick", lambda run: 0.5 + run.seed / 100)
    make(tmp_path / "second", "figure2_adding", "quick", without_t100)
    publish.main("quick", False, tmp_path / "first", tmp_path / "results")
    page = tmp_path / "results/report/index.html"
    assert "why not" not in page.read_text(encoding="utf-8")
    publish.main("quick", False, tmp_path / "second", tmp_path / "results", reason="why not")
    assert "why not" in page.read_text(encoding="utf-8") and 'href="../quick/changes.csv"' in page.read_text(
        encoding="utf-8"
    )
    assert "report/index.html" in (tmp_path / "results/SHA256SUMS").read_text(encoding="utf-8")


def test_this_machines_page_has_both_and_leads_to_both(few, tmp_path):
    make(tmp_path / "mine/runs", "figure2_adding", "quick", lambda run: 0.7)
    make(tmp_path / "published", "figure2_adding", "quick", lambda run: 0.6)
    publish.main("quick", False, tmp_path / "published", tmp_path / "results")
    text = report_here.main(tmp_path / "mine/runs", tmp_path / "results")
    out = tmp_path / "mine/runs/report"
    assert f"Report: {out / 'index.html'}\nOpen this file in a browser" in text
    page = Reader((out / "index.html").read_text(encoding="utf-8"))
    for article, words, folder in (("here-quick-figure2_adding", "0.700", tmp_path / "mine/runs"),
                                   ("quick-figure2_adding", "0.600", tmp_path / "results/runs")):  # fmt: skip
        records = [(words, href) for a, words, href in page.links if a == article and href.endswith("run.json")]
        assert len(records) == 24 and {said for said, _ in records} == {words}
        assert all((out / href).resolve().parents[1] == folder for _, href in records)
    assert page.ids.index("here-quick-figure2_adding") < page.ids.index("quick-figure2_adding")
    assert set(of((out / "curves.js").read_text(encoding="utf-8"))) >= {
        "here-quick-figure2_adding",
        "quick-figure2_adding",
    }


def test_without_any_run_there_is_no_page(few, tmp_path):
    with pytest.raises(UserError, match=f"No run of a table is in {tmp_path / 'runs'} or .*make reproduce-table"):
        report_here.main(tmp_path / "runs", tmp_path / "results")
    assert not (tmp_path / "runs").exists()


def test_long_curves_are_thinned_and_what_is_no_number_is_a_gap():
    long = {update: float(update) for update in range(1, 2 * page_curves.MOST + 2)}
    short = page_curves.thinned(long)
    assert len(short) <= page_curves.MOST and [*short][0] == 1 and [*short][-1] == max(long)
    assert page_curves.thinned(short) == short
    lines = [{"row": 0, "points": {1: math.nan, 3: 0.123456}}, {"row": 1, "points": {2: math.inf, 3: 2.0}}]
    assert page_curves.aligned(lines) == {
        "x": [1, 2, 3],
        "lines": [{"row": 0, "y": [None, None, 0.1235]}, {"row": 1, "y": [None, None, 2.0]}],
    }


def test_one_seed_stands_for_its_row():
    assert page_curves.of_row(2, {0: {1: 0.5}}) == [{"row": 2, "points": {1: 0.5}}]
    thin, other, mean = page_curves.of_row(0, {0: {1: 0.5, 2: 0.5}, 1: {1: 1.5}})
    assert thin["thin"] and other["thin"] and mean == {"row": 0, "points": {1: 1.0}}


def test_texts_are_escaped_and_links_moved():
    assert str(report_page.inline("a <b> & [c](d.md), `e`, **f**")) == (
        'a &lt;b&gt; &amp; <a href="d.md">c</a>, <code>e</code>, <strong>f</strong>'
    )
    moved = page_tables.moved("[a](b.md), [c](https://d), [e](#f)", Path("/x/fast"), Path("/x/report"))
    assert moved == "[a](../fast/b.md), [c](https://d), [e](#f)"


@pytest.mark.parametrize(
    "verdict, kind",
    [("reproduced", "good"), ("holds", "good"), ("holds 5 of 6, open 1", "good"), ("worse", "bad"), ("", ""),
     ("does not hold", "bad"), ("failed 1/3", "bad"), ("incomplete 1/3", "open"), ("undecided", "open")],
)  # fmt: skip
def test_verdicts_have_a_kind(verdict, kind):
    assert page_tables.kind(verdict) == kind


def test_every_answer_of_the_findings_has_a_kind():
    assert {page_tables.kind(answer) for answer in findings.ANSWERS} == {"good", "bad"}


def test_what_is_installed_has_template_script_and_licence(tmp_path):
    for name in ("src", "pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / name).symlink_to(files.ROOT / name)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "out")]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, env=os.environ, timeout=120)
    (wheel,) = (tmp_path / "out").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("index.html.j2", *report_page.AS_THEY_ARE):
        assert f"indrnn/tables/web/{name}" in names


def test_drawing_the_page_needs_no_torch():
    code = "import sys, indrnn.report_here; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_a_row_that_names_no_model_has_the_look_of_a_setting(tmp_path):
    table = schema.load_table("ablation_pmnist")
    runs = [run for cell in plan.plan(table, "quick", seeds=[0]) for run in cell.runs]
    name = runs[0].metric.replace("test", "val")
    for run in runs:
        record.write(tmp_path / run.signature, record_of(run), [{"update": 1, name: 50.0}])
    chart = page_curves.of_report(judged.report("ablation_pmnist", "quick", tmp_path), tmp_path)
    colors = [row["color"] for row in chart["rows"]]
    assert len(set(colors)) == len(colors) == len(table.rows) and not chart["log"]
