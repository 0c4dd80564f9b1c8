"""A table's runs as W&B shows them: panels, a workspace, a report. From conf/table and records; no network, no key.

A workspace filters the runs of the whole page, not of a section: each table has one of its own, a saved view of the
project. The report has them all, a section each.
"""

import functools
import json
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from indrnn import configs, markdown_text, table_run, wandb_mode
from indrnn.tables import render, table_text
from indrnn.tables.judged import Report

MANY = 100  # lines and runs that a panel shows at most; W&B's own limit is 10
TRAINED = ("learning_rate", "gradient_norm", "examples_a_second")  # training.dials, of every network


@functools.cache
def library() -> SimpleNamespace:
    """wandb_workspaces: ``ws`` workspaces, ``wr`` reports, ``expr`` filters."""
    wandb_mode.imported()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of pydantic, about its own code
        import wandb_workspaces.expr as expr
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    return SimpleNamespace(ws=ws, wr=wr, expr=expr)


def planned(report: Report) -> list[Any]:
    return [run for results in report.results.values() for result in results.values() for run in result.runs]


def layers(report: Report) -> int:
    """How many IndRNN layers the deepest network of a table has, as ``training.dials`` counts them."""
    configs_of = {json.dumps(run.config["model"], sort_keys=True) for run in planned(report)}
    return max(map(count_layers, sorted(configs_of)), default=0)


@functools.cache
def count_layers(model: str) -> int:
    import torch
    from hydra.utils import instantiate

    from indrnn.layers import IndRNNUnit

    with torch.device("meta"):
        network = instantiate(json.loads(model))
    return sum(isinstance(module, IndRNNUnit) for module in network.modules())


# Panels


def curves(report: Report) -> list[Any]:
    """Validation over updates and the test metrics: a line a row, the mean over seeds with their deviation."""
    wr, table = library().wr, report.table
    spread = {"groupby_aggfunc": "mean", "groupby_rangefunc": "stddev", "max_runs_to_show": MANY}
    metrics = dict.fromkeys(f"test/{metric}" for metric in [table.metric, *(row.metric for row in table.rows.values())])
    line = wr.LinePlot(
        title=f"validation {table.metric} ({table.unit})", x="update", y=[f"val/{table.metric}"], **spread
    )
    bars = [wr.BarPlot(title=metric, metrics=[metric], **spread) for metric in metrics if metric != "test/"]
    return [line, *bars]


def on_the_way(report: Report) -> list[Any]:
    """What training.dials tells of every network."""
    spread = {"groupby_aggfunc": "mean", "groupby_rangefunc": "minmax", "max_runs_to_show": MANY}
    return [library().wr.LinePlot(title=name, x="update", y=[name], **spread) for name in TRAINED]


def of_u(count: int) -> list[Any]:
    """u of the first and the last layer as histograms over updates; of all, what is at its bound and what is off."""
    wr = library().wr
    ends = dict.fromkeys([1, count])
    found = [wr.LinePlot(title=f"u of layer {i}", x="update", y=[f"layer{i}/u"], max_runs_to_show=MANY) for i in ends]
    for name, title in (("u_at_bound", "abs(u) at the bound (%)"), ("off_share", "states that are off (%)")):
        y = [f"layer{i}/{name}" for i in range(1, count + 1)]
        found.append(wr.LinePlot(title=title, x="update", y=y, groupby_aggfunc="mean", max_runs_to_show=MANY))
    return found


def comparison(report: Report) -> str:
    """Paper, ours and verdict in Markdown, as the rendered table has them, then the claims."""
    lines = markdown_text.bullets(render.headline(report)[:2])
    for block in table_text.blocks(report, None):
        lines += ["", f"**{block.title}**", "", *markdown_text.aligned(block.heads, block.rows)]
    if report.claims:
        lines += ["", *markdown_text.aligned(list(render.CLAIM_HEADS), render.claim_rows(report))]
    return "\n".join(lines)


def title(report: Report) -> str:
    return f"{report.table.source}: {report.table.title} ({report.profile})"


# Workspaces and report


def of_table(report: Report, *more: Any) -> Any:
    """Filters for the runs of a table at a profile.

    W&B keeps the value of a config's key under ``.value``. Values are words without = or quotes: the library would
    change those in a filter, which is why a column is filtered by its key.
    """
    expr = library().expr
    return expr.And(expr.Metric("Group") == report.table.name, of_profile(report), *more)


def of_profile(report: Report) -> Any:
    return library().expr.Config("profile.value") == report.profile


def workspace(report: Report, project: str) -> Any:
    """The saved view of one table: comparison, curves, what is measured on the way, u."""
    ws, wr, expr = vars(library()).values()
    count, metric = layers(report), report.table.metric
    page = wr.MarkdownPanel(markdown=comparison(report), layout=wr.Layout(w=24, h=12))
    sections = [
        ws.Section("Beside the paper", [page], is_open=True, layout_settings=ws.SectionLayoutSettings(1, 1)),
        ws.Section("Curves and tests", curves(report), is_open=True),
        ws.Section("On the way", on_the_way(report)),
        *[ws.Section("u and states of IndRNN layers", of_u(count))] * bool(count),
    ]
    return ws.Workspace(
        entity="",
        project=project,
        name=f"{report.table.source}: {report.table.name} ({report.profile})",  # it refuses the + of RGB+D as an emoji
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis="update", max_runs=MANY),
        runset_settings=ws.RunsetSettings(
            filters=of_table(report),
            groupby=[expr.Config("column"), expr.Config("row")],
            pinned_columns=[f"summary:{name}" for name in (f"val/{metric}", f"test/{metric}", "status")],
        ),
    )


def report_of(reports: list[Report], project: str) -> Any:
    """One report: a section a table, with the comparison, the curves of each column, u, and what ``table_run`` told."""
    wr = library().wr
    blocks = [wr.TableOfContents()]
    for report in reports:
        blocks += [wr.H1(title(report)), wr.MarkdownBlock(comparison(report)), *grids(report)]
    profile = reports[0].profile
    return wr.Report(
        project=project,
        entity="",
        title=f"IndRNN, reproduced: profile {profile}",
        description=configs.PROFILES[profile],
        blocks=blocks,
        width="fluid",
    )


def grids(report: Report) -> Iterator[Any]:
    wr, expr = library().wr, library().expr
    for key in [key for key, results in report.columns.items() if any(result.runs for result in results.values())]:
        of_column = of_table(report, expr.Config("column.value") == key)
        yield wr.H2(report.table.columns[key].label)
        grouped = wr.Runset(name=key, filters=of_column, groupby=["config.row"])
        yield wr.PanelGrid(runsets=[grouped], panels=curves(report))
    if count := layers(report):
        one = of_table(report, expr.Config("seed.value") == report.table.seeds[0])
        yield wr.H2("u and states of IndRNN layers")
        yield wr.PanelGrid(runsets=[wr.Runset(name="first seed", filters=one)], panels=of_u(count))
    told = expr.And(expr.Metric("JobType") == table_run.JOB, of_profile(report))
    table = wr.WeavePanelSummaryTable(
        table_name=table_run.key_of(report.table.name, "comparison"), layout=wr.Layout(w=24)
    )
    panels = [table]
    if report.table.figure:
        panels.append(
            wr.MediaBrowser(media_keys=[table_run.key_of(report.table.name, "figure")], layout=wr.Layout(w=24))
        )
    yield wr.H2("As make reproduce-table logged it")
    yield wr.PanelGrid(runsets=[wr.Runset(name="tables", filters=told)], panels=panels)
