"""results/over_examples.md: validation over training examples, our runs of a table's row beside the authors' log."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from indrnn import configs, files, markdown_text, record
from indrnn.tables import logs, milestones, plan, schema
from indrnn.tables.logs import Log
from indrnn.tables.milestones import Course, best_so_far, duration
from indrnn.tables.schema import Table

NAME = "over_examples"
PROFILES = ("fast", "paper")


@dataclass(frozen=True)
class Panel:
    """A row and column of a table: the authors' log, by its name, and our runs that have a validation, by profile."""

    name: str
    table: Table
    log: Log
    ours: dict[str, list[Course]]

    @property
    def title(self) -> str:
        column = self.table.columns[self.log.column].label
        return f"{self.row}, {column}" if len(self.table.columns) > 1 else self.row

    @property
    def row(self) -> str:
        return self.table.rows[self.log.row].label

    @property
    def rising(self) -> bool:
        """Accuracies, which an error is shown as."""
        return self.table.metric == "error"

    @property
    def paper(self) -> float | None:
        """The paper's test value, an error as accuracy; None where it prints none."""
        value = self.table.rows[self.log.row].paper.get(self.log.column)
        return None if value is None or isinstance(value, str) else 100 - value if self.rising else value

    def as_good(self, value: float) -> int | None:
        """After how many examples the log first has at least this; None where it never has."""
        there = self.log.by_examples.items()
        return next((count for count, best in there if (best >= value if self.rising else best <= value)), None)


def panels(folder: Path) -> list[Panel]:
    """One per log, in the order of conf/logs.yaml; ``folder`` of the runs."""
    found, tables = [], {name: schema.load_table(name) for name in schema.table_names()}
    for name, log in logs.load().items():
        table = tables.get(log.table)
        if table is None:  # it is not among those that are rendered
            continue
        ours = {profile: list(courses(table, log, profile, folder)) for profile in PROFILES}
        found.append(Panel(name, table, log, {profile: some for profile, some in ours.items() if some}))
    return found


def courses(table: Table, log: Log, profile: str, folder: Path) -> Iterator[Course]:
    """Our runs of the log's row, finished or not, that have a validation."""
    cfg = configs.build(plan.cell_overrides(table, profile, log.row, log.column)[0])
    for seed in table.seeds:
        cfg.seed = seed  # the same as the override: nothing is chosen by the seed while composing
        signature = configs.signature(configs.signed(cfg))
        if entry := record.read(folder / signature):
            if best := best_so_far(folder / signature, table.metric, entry):
                yield Course(f"{profile}, seed {seed}", signature, entry, best)


def render(results: Path) -> None:
    """Write over_examples.md and a picture per table; nothing where no run is published."""
    found = panels(results / "runs")
    if not any(panel.ours for panel in found):
        return
    from indrnn.tables import draw_over_examples  # matplotlib takes a second to import

    files.write_whole(results / f"{NAME}.md", markdown(found))
    for table, some in of_tables(found).items():
        files.replace_whole(results / picture(table), partial(draw_over_examples.draw, some))


def of_tables(found: list[Panel]) -> dict[str, list[Panel]]:
    by: dict[str, list[Panel]] = {}
    for panel in found:
        by.setdefault(panel.table.name, []).append(panel)
    return by


def picture(table: str) -> str:
    return f"{NAME}_{table}.png"


def page(results: Path) -> str:
    """The text of over_examples.md; empty where no run is published."""
    found = panels(results / "runs")
    return markdown(found) if any(panel.ours for panel in found) else ""


def markdown(found: list[Panel]) -> str:
    """What each log and each of our runs came to, and at what cost."""
    pages = {name: milestones.load(name).log for name in milestones.names()}
    lines = ["# Validation over training examples, beside the authors' logs", ""]
    lines += markdown_text.bullets(
        [
            "Best validation so far: accuracy in %, or bits per character. A log is of one run, and of its own "
            "validation set; its GPU is not named there. Ours are all published runs of the row, finished or not.",
            "As good within: after how many examples the log, of which not every epoch is kept here, has what our run "
            "ends with.",
            "An example is an image, or a stretch of T = 50 characters in one of the columns.",
            "Of characters the authors published one log, of six layers: a dense network has none to be compared with.",
        ]
    )
    for table, some in of_tables(found).items():
        lines += ["", f"## {some[0].table.title}", ""]
        lines += markdown_text.aligned(HEADS, [cells for panel in some for cells in rows(panel)])
        lines += ["", *markdown_text.bullets(others(panel, pages) for panel in some if panel.name in pages.values())]
        lines += ["", f"![{some[0].table.title}]({picture(table)})"]
    return "\n".join(lines) + "\n"


HEADS = ["row", "run", "best so far", "examples", "updates", "the log is as good within", "cost", "record"]


def others(panel: Panel, pages: dict[str, str]) -> str:
    """Where other runs stand beside the same log: trials, smaller networks, unfinished ones."""
    links = [f"[{name}](milestones/{name}.md)" for name, log in pages.items() if log == panel.name]
    return f"{panel.title}: other runs beside the same log are on {', '.join(links)}."


def rows(panel: Panel) -> Iterator[list[str]]:
    """The log's line, then one per run of ours; where there is none, a line that says so."""
    number = ".2f" if panel.rising else ".3f"
    (examples, best), log = list(panel.log.by_examples.items())[-1], panel.log
    yield [panel.title, "the authors' log", f"{best:{number}}", f"{examples:,}", f"{log.updates:,}", "", "", log.file]
    for profile in PROFILES:
        for course in panel.ours.get(profile, []):
            entry = course.record
            value = course.best[max(course.best)]
            later = panel.as_good(value)
            signature = f"[{entry['status']}](runs/{course.signature}/run.json)"
            cost = f"{duration(entry['wall_seconds'])} on {', then '.join(record.devices([entry]))}"
            yield [
                panel.title,
                f"ours, {course.label}",
                f"{value:{number}}",
                f"{entry['examples']:,}",
                f"{entry['updates']:,}",
                f"{later:,}" if later else "never",
                cost,
                signature,
            ]
    if not panel.ours:
        yield [panel.title, "ours", *["-"] * 5, "no run of this row is published yet"]
