"""W&B sweeps over a cell of a table: conf/sweep/wandb.yaml with the words and the metric of another cell."""

from typing import Any

import yaml

from indrnn import configs, files
from indrnn.tables.judged import Report

TEMPLATE = configs.CONF / "sweep" / "wandb.yaml"
CHOSEN = "${args_no_hyphens}"  # what W&B replaces by the words that it chose


def of_table(report: Report, project: str) -> dict[str, Any]:
    """The sweep over the first column that a profile runs of a table, and its last row there: a network of the papers.

    The words of the cell stand in the command, but for those that the sweep chooses.
    """
    sweep, table = yaml.safe_load(files.content(TEMPLATE)), report.table
    made = [result for results in report.columns.values() for result in results.values() if result.runs]
    cell = [result for result in made if result.column_key == made[0].column_key][-1]
    words = [word for word in cell.runs[0].overrides if word.partition("=")[0] not in ("seed", *sweep["parameters"])]
    first = next(i for i, word in enumerate(sweep["command"]) if word.startswith("experiment="))
    return sweep | {
        "name": f"{table.name}, {cell.row.label}, {cell.column_key} ({report.profile})",
        "project": project,
        "metric": {"name": f"val/{table.metric}", "goal": "minimize" if table.lower_is_better else "maximize"},
        "command": [*sweep["command"][:first], *words, CHOSEN],
    }


def text(report: Report, project: str) -> str:
    """A sweep as the file that ``wandb sweep`` takes."""
    return yaml.safe_dump(of_table(report, project), sort_keys=False, allow_unicode=True, width=1000)
