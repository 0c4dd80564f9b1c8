"""W&B's workspaces and report: valid, whole, and about keys that the listener really logs."""

import contextlib
import json
import re
import socket

import pytest
import wandb
import yaml
from offline import config_of, heard, rows_of, run_of, summary_of

from indrnn import boards, configs, dashboard, files, wandb_mode
from indrnn.errors import UserError
from indrnn.tables import judged, plan, render, schema, table_text
from indrnn.training.run import build, train


@contextlib.contextmanager
def fewer():
    """A config a pair of experiment and model, whatever else a cell says: to compose all takes minutes."""

    def signed(overrides, seeds, conf):
        pair = tuple(word for word in overrides if word.startswith(("experiment=", "model=")))
        if pair not in found:
            found[pair] = configs.signed(configs.build(pair))
        return [found[pair] | {"seed": seed} for seed in seeds]

    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "_signed", signed)
        patch.setattr(judged.profile_differences, "cuts", lambda *_: {})
        yield patch


@pytest.fixture
def few_compositions():
    with fewer():
        yield


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of all boards at quick, made without a key and without a network."""
    out = tmp_path_factory.mktemp("dashboard")

    def refused(*_, **__):
        raise AssertionError("a connection was asked for")

    with fewer() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_PROJECT", "mine")
        patch.setattr(socket.socket, "connect", refused)
        patch.setattr(wandb, "Api", refused)
        said = dashboard.main(None, "quick", out / "runs", out)
    assert f"Written into {out}: a report, and a workspace and a sweep for {', '.join(schema.table_names())}." in said
    assert "Not saved at W&B: log in (.venv/bin/wandb login)" in said
    return out


def loaded(folder, table=""):
    """The models of wandb_workspaces that read a board, and the board that they make of it."""
    library = boards.library()
    if table:
        path = folder / f"workspace-{table}-quick.json"
        model = library.ws.interface.internal.View.model_validate_json(path.read_text())
        return model, library.ws.Workspace._from_model(model)
    model = library.wr.interface.internal.ReportViewspec.model_validate_json((folder / "report-quick.json").read_text())
    return model, library.wr.Report._from_model(model)


def over_updates(panel) -> list[str]:
    """The metrics of a panel of curves, none of another one."""
    return [metric.name if hasattr(metric, "name") else metric for metric in getattr(panel, "y", [])]


def test_each_table_has_a_workspace_that_wandbs_own_models_read(written):
    for table in map(schema.load_table, schema.table_names()):
        _, workspace = loaded(written, table.name)
        assert workspace.name == f"{table.source}: {table.name} (quick)" and workspace.project == "mine"
        assert yaml.safe_load((written / f"sweep-{table.name}-quick.yaml").read_text())["project"] == "mine"
        sections = {section.name: section.panels for section in workspace.sections}
        (page,) = sections["Beside the paper"]
        assert all(row.label in page.markdown for row in table.rows.values())
        (line,) = [panel for panel in sections["Curves and tests"] if over_updates(panel) == [f"val/{table.metric}"]]
        assert (line.x.name, line.groupby_aggfunc, line.groupby_rangefunc) == ("update", "mean", "stddev")
        assert [group.name for group in workspace.runset_settings.groupby] == ["column", "row"]


def test_the_report_has_a_section_a_table_and_curves_of_each_column_grouped_by_row(written):
    _, report = loaded(written)
    assert report.project == "mine"
    wr = boards.library().wr
    heads = [block.text for block in report.blocks if isinstance(block, wr.H1)]
    assert len(heads) == len(set(heads)) == len(schema.table_names())
    grids = [block for block in report.blocks if isinstance(block, wr.PanelGrid)]
    for name in schema.table_names():
        table = schema.load_table(name)
        (head,) = [head for head in heads if head == f"{table.source}: {table.title} (quick)"]
        text = report.blocks[1 + [getattr(block, "text", "") for block in report.blocks].index(head)].text
        assert all(row.label in text for row in table.rows.values())
        for key in [key for key, column in table.columns.items() if "quick" in column.profiles]:
            filters = f"""Metric("Group") == '{name}' and Config("profile.value") == 'quick'"""
            filters += f""" and Config("column.value") == '{key}'"""
            (grid,) = [grid for grid in grids if grid.runsets[0].filters == filters]
            assert grid.runsets[0].groupby == ["config.row.value"]
            assert [f"val/{table.metric}"] in map(over_updates, grid.panels)


def test_the_comparison_is_the_rendered_table():
    report = judged.report("figure2_adding", "quick", files.ROOT / "results/runs")
    lines = boards.comparison(report).splitlines()
    page = render.markdown(report, "runs").splitlines()
    claims = [line for line in lines if line.startswith("| within")]
    assert len(claims) == len(report.claims) > 4 and set(claims) <= set(page)
    shown = [[text.strip() for text in line.strip("|").split("|")] for line in lines]
    rows = [row for block in table_text.blocks(report, None) for row in block.rows]
    assert len(rows) == 8 and all(row in shown for row in rows)
    assert any(re.search(r"0\.0029\d ± 0\.000\d+ \(3\)", " ".join(row)) and "≈ 0 by 2k updates" in row for row in rows)


def keys(node) -> set[tuple[str, str]]:
    """Section and name of every key that a board filters, groups or sorts by."""
    if isinstance(node, list):
        return set().union(*map(keys, node))
    if not isinstance(node, dict):
        return set()
    own = {(node["section"], node["name"])} if {"section", "name"} == set(node) else set()
    return own.union(*map(keys, node.values()))


def metrics(node) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(metrics, node))
    if not isinstance(node, dict):
        return set()
    own = {*node.get("metrics", []), *filter(None, [node.get("xAxis")])}
    return own.union(*(metrics(value) for key, value in node.items() if key != "localPanelSettings"))


def test_filters_groups_and_panels_name_what_the_listener_logs(config, few_compositions, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = plan.plan(schema.load_table("figure2_adding"), "quick", ["T100"])[-1].runs[0]
    small = ("data.seq_len=10", "data.val_examples=20", "data.test_examples=20", "model.hidden_size=8")
    train(config(*run.overrides, *run.labels, *small, "trainer.max_updates=2", "logger=wandb", "logger.every=1"))
    records = heard(tmp_path / "runs")
    told, fields = config_of(records), run_of(records)
    dashboard.main(["figure2_adding"], "quick", tmp_path / "none", tmp_path)
    board = json.loads((tmp_path / "workspace-figure2_adding-quick.json").read_text())
    sheet = json.loads((tmp_path / "report-figure2_adding-quick.json").read_text())
    assert {("run", "group"), ("config", "profile.value"), ("config", "row.value")} <= keys(board)
    values = {"group": fields["run_group"], "jobType": fields["job_type"], "createdAt": ""}
    for section, name in keys(board) | keys(sheet):
        if section == "config":
            assert name.endswith(".value") and told[name.removesuffix(".value")] is not None
        else:
            assert section == "run" and values[name] is not None
    assert (told["row"], told["column"], told["profile"]) == ("IndRNN", "T100", "quick")
    assert values["group"] == "figure2_adding"
    pinned = board["spec"]["section"]["runSets"][0]["runFeed"]["columnOrder"]
    assert pinned[1:] == ["summary:val/mse", "summary:test/mse", "summary:status"]
    assert {name.removeprefix("summary:") for name in pinned[1:]} <= set(summary_of(records))
    logged = {name.split(".")[0] for row in rows_of(records) for name in row}  # a histogram has a name a part
    assert metrics(board) - {"_step"} <= logged | {"update"}


@pytest.mark.parametrize("model, layers", [("indrnn", 2), ("lstm", 0), ("res_indrnn", 21)])
def test_layers_are_counted_as_the_dials_count_them(config, model, layers):
    from indrnn.training.dials import of_u

    cfg = config("experiment=quick/adding", f"model={model}", *[f"model.num_layers={layers}"] * bool(layers))
    counted = boards.count_layers(json.dumps(configs.signed(cfg)["model"]))
    assert counted == layers == sum(name.endswith("/u") for name in of_u(build(cfg)[1]))


# Saving


@pytest.fixture
def server(monkeypatch):
    """In the place of W&B's: what it was asked to save, by name."""
    library, asked = boards.library(), []

    def save(board):
        asked.append((board, getattr(board, "_internal_id", None) or getattr(board, "id", "")))
        if isinstance(board, library.ws.Workspace):
            board._internal_name, board._internal_id = "nw-one-v", "one"
        else:
            board.id = "two"

    for kind in (library.ws.Workspace, library.wr.Report):
        monkeypatch.setattr(kind, "save", save)
        monkeypatch.setattr(kind, "url", property(lambda board: f"at {board.entity}/{board.project}"))
    monkeypatch.setattr(wandb_mode, "mode_of", lambda _: "online")
    monkeypatch.setenv("WANDB_ENTITY", "team")
    return asked


def test_with_a_login_boards_are_saved_and_the_next_time_replaced(few_compositions, tmp_path, server):
    words = (["figure2_adding"], "quick", tmp_path / "runs", tmp_path)
    assert dashboard.main(*words).endswith("Saved at W&B: at team/indrnn")
    assert dashboard.main(*words).endswith("Saved at W&B: at team/indrnn")
    assert [known for _, known in server] == ["", "", "one", "two"]
    assert {board.entity for board, _ in server} == {"team"}


def test_what_the_server_does_not_take_stays_on_disk_and_is_told_in_one_line(
    few_compositions, tmp_path, server, monkeypatch
):
    def refused(board):
        raise wandb.errors.CommError("no such\nproject")

    monkeypatch.setattr(boards.library().wr.Report, "save", refused)
    said = dashboard.main(["figure2_adding"], "quick", tmp_path / "runs", tmp_path)
    assert said.endswith("W&B did not take all of it (no such project): the same command tries again.")
    assert (tmp_path / "report-figure2_adding-quick.json").exists()


def test_a_profile_that_runs_nothing_of_a_table_is_told(few_compositions, tmp_path):
    with pytest.raises(UserError, match="Profile fast runs nothing of depth_pmnist."):
        dashboard.main(["depth_pmnist"], "fast", tmp_path / "runs", tmp_path)
