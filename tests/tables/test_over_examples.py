"""Our validation over training examples beside the authors' logs, and these logs as data."""

import re

import pytest
from made_up import record_of

from indrnn import configs, files, record
from indrnn.errors import UserError
from indrnn.tables import draw_over_examples, logs, milestones, over_examples, plan, schema

RESULTS = files.ROOT / "results"
LOGS = logs.load()


def put(folder, overrides: list[str], curve: list[tuple[int, float]], updates: int) -> str:
    """Write an interrupted run's record and its validations; returns its signature."""
    config = configs.signed(configs.build(overrides))
    entry = record_of(plan.runs(["figure2_adding"], "quick")[0]) | {"config": config, "seed": config["seed"]}
    entry |= {"signature": configs.signature(config), "status": "interrupted", "updates": updates, "metrics": {}}
    entry |= {"examples": updates * config["data"]["batch_size"], "wall_seconds": 600.0}
    record.write(folder / entry["signature"], entry, [{"update": u, "val/error": e} for u, e in curve])
    return entry["signature"]


def test_every_log_is_of_a_row_that_there_is_and_never_gets_worse():
    for name, log in LOGS.items():
        table = schema.load_table(log.table)
        assert log.row in table.rows and log.column in table.columns, name
        values = list(log.best.values())
        assert list(log.best) == sorted(log.best) and values == sorted(values, reverse=table.metric != "error"), name


def test_a_log_is_read_by_examples_and_in_percent():
    six = LOGS["smnist_6"]
    assert six.by_examples[54_400] == 77.69 and six.by_examples[413 * 1700 * 32] == 99.30 and six.updates == 702_100
    assert LOGS["pmnist_6"].by_examples[38_188_800] == 96.68 and LOGS["ptb_char_6"].by_examples[100_352] == 4.3464


def test_all_indrnn_rows_of_table_1_have_their_log_and_characters_the_one_that_there_is():
    """The issue's list: MNIST, pMNIST, characters. The authors published no log of a dense network on characters."""
    rows = {(log.table, log.row, log.column) for log in LOGS.values()}
    table = schema.load_table("table1_mnist")
    ours = {("table1_mnist", key, column) for key in table.rows if "indrnn" in key for column in table.columns}
    assert rows == ours | {("table2_ptb_char", "indrnn_6", "test")}


def test_the_page_is_the_published_one_and_its_links_lead_somewhere():
    page = (RESULTS / "over_examples.md").read_text(encoding="utf-8")
    assert page == over_examples.page(RESULTS)
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert links and all((RESULTS / link).is_file() for link in links)
    assert "over_examples.md" in (RESULTS / "README.md").read_text(encoding="utf-8")


def test_a_run_stands_beside_its_log_with_its_cost(tmp_path):
    overrides = plan.cell_overrides(schema.load_table("table1_mnist"), "fast", "indrnn_6", "pmnist")[0]
    signature = put(tmp_path / "runs", [*overrides, "seed=1"], [(1700, 40.0), (3400, 11.0), (5100, 12.0)], 5200)
    found = over_examples.panels(tmp_path / "runs")
    (panel,) = (panel for panel in found if panel.ours)
    assert panel.title == "IndRNN (6 layers), pMNIST" and panel.paper == 96.0
    (course,) = panel.ours["fast"]
    assert course.best == {1700 * 32: 60.0, 3400 * 32: 89.0, 5100 * 32: 89.0}
    line = list(over_examples.rows(panel))[1]
    assert line[1:7] == ["ours, fast, seed 1", "89.00", "166,400", "5,200", "1,088,000", "10 minutes on a CPU"]
    assert line[7] == f"[interrupted](runs/{signature}/run.json)"
    over_examples.render(tmp_path)
    text = (tmp_path / "over_examples.md").read_text()
    assert text.count("no run of this row is published yet") == len(LOGS) - 1
    for table in ("table1_mnist", "table2_ptb_char"):
        assert (tmp_path / over_examples.picture(table)).read_bytes().startswith(b"\x89PNG")


def test_without_a_run_there_is_no_page(tmp_path):
    over_examples.render(tmp_path)
    assert over_examples.page(tmp_path) == "" and not list(tmp_path.iterdir())


def test_when_the_log_is_as_good():
    panels = {panel.name: panel for panel in over_examples.panels(RESULTS / "runs")}
    digits, characters = panels["smnist_6"], panels["ptb_char_6"]
    assert digits.as_good(99.23) == 300 * 1700 * 32 and digits.as_good(99.9) is None
    assert characters.as_good(1.30) == 350 * 784 * 128 and characters.as_good(1.2) is None
    assert characters.paper == 1.26


def test_each_panel_has_the_log_our_seeds_and_the_papers_value(monkeypatch, tmp_path):
    pages = []
    monkeypatch.setattr(draw_over_examples.style, "save", lambda page, path: pages.append(page))
    panels = [panel for panel in over_examples.panels(RESULTS / "runs") if panel.log.table == "table1_mnist"]
    draw_over_examples.draw(panels, tmp_path / "x.png")
    for axes, panel in zip(pages[0].axes, panels, strict=True):
        lines = [line for line in axes.lines if len(line.get_xdata()) > 2]
        assert len(lines) == 1 + sum(map(len, panel.ours.values()))
        assert dict(zip(*lines[-1].get_data(), strict=True)) == panel.log.by_examples
        assert [panel.paper] * 2 in [list(line.get_ydata()) for line in axes.lines]
        assert axes.get_xscale() == "log"


def test_a_milestone_takes_its_log_from_there_or_says_that_there_is_none(tmp_path, monkeypatch):
    assert milestones.load("pmnist").official == LOGS["pmnist_6"].by_examples
    for name in ("milestones/pmnist.yaml", "logs.yaml"):
        text = (configs.CONF / name).read_text().replace("log: pmnist_6", "log: pmnist_7")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(configs, "CONF", tmp_path)
    with pytest.raises(UserError, match="there is no log 'pmnist_7' in conf/logs.yaml"):
        milestones.load("pmnist")


def test_a_mistyped_key_is_told(tmp_path, monkeypatch):
    (tmp_path / "logs.yaml").write_text("a: {tabel: b}\n")
    monkeypatch.setattr(configs, "CONF", tmp_path)
    with pytest.raises(UserError, match="logs.yaml: .*tabel"):
        logs.load()
