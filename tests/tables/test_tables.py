import csv
import io
import re
import shutil

import pytest
from made_up import make, record_of

from indrnn import publish, record
from indrnn.adding_numbers import chance
from indrnn.data import TEST
from indrnn.errors import UserError
from indrnn.tables import judged, plan, render, schema, table_text


def cell(report, row, column):
    return report.columns[column][row]


def test_quick_judges_claims_only_and_names_its_cuts(tmp_path):
    make(tmp_path, "table1_mnist", "quick", lambda run: (10.0 if "IndRNN" in run.row else 60.0) + run.seed)
    report = judged.report("table1_mnist", "quick", tmp_path)
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
    report = judged.report("table1_mnist", "paper", tmp_path)
    verdicts = {row: x.verdict for row, x in report.columns["smnist"].items()}
    assert verdicts["indrnn_6"] == verdicts["irnn"] == "reproduced"
    assert (verdicts["indrnn_12"], verdicts["lstm"]) == ("better", "worse")
    assert verdicts["gru"] == "no number in the paper"
    assert verdicts["urnn"] == "cited"
    assert cell(report, "lstm", "smnist").gap == pytest.approx(0.7)
    assert cell(report, "lstm", "pmnist").verdict == "incomplete 0/5"
    assert not report.complete and report.missing


def test_a_curve_of_the_paper_is_answered_by_when(tmp_path):
    """A curve of make: at update 50 i a validation of the record's value / (i + 1), for i up to 8."""
    runs = make(tmp_path, "figure2_adding", "fast", lambda run: 0.04 if run.row == "IndRNN" else 0.5)
    report = judged.report("figure2_adding", "fast", tmp_path)
    indrnn = cell(report, "indrnn", "T100")
    assert indrnn.reached == {0.1: (50,) * 3, 0.01: (200,) * 3}
    assert indrnn.verdict == "below 0.1 from 50 (1%), 0.01 from 200 (3%)"
    assert cell(report, "lstm", "T100").verdict == "below 0.1 from 250 (4%), 0.01 never"
    entry = record_of(runs[0], 0.5)
    about = {"device": "x", "seconds": 18.0} | {key: entry[key] for key in ("commit", "source", "versions")}
    entry["sittings"] = [about | {"updates": [3000 * n, 3000 * (n + 1)], "peak_bytes": (n + 1) * 10**9} for n in (0, 1)]
    record.write(tmp_path / runs[0].signature, entry, [])
    assert cell(judged.report("figure2_adding", "fast", tmp_path), "rnn_tanh", "T100").reached[0.1][0] is None
    text = render.markdown(judged.report("figure2_adding", "fast", tmp_path), "../runs")
    assert "6,000 updates, 0.192M examples, 0.6 min, 2 GB" in text
    assert "0.1: 250 250 250; 0.01: never never never" in render.csv(report)


def test_a_gap_has_its_interval(tmp_path):
    make(tmp_path, "table1_mnist", "paper", lambda run: 1.0 + 0.1 * run.seed, columns=["smnist"])
    report = judged.report("table1_mnist", "paper", tmp_path)
    assert cell(report, "indrnn_6", "smnist").gap_interval == pytest.approx((-0.0686, 0.2686), abs=1e-4)
    text = render.markdown(report, "../runs")
    assert "+0.10 [-0.07, +0.27]" in text and "Gap: our mean minus the paper's value" in text
    assert "[-0.07" not in render.markdown(report, None)  # a terminal has 120 columns


def test_validation_chooses_among_candidates(tmp_path):
    """By the validation metric, although another candidate is better on the test set."""
    for run in make(tmp_path, "table1_mnist", "paper", columns=["smnist"]):
        if run.row == "LSTM":
            entry = record_of(run, value=3.0 - run.candidate, validated=abs(run.candidate - 1) + 1.0)
            record.write(tmp_path / run.signature, entry, [])
    report = judged.report("table1_mnist", "paper", tmp_path)
    chosen = cell(report, "lstm", "smnist")
    taken = report.table.rows["lstm"].candidates[1][0]
    assert chosen.ours.values == (2.0,) * 3
    assert chosen.chosen == f"best of 3 on validation with seed 0: {taken}"
    text = render.markdown(report, None)
    assert f"LSTM, MNIST: best of 3 on validation with seed 0: {taken}." in text
    assert "each is trained with the first seed; validation chooses" in " ".join(text.split())
    assert len(chosen.found) == 5  # the other candidates' other seeds are not asked for
    shutil.rmtree(tmp_path / chosen.runs[1].signature)
    assert cell(judged.report("table1_mnist", "paper", tmp_path), "lstm", "smnist").verdict == "incomplete 2/3"
    shutil.rmtree(tmp_path / chosen.runs[0].signature)
    report = judged.report("table1_mnist", "paper", tmp_path)
    assert cell(report, "lstm", "smnist").verdict == "incomplete 2/5"
    assert not cell(report, "lstm", "smnist").ours.values


def test_a_row_may_read_another_metric_of_the_same_runs(tmp_path):
    """Dynamic evaluation is a second test of networks that are trained once."""
    for run in make(tmp_path, "table3_ptb_word", "paper", lambda run: 60.0 + run.seed):
        if run.row == "dense-IndRNN":
            entry = record_of(run, 56.8 + run.seed / 5)
            entry["metrics"]["test/dynamic_ppl"] = 50.77 + run.seed / 5
            record.write(tmp_path / run.signature, entry, [])
    report = judged.report("table3_ptb_word", "paper", tmp_path)
    static, dynamic = (cell(report, row, "test") for row in ("dense_indrnn", "dense_indrnn_dynamic"))
    assert static.runs[0].signature == dynamic.runs[0].signature
    assert (static.ours.mean, dynamic.ours.mean) == (57.0, pytest.approx(50.97))
    assert static.verdict == dynamic.verdict == "reproduced"
    rows = {line["row"]: line["metric"] for line in csv.DictReader(render.csv(report).splitlines())}
    assert rows[static.row.label] == "test/ppl" and rows[dynamic.row.label] == "test/dynamic_ppl"
    assert report.planned == len(plan.runs(["table3_ptb_word"], "paper", folder=tmp_path))


def test_where_data_are_missing_the_footer_says_how_to_get_them(tmp_path):
    for run in make(tmp_path, "table4_ntu", "paper", columns=["ntu_cs"]):
        record.write(tmp_path / run.signature, record_of(run, status="no_data"), [])
    report = judged.report("table4_ntu", "paper", tmp_path)
    assert cell(report, "indrnn_6", "ntu_cs").verdict == "no data 3/3"
    assert cell(report, "indrnn_6", "ntu_cv").verdict == "incomplete 0/3"
    text = " ".join(render.markdown(report, None).split())
    assert "- No data: NTU RGB+D may not be passed on. Ask the ROSE Lab" in text and "make data NTU=<folder" in text
    make(tmp_path, "table4_ntu", "paper", lambda run: 80.0, columns=["ntu_cs"])
    assert "No data:" not in render.markdown(judged.report("table4_ntu", "paper", tmp_path), None)


def test_where_higher_is_better_more_than_the_paper_is_better(tmp_path):
    values = {"IndRNN (4 layers)": 79.57, "IndRNN (6 layers)": 83.0, "dense-IndRNN": 83.0}
    make(tmp_path, "table4_ntu", "paper", lambda run: values.get(run.row, 80.0), columns=["ntu_cs"])
    report = judged.report("table4_ntu", "paper", tmp_path)
    found = {row: x.verdict for row, x in report.columns["ntu_cs"].items()}
    assert [found[row] for row in ("indrnn_4", "indrnn_6", "dense_indrnn")] == ["reproduced", "better", "worse"]
    assert cell(report, "dense_indrnn", "ntu_cs").gap == pytest.approx(-1.88)


def test_a_row_may_have_a_budget_of_its_own():
    cells = {x.row: x for x in plan.plan(schema.load_table("table2_ptb_char"), "fast", seeds=[0])}
    updates = {row: cells[row].runs[0].config["trainer"]["max_updates"] for row in ("indrnn_6", "indrnn_6_150")}
    assert updates["indrnn_6_150"] < updates["indrnn_6"]


def test_the_adding_problem_names_the_chance_level_of_every_test_set(tmp_path):
    """Of the 1,000 sequences at hand, not of the distribution; other tables have none."""
    text = " ".join(render.markdown(judged.report("figure2_adding", "paper", tmp_path), None).split())
    levels = "; ".join(f"T = {T} {chance(TEST, T, 1000):#.3g}" for T in (100, 500, 1000, 5000))
    words = "Chance, the mse of the best constant answer on the test set of 1,000 sequences, 1/6 in expectation: "
    assert f"- {words}{levels}. -" in text
    sensitivity = render.markdown(judged.report("sensitivity_adding", "quick", tmp_path), None)
    assert f"{words}T = 100 0.170." in " ".join(sensitivity.split())
    assert "Chance" not in render.markdown(judged.report("depth_pmnist", "quick", tmp_path), None)


def test_failures_stand_in_their_cells(tmp_path):
    runs = {(run.row, run.column, run.seed): run for run in make(tmp_path, "figure2_adding", "quick")}
    diverged, damaged, misplaced = (runs[row, "T = 100", 1] for row in ("LSTM", "IRNN", "RNN-tanh"))
    record.write(tmp_path / diverged.signature, record_of(diverged, status="diverged"), [])
    (tmp_path / damaged.signature / "run.json").write_text('{"signature": ')
    record.write(tmp_path / misplaced.signature, record_of(runs["RNN-tanh", "T = 100", 0]), [])
    report = judged.report("figure2_adding", "quick", tmp_path)
    verdicts = {row: x.verdict for row, x in report.columns["T100"].items()}
    assert verdicts == {
        "lstm": "failed 1/3",
        "irnn": "incomplete 2/3",
        "rnn_tanh": "incomplete 2/3",
        "indrnn": "not judged at quick",
    }
    assert table_text.cells(cell(report, "lstm", "T100"), ".2f")[3] == "-"
    assert any(found.evidence == "the other one: failed 1/3" for _, found in report.claims)


@pytest.mark.parametrize("name", schema.table_names())
@pytest.mark.parametrize("profile", schema.PROFILES)
def test_no_cell_is_blank(tmp_path, name, profile):
    """Without any record, too."""
    for _ in range(2):
        report = judged.report(name, profile, tmp_path)
        text = render.markdown(report, "runs")
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert all(field.strip() for row in rows for field in re.split(r"(?<!\\)\|", row)[1:-1])
        shown = [len(column) for column in report.columns.values()]
        if report.table.axis:  # the numbers and the links, a line per column
            shown = [len(shown)] * 2 if shown else []
        if report.claims:
            shown.append(len(report.claims))
        assert len(rows) == sum(2 + lines for lines in shown)
        results = [result for column in report.columns.values() for result in column.values()]
        assert all(run.signature[:4] in text for result in results for run in result.runs)
        assert text.count("run.json") == sum(len(result.made) for result in results)
        terminal = render.markdown(report, None)
        assert max(map(len, terminal.splitlines())) <= 120 and "run.json" not in terminal
        elsewhere = [c.label for key, c in report.table.columns.items() if key not in report.columns]
        assert all(f"{label}" in terminal for label in elsewhere)
        make(
            tmp_path, name, profile, lambda run: None if run.seed == 1 else 0.5, columns=list(report.table.columns)[:1]
        )


def test_a_grid_shows_numbers_and_reasons_side_by_side(tmp_path):
    runs = {(x.row, x.column, x.seed): x for x in make(tmp_path, "depth_pmnist", "quick", lambda run: 50.0 + run.seed)}
    diverged, lost = runs["LSTM", "12 layers", 1], runs["IndRNN", "21 layers", 0]
    record.write(tmp_path / diverged.signature, record_of(diverged, status="diverged"), [])
    shutil.rmtree(tmp_path / lost.signature)
    report = judged.report("depth_pmnist", "quick", tmp_path)
    (numbers,) = table_text.blocks(report, None)
    assert numbers.heads == ["depth", "LSTM", "res-IndRNN", "IndRNN"]
    found = {line[0]: line[1:] for line in numbers.rows}
    assert found["1 layer"] == ["51.00 ± 1.00 (3)", "the plain network", "51.00 ± 1.00 (3)"]
    assert found["12 layers"][0] == "failed 1/3"
    assert found["21 layers"] == ["51.00 ± 1.00 (3)", "51.00 ± 1.00 (3)", "incomplete 2/3"]
    links = table_text.blocks(report, "../runs")[1]
    assert links.rows[0][2] == "-" and links.rows[5][3].startswith(f"{lost.signature[:4]} [")
    text = render.markdown(report, "../runs")
    assert "| paper" not in text and "![Beyond the papers](depth_pmnist.png)" in text
    assert "Parameters: LSTM 17,281; res-IndRNN 17,281; IndRNN 17,281." in text
    assert r"12 layers & failed 1/3 & 51.00 $\pm$ 1.00 (3)" in render.tex(report)
    lines = list(csv.DictReader(io.StringIO(render.csv(report))))
    assert len(lines) == 18 and lines[1]["verdict"] == "the plain network"
    one = report.of(["L12"])
    assert [line[0] for line in table_text.blocks(one, None)[0].rows] == ["12 layers"]
    assert len(one.claims) == 2  # those that compare with another column are not judged


def test_claims_across_columns(tmp_path):
    errors = {1: 40.0, 2: 50.0, 8: 70.0, 12: 50.5, 21: 30.0}
    runs = make(tmp_path, "depth_pmnist", "quick", lambda x: errors.get(x.config["model"]["num_layers"], 9.0) + x.seed)
    claims = dict(judged.report("depth_pmnist", "quick", tmp_path).claims)
    budget = "within 500 updates at T = 196, "
    assert claims[budget + "IndRNN with 21 layers has a lower error than with 1 layer"].verdict == "holds"
    assert claims[budget + "LSTM with 8 layers has a higher error than with 2 layers"].verdict == "holds"
    assert claims[budget + "LSTM with 12 layers has a higher error than with 2 layers"].verdict == "undecided"
    assert claims[budget + "LSTM with 21 layers has a higher error than with 2 layers"].verdict == "does not hold"
    assert claims[budget + "res-IndRNN with 8 layers + 1 has a lower error than LSTM with 8 layers"].verdict == "holds"
    lost = next(run for run in runs if (run.row, run.column) == ("LSTM", "2 layers"))
    shutil.rmtree(tmp_path / lost.signature)
    claims = dict(judged.report("depth_pmnist", "quick", tmp_path).claims)
    found = claims[budget + "LSTM with 8 layers has a higher error than with 2 layers"]
    assert (found.verdict, found.evidence) == ("undecided", "the other one: incomplete 2/3")


def test_claims_that_count_columns(tmp_path):
    rates = {"IRNN": 1e-3, "IRNN + clipping": 1e-3, "LSTM": 1e-4, "IndRNN": 3e-4}

    def value(run):
        return 0.001 if run.config["recipe"]["learning_rate"] >= rates[run.row] else 0.1

    runs = {(x.row, x.column, x.seed): x for x in make(tmp_path, "sensitivity_adding", "quick", value)}
    diverged = runs["IRNN", "rate 1e-2", 2]
    record.write(tmp_path / diverged.signature, record_of(diverged, status="diverged"), [])

    def findings():
        claims = judged.report("sensitivity_adding", "quick", tmp_path).claims
        return {text.removeprefix("within 2,000 updates at T = 100, "): vars(x) for text, x in claims}

    words = "has every seed below 0.01 at more rates than"
    assert findings() == {
        f"IndRNN {words} IRNN": {"verdict": "holds", "evidence": "4 of 6 against 2 of 6"},
        f"IndRNN {words} IRNN + clipping": {"verdict": "holds", "evidence": "4 of 6 against 3 of 6"},
        f"IndRNN {words} LSTM": {"verdict": "does not hold", "evidence": "4 of 6 against 5 of 6"},
        f"IRNN + clipping {words} IRNN": {"verdict": "holds", "evidence": "3 of 6 against 2 of 6"},
    }
    shutil.rmtree(tmp_path / runs["IndRNN", "rate 3e-5", 0].signature)
    assert findings()[f"IndRNN {words} LSTM"] == {"verdict": "undecided", "evidence": "this one: incomplete 2/3"}
    assert not judged.report("sensitivity_adding", "quick", tmp_path).of(["R3e5"]).claims


def test_header_of_the_sensitivity_table_names_its_budget(tmp_path):
    text = " ".join(render.markdown(judged.report("sensitivity_adding", "quick", tmp_path), None).split())
    assert "trainer.max_updates 2,000 (60,000)" in text and "recipe.learning_rate" not in text


def test_csv_has_a_line_per_cell_with_its_provenance(tmp_path):
    runs = make(tmp_path, "figure2_adding", "quick")
    report = judged.report("figure2_adding", "quick", tmp_path)
    lines = list(csv.DictReader(io.StringIO(render.csv(report))))
    assert len(lines) == len(report.table.rows) * len(report.columns)
    line = next(line for line in lines if (line["row"], line["column"]) == ("IndRNN", "T = 100"))
    mine = [run for run in runs if (run.row, run.column) == ("IndRNN", "T = 100")]
    assert line["signatures"] == ";".join(run.signature for run in mine)
    assert [float(value) for value in line["values"].split(";")] == [0.5, 0.51, 0.52]
    assert (float(line["mean"]), line["n"], line["commits"]) == (pytest.approx(0.51), "3", "0" * 40)


def test_tex_is_escaped(tmp_path):
    text = render.tex(judged.report("table1_mnist", "paper", tmp_path))
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2
    assert render.escaped("5 % & a_b ≈ γ^2 \\") == (
        r"5 \% \& a\_b $\approx$ $\gamma$\textasciicircum{}2 \textbackslash{}"
    )
    assert not re.search(r"(?<!\\)[%#_]|[≈±γ]", body)


@pytest.mark.parametrize("name", ["figure2_adding", "depth_pmnist", "sensitivity_adding"])
def test_same_records_same_bytes(tmp_path, name):
    runs = make(tmp_path / "runs", name, "quick")
    for out in ("a", "b"):
        report = judged.report(name, "quick", tmp_path / "runs")
        render.write(report, tmp_path / out / "quick", tmp_path / "runs")
    files = sorted(path.name for path in (tmp_path / "a" / "quick").iterdir())
    assert files == [f"{name}.{end}" for end in ("csv", "md", "png", "tex")]
    for file in files:
        assert (tmp_path / "a/quick" / file).read_bytes() == (tmp_path / "b/quick" / file).read_bytes()
    links = re.findall(r"\]\((\S+run\.json)\)", (tmp_path / f"a/quick/{name}.md").read_text())
    assert len(links) == len(runs) and all((tmp_path / "a/quick" / link).exists() for link in links)


def test_publish_copies_and_renders_from_the_copies_alone(tmp_path):
    runs = make(tmp_path / "runs", "figure2_adding", "quick", lambda run: None if run.seed == 2 else 0.5)
    reports = publish.publish("quick", tmp_path / "runs", tmp_path / "results").reports
    assert [report.table.name for report in reports] == ["figure2_adding"]
    assert "T = 100: RNN-tanh 1, LSTM 1, IRNN 1, IndRNN 1" in reports[0].missing
    published = {path.name for path in (tmp_path / "results" / "runs").iterdir()}
    assert published == {run.signature for run in runs if run.seed != 2}
    text = (tmp_path / "results/quick/figure2_adding.md").read_text()
    assert "incomplete 2/3" in text and "../runs/" in text
    shutil.rmtree(tmp_path / "runs")
    before = {path.name: path.read_bytes() for path in (tmp_path / "results/quick").iterdir()}
    publish.render_all(tmp_path / "results")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "results/quick").iterdir()}


def test_tables_that_share_runs_are_published_without_each_other(tmp_path):
    """The one-layer LSTM of Table 1 starts no depth table, and the depth table no Table 1."""
    for first in ("table1_mnist", "depth_pmnist"):
        here = tmp_path / first
        make(here / "runs", first, "quick")
        reports = publish.publish("quick", here / "runs", here / "results").reports
        assert [x.table.name for x in reports] == [first]
    make(here / "runs", "table1_mnist", "quick")
    reports = publish.publish("quick", here / "runs", here / "results").reports
    assert [(x.table.name, x.complete) for x in reports] == [("depth_pmnist", True), ("table1_mnist", True)]


def test_publish_refuses_uncommitted_code(tmp_path):
    runs = make(tmp_path / "runs", "figure2_adding", "quick")
    record.write(tmp_path / "runs" / runs[3].signature, record_of(runs[3]) | {"dirty": True}, [])
    with pytest.raises(UserError, match=f"1 of 24 runs .* {runs[3].signature}: commit"):
        publish.publish("quick", tmp_path / "runs", tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_publish_with_nothing_done(tmp_path):
    with pytest.raises(UserError, match="nothing to publish"):
        publish.publish("fast", tmp_path / "runs", tmp_path / "results")


def test_out_of_memory_stands_in_its_cell_and_the_footer_says_what_was_asked_for(tmp_path):
    runs = make(tmp_path, "table1_mnist", "quick")
    for run, asked in zip(runs, ({}, {"memory/asked_gib": 0.5}, {"memory/asked_gib": 79.15}), strict=False):
        record.write(tmp_path / run.signature, record_of(run, status="out_of_memory") | {"metrics": asked}, [])
    report = judged.report("table1_mnist", "quick", tmp_path)
    (first, *others) = [x for results in report.columns.values() for x in results.values() if x.runs]
    assert first.verdict == "out of memory 3/3" and not any("memory" in x.verdict for x in others)
    assert "Out of memory (asked for up to 79.2 GiB): machine.save_memory=true" in render.markdown(report, None)


def test_out_of_memory_without_a_size(tmp_path):
    run = make(tmp_path, "table1_mnist", "quick")[0]
    record.write(tmp_path / run.signature, record_of(run, status="out_of_memory"), [])
    text = render.markdown(judged.report("table1_mnist", "quick", tmp_path), None)
    assert "- Out of memory: machine.save_memory=true" in text
