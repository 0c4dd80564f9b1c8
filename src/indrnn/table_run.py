"""W&B hears the tables that a command rendered: one run of job type table, with tables and pictures. No torch."""

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from indrnn import files, wandb_mode
from indrnn.errors import in_one_line
from indrnn.tables import render, table_text
from indrnn.tables.judged import Report

JOB = "table"  # type at W&B; those of runs are experiments


def tell(logger: DictConfig, reports: Iterable[Report], out: Path) -> None:
    """Log comparison, claims and figure of each table under its name, where the node ``logger`` means W&B.

    The tables are written by then: whatever goes wrong is one line on stderr. Tables that say what they said when they
    were told last are not told again.

    Args:
        logger: of a run's config; its project, entity and save_dir hold here, too.
        out: folder of the rendered tables, which has the figures.
    """
    if "_target_" not in logger:
        return
    try:
        log(logger, list(reports), out)
    except Exception as error:  # an upload of what is already written ends no command, whatever it dies of
        print(f"W&B did not take the tables ({in_one_line(error)}): they are in {out}.", file=sys.stderr)


def log(logger: DictConfig, reports: list[Report], out: Path) -> None:
    content, figures = values(reports), figures_of(reports, out)
    said = [repr(content), *(path.read_bytes().hex() for path in figures.values())]
    identity = f"tables-{hashlib.sha256(''.join(said).encode()).hexdigest()[:12]}"
    folder = files.ROOT / logger.save_dir
    if any((folder / "wandb").glob(f"*run-*-{identity}")):
        return
    wandb = wandb_mode.imported()
    folder.mkdir(parents=True, exist_ok=True)
    profile = reports[0].profile
    config = {"profile": profile, "tables": [report.table.name for report in reports]}
    run = wandb.init(
        project=logger.project,
        entity=logger.get("entity"),
        dir=str(folder),
        id=identity,
        resume="allow",
        name=f"tables, {profile}",
        group="tables",
        job_type=JOB,
        tags=[profile, "tables"],
        config=config,
        mode=wandb_mode.mode_of(wandb),
        settings=wandb.Settings(silent=True, console="off", init_timeout=30),
    )
    tables = {key: wandb.Table(columns=heads, data=rows) for key, (heads, rows) in content.items()}
    run.log(tables | {key: wandb.Image(str(path)) for key, path in figures.items()})
    run.finish()


def key_of(table: str, what: str) -> str:
    """The name at W&B of a table's ``comparison``, ``claims`` or ``figure``."""
    return f"{table}/{what}"


def values(reports: list[Report]) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """Heads and rows of what is logged as a table: the blocks of the rendered one below each other, and the claims."""
    found = {}
    for report in reports:
        blocks = table_text.blocks(report, None)
        if blocks:
            rows = [[block.title, *row] for block in blocks for row in block.rows]
            found[key_of(report.table.name, "comparison")] = (["column", *blocks[0].heads], rows)
        if report.claims:
            found[key_of(report.table.name, "claims")] = (list(render.CLAIM_HEADS), render.claim_rows(report))
    return found


def figures_of(reports: list[Report], out: Path) -> dict[str, Path]:
    paths = {key_of(report.table.name, "figure"): out / f"{report.table.name}.png" for report in reports}
    return {key: path for key, path in paths.items() if path.exists()}
