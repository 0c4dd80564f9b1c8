"""W&B hears the rendered tables once, and no command ends by it."""

import sys
from dataclasses import replace

import pytest
import wandb
from made_runs import BUDGET, make_run
from offline import config_of, heard, rows_of, run_of

from indrnn import boards, configs, table_run
from indrnn.tables import judged, render
from indrnn.tables.plan import plan
from indrnn.tables.schema import load_table

TABLE = "figure2_adding"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """A table with made-up runs of one column, and the folder where it is rendered, with its picture."""
    runs = tmp_path_factory.mktemp("rendered") / "runs"
    for cell in plan(load_table(TABLE), "quick", ["T100"]):
        for run in cell.runs:
            make_run(runs, *run.overrides, value=0.1)
    report = judged.report(TABLE, "quick", runs, extra=BUDGET)
    render.write(report, runs / "tables/quick", runs)
    return report, runs / "tables/quick"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")


def logger(tmp_path, *words):
    return configs.build([f"machine.runs={tmp_path / 'runs'}", *words]).logger


def test_comparison_claims_and_figure_are_logged_once(rendered, tmp_path, capsys):
    report, out = rendered
    for _ in range(2):
        table_run.tell(logger(tmp_path, "logger=wandb"), [report], out)
    assert capsys.readouterr().err == ""
    records = heard(tmp_path / "runs")  # of the only one
    run = run_of(records)
    assert (run["job_type"], run["run_group"], run["tags"]) == (table_run.JOB, "tables", ["quick", "tables"])
    assert config_of(records)["profile"] == "quick" and config_of(records)["tables"] == [TABLE]
    (row,) = rows_of(records)
    kinds = {name.removesuffix("._type"): kind for name, kind in row.items() if name.endswith("._type")}
    assert kinds == {
        f"{TABLE}/comparison": "table-file",
        f"{TABLE}/claims": "table-file",
        f"{TABLE}/figure": "image-file",
    }
    (folder,) = (tmp_path / "runs/wandb").glob("offline-run-*")
    said = (folder / "files" / row[f"{TABLE}/comparison.path"]).read_text()
    assert "near 0.167" in said and "not judged at quick" in said and "RNN-tanh" in said
    assert (folder / "files" / row[f"{TABLE}/figure.path"]).read_bytes() == (out / f"{TABLE}.png").read_bytes()


def test_tables_that_changed_are_told_again(rendered, tmp_path):
    report, out = rendered
    table_run.tell(logger(tmp_path, "logger=wandb"), [report], out)
    table_run.tell(logger(tmp_path, "logger=wandb"), [replace(report, profile="fast")], out)
    assert len(list((tmp_path / "runs/wandb").glob("offline-run-*"))) == 2


def test_the_report_shows_them_by_their_names(rendered):
    report, out = rendered
    panels = [panel for block in boards.grids(report) for panel in getattr(block, "panels", [])]
    wr = boards.library().wr
    shown = {panel.table_name for panel in panels if isinstance(panel, wr.WeavePanelSummaryTable)}
    shown |= {key for panel in panels if isinstance(panel, wr.MediaBrowser) for key in panel.media_keys}
    assert shown == set(table_run.figures_of([report], out)) | {f"{TABLE}/comparison"}


def test_csv_means_that_wandb_is_not_even_imported(tmp_path, monkeypatch):
    monkeypatch.setattr(table_run, "log", lambda *_: pytest.fail("told"))
    table_run.tell(logger(tmp_path, "logger=csv"), [], tmp_path)


def test_a_failure_is_one_line_and_the_tables_stay(rendered, tmp_path, monkeypatch, capsys):
    report, out = rendered

    def broken(**_):
        raise wandb.errors.CommError("nobody there\nsecond line")

    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr(wandb, "init", broken)
    table_run.tell(logger(tmp_path, "logger=wandb"), [report], out)
    assert capsys.readouterr().err == f"W&B did not take the tables (nobody there second line): they are in {out}.\n"
    monkeypatch.setitem(sys.modules, "wandb.errors", None)
    table_run.tell(logger(tmp_path, "logger=wandb"), [report], out)
    assert capsys.readouterr().err.startswith("W&B did not take the tables (import of wandb.errors halted")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_the_command_asks_for_it_where_its_runs_log_to_wandb(rendered, monkeypatch, capsys):
    from indrnn.reproduce import Choice, reproduce

    told = []
    monkeypatch.setattr(table_run, "tell", lambda node, reports, out: told.append((node, len(reports), out)))
    runs = rendered[1].parents[1]
    for word in ("logger=wandb", "logger=csv"):
        words = [*BUDGET, word]
        assert reproduce(Choice([TABLE], "quick", ["T100"], None, "basic", 1, runs, False, False, words)) == 0
    assert "12 of the 12 runs done before" in capsys.readouterr().out
    (on, count, out), (off, *_) = told
    assert on.save_dir == str(runs) and (count, out) == (1, rendered[1]) and "_target_" not in off
