"""``make dashboard``: W&B's workspaces, sweeps and report as files; workspaces and report saved with a login."""

import json
import os
from pathlib import Path
from typing import Any

from indrnn import aloud, boards, configs, files, sweeps, wandb_mode
from indrnn.errors import UserError, in_one_line
from indrnn.tables import judged, schema


def main(tables: list[str] | None, profile: str, runs: Path, out: Path) -> str:
    """Write workspaces, sweeps and report of a profile into ``out``; save what W&B takes; returns what was done.

    Args:
        tables: names in conf/table, all if none.
        runs: folder of the records that the comparison tables show.

    Raises:
        UserError: wandb-workspaces is not installed, or the profile runs nothing of the tables.
    """
    try:
        boards.library()
    except ImportError as error:
        raise UserError(f"The dashboards need wandb and wandb-workspaces ({error}): run `make setup`.") from None
    with aloud.Step("reading tables and records", first=False):
        reports = [judged.report(name, profile, runs) for name in tables or schema.table_names()]
    reports = [report for report in reports if boards.planned(report)]
    if not reports:
        raise UserError(f"Profile {profile} runs nothing of {', '.join(tables or schema.table_names())}.")
    project = configs.build(["logger=wandb"]).logger.project
    made = {f"workspace-{report.table.name}-{profile}.json": boards.workspace(report, project) for report in reports}
    of = "-".join(["report", *(tables or []), profile])  # one of some tables does not take the place of that of all
    made[f"{of}.json"] = boards.report_of(reports, project)
    for name, board in made.items():
        remember(board, out / name)
        write(board, out / name)
    for report in reports:
        files.write_whole(out / f"sweep-{report.table.name}-{profile}.yaml", sweeps.text(report, project))
    names = ", ".join(report.table.name for report in reports)
    written = f"Written into {out}: a report, and a workspace and a sweep for {names}."
    return "\n".join([written, save(made, out)])


def write(board: Any, path: Path) -> None:
    """The board as W&B's server would get it, in JSON."""
    text = board._to_model().model_dump_json(by_alias=True, exclude_none=True)
    files.write_whole(path, json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n")


def remember(board: Any, path: Path) -> None:
    """Take over the identity of a board that was saved before: it is replaced on the server, not doubled."""
    try:
        before = json.loads(files.content(path))
    except (OSError, ValueError):
        return
    if isinstance(board, boards.library().ws.Workspace):
        board._internal_name, board._internal_id = before.get("name", ""), before.get("id", "")
    else:
        board.id = before.get("id", "")


def save(made: dict[str, Any], out: Path) -> str:
    """Save what is written on W&B's server, where there is a key and a network; returns one sentence."""
    wandb = wandb_mode.imported()
    if wandb_mode.mode_of(wandb) != "online":
        return "Not saved at W&B: log in (.venv/bin/wandb login), then the same command saves them."
    try:
        entity = os.environ.get("WANDB_ENTITY") or wandb.Api().default_entity
        for name, board in made.items():
            board.entity = entity
            board.save()
            write(board, out / name)  # now with the name that the server knows it by
        return f"Saved at W&B: {board.url}"
    except Exception as error:  # what a server answers comes as an error of any kind
        return f"W&B did not take all of it ({in_one_line(error)}): the same command tries again."
