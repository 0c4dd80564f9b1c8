import csv
import io
import re
import shutil

import pytest
from made_up import make, record_of

from indrnn import plan, publish, record, render, schema, tables
from indrnn.errors import UserError


def cell(report, row, column):
    return report.columns[column][row]


def test_quick_judges_claims_only_and_names_its_cuts(tmp_path):
    make(tmp_path, "table1_mnist", "quick", lambda run: (10.0 if "IndRNN" in run.row else 60.0) + run.seed)
    report = tables.report("table1_mnist", "quick", tmp_path)
    assert cell(report, "lstm", "smnist").verdict == "not judged at quick"
    assert cell(report, "lstm", "smnist").gap is None
    assert {found.verdict for _, found in report.claims} == {"holds"}
    config = plan.runs(["table1_mnist"], "quick")[0].config
    budget = f"within {config['trainer']['max_updates']} updates at T = {config['data']['seq_len']}"
    assert report.claims[1][0] == f"on MNIST, {budget}, IndRNN (6 layers) has a lower error than LSTM"
    text = " ".join(render.markdown(report, None).split())
    assert "Stand-in data: digits of nobody stand in for MNIST." in text
    assert f"data.seq_len {config['data']['seq_len']} (784)" in text
    assert report.complete and f"Runs: {report.planned} of {report.planned} done" in text


def test_paper_judges_numbers(tmp_path):
    values = {"IndRNN (6 layers)": 1.2, "IndRNN (12 layers)": 0.2, "LSTM": 2.5, "IRNN": 5.0, "GRU": 1.0}
    make(tmp_path, "table1_mnist", "paper", lambda run: values.get(run.row, 0.6), columns=["smnist"])
    report = tables.report("table1_mnist", "paper", tmp_path)
    verdicts = {row: x.verdict for row, x in report.columns["smnist"].items()}
    assert verdicts["indrnn_6"] == verdicts["irnn"] == "reproduced"
    assert (verdicts["indrnn_12"], verdicts["lstm"]) == ("better", "worse")
    assert verdicts["gru"] == "no number in the paper"
    assert verdicts["urnn"] == "cited"
    assert cell(report, "lstm", "smnist").gap == pytest.approx(0.7)
    assert cell(report, "lstm", "pmnist").verdict == "incomplete 0/9"
    assert not report.complete and report.missing


def test_validation_chooses_among_candidates(tmp_path):
    """By the validation metric, although another candidate is better on the test set."""
    for run in make(tmp_path, "table1_mnist", "paper", columns=["smnist"]):
        if run.row == "LSTM":
            entry = record_of(run, value=3.0 - run.candidate, validated=abs(run.candidate - 1) + 1.0)
            record.write(tmp_path / run.signature, entry, [])
    report = tables.report("table1_mnist", "paper", tmp_path)
    chosen = cell(report, "lstm", "smnist")
    taken = report.table.rows["lstm"].candidates[1][0]
    assert chosen.ours.values == (2.0,) * 3
    assert chosen.chosen == f"best of 3 on validation: {taken}"
    assert f"LSTM, MNIST: best of 3 on validation: {taken}." in render.markdown(report, None)
    shutil.rmtree(tmp_path / chosen.runs[0].signature)
    report = tables.report("table1_mnist", "paper", tmp_path)
    assert cell(report, "lstm", "smnist").verdict == "incomplete 8/9"
    assert not cell(report, "lstm", "smnist").ours.values


def test_failures_stand_in_their_cells(tmp_path):
    runs = {(run.row, run.column, run.seed): run for run in make(tmp_path, "figure2_adding", "quick")}
    diverged, damaged, misplaced = (runs[row, "T = 100", 1] for row in ("LSTM", "IRNN", "RNN-tanh"))
    record.write(tmp_path / diverged.signature, record_of(diverged, status="diverged"), [])
    (tmp_path / damaged.signature / "run.json").write_text('{"signature": ')
    record.write(tmp_path / misplaced.signature, record_of(runs["RNN-tanh", "T = 100", 0]), [])
    report = tables.report("figure2_adding", "quick", tmp_path)
    verdicts = {row: x.verdict for row, x in report.columns["T100"].items()}
    assert verdicts == {
        "lstm": "failed 1/3",
        "irnn": "incomplete 2/3",
        "rnn_tanh": "incomplete 2/3",
        "indrnn": "not judged at quick",
    }
    assert render.cells(cell(report, "lstm", "T100"), ".2f")[3] == "-"
    assert any(found.evidence == "the other one: failed 1/3" for _, found in report.claims)


@pytest.mark.parametrize("name", schema.table_names())
@pytest.mark.parametrize("profile", schema.PROFILES)
def test_no_cell_is_blank(tmp_path, name, profile):
    """Without any record, too."""
    for _ in range(2):
        report = tables.report(name, profile, tmp_path)
        text = render.markdown(report, "runs")
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert all(field.strip() for row in rows for field in re.split(r"(?<!\\)\|", row)[1:-1])
        assert len(rows) == sum(2 + len(column) for column in report.columns.values()) + (
            2 + len(report.claims) if report.claims else 0
        )
        terminal = render.markdown(report, None)
        assert max(map(len, terminal.splitlines())) <= 120 and "run.json" not in terminal
        elsewhere = [c.label for key, c in report.table.columns.items() if key not in report.columns]
        assert all(f"{label}" in terminal for label in elsewhere)
        make(tmp_path, name, profile, lambda run: None if run.seed == 1 else 0.5, columns=[list(report.columns)[0]])


def test_csv_has_a_line_per_cell_with_its_provenance(tmp_path):
    runs = make(tmp_path, "figure2_adding", "quick")
    report = tables.report("figure2_adding", "quick", tmp_path)
    lines = list(csv.DictReader(io.StringIO(render.csv(report))))
    assert len(lines) == len(report.table.rows) * len(report.columns)
    line = next(line for line in lines if (line["row"], line["column"]) == ("IndRNN", "T = 100"))
    mine = [run for run in runs if (run.row, run.column) == ("IndRNN", "T = 100")]
    assert line["signatures"] == ";".join(run.signature for run in mine)
    assert [float(value) for value in line["values"].split(";")] == [0.5, 0.51, 0.52]
    assert (float(line["mean"]), line["n"], line["commits"]) == (pytest.approx(0.51), "3", "0" * 40)


def test_tex_is_escaped(tmp_path):
    text = render.tex(tables.report("table1_mnist", "paper", tmp_path))
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2
    assert render.escaped("5 % & a_b ≈ γ^2 \\") == (
        r"5 \% \& a\_b $\approx$ $\gamma$\textasciicircum{}2 \textbackslash{}"
    )
    assert not re.search(r"(?<!\\)[%#_]|[≈±γ]", body)


def test_same_records_same_bytes(tmp_path):
    make(tmp_path / "runs", "figure2_adding", "quick")
    for out in ("a", "b"):
        report = tables.report("figure2_adding", "quick", tmp_path / "runs")
        render.write(report, tmp_path / out / "quick", tmp_path / "runs")
    files = sorted(path.name for path in (tmp_path / "a" / "quick").iterdir())
    assert files == [f"figure2_adding.{end}" for end in ("csv", "md", "png", "tex")]
    for name in files:
        assert (tmp_path / "a/quick" / name).read_bytes() == (tmp_path / "b/quick" / name).read_bytes()
    links = re.findall(r"\]\((\S+run\.json)\)", (tmp_path / "a/quick/figure2_adding.md").read_text())
    assert len(links) == 24 and all((tmp_path / "a/quick" / link).exists() for link in links)


def test_publish_copies_and_renders_from_the_copies_alone(tmp_path):
    runs = make(tmp_path / "runs", "figure2_adding", "quick", lambda run: None if run.seed == 2 else 0.5)
    reports = publish.publish("quick", tmp_path / "runs", tmp_path / "results")
    assert [report.table.name for report in reports] == ["figure2_adding"]
    assert "IndRNN, T = 100, seed 2" in reports[0].missing
    published = {path.name for path in (tmp_path / "results" / "runs").iterdir()}
    assert published == {run.signature for run in runs if run.seed != 2}
    text = (tmp_path / "results/quick/figure2_adding.md").read_text()
    assert "incomplete 2/3" in text and "../runs/" in text
    shutil.rmtree(tmp_path / "runs")
    before = {path.name: path.read_bytes() for path in (tmp_path / "results/quick").iterdir()}
    publish.render_all(tmp_path / "results")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "results/quick").iterdir()}


def test_publish_refuses_uncommitted_code(tmp_path):
    runs = make(tmp_path / "runs", "figure2_adding", "quick")
    record.write(tmp_path / "runs" / runs[3].signature, record_of(runs[3]) | {"dirty": True}, [])
    with pytest.raises(UserError, match=f"1 of 24 runs .* {runs[3].signature}: commit"):
        publish.publish("quick", tmp_path / "runs", tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_publish_with_nothing_done(tmp_path):
    with pytest.raises(UserError, match="nothing to publish"):
        publish.publish("fast", tmp_path / "runs", tmp_path / "results")
