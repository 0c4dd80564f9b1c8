"""How far unfinished or small runs got, at equal numbers of training examples: conf/milestones -> results/milestones.

What stands here are validations on the way, not results of a table: a run that was interrupted has its place here, with
its status. An error is shown as accuracy.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from indrnn import configs, files, markdown_text, record
from indrnn.errors import UserError, in_one_line
from indrnn.tables import logs, table_text, verdict
from indrnn.tables.schema import Axis

UNITS = {"bpc": "bits per character", "mse": "squared units", "ppl": "exp of nats per token"}


@dataclass
class Entry:
    """One of our runs, by the overrides that decide its signature.

    ``verdict``: whether a recipe is as this run's, where it was a trial: see ``tables.trials``.
    """

    label: str
    overrides: list[str]
    verdict: str = "open"


@dataclass
class Milestones:
    """A file of conf/milestones.

    ``log``: which of conf/logs.yaml stands beside; ``official``: what it has as best so far, by training examples.
    ``at``: the numbers of examples that are shown; without it those of the log, of our ends and, where there is no
    log, of our validations. ``axis``: what the picture has instead of examples; labels then end with the value there,
    behind a comma. ``tests``: labels are "row, column, seed", and the page begins with what the finished runs
    have on the test, over seeds.
    """

    title: str
    metric: str
    runs: list[Entry]
    log: str = ""
    official: dict[int, float] = field(default_factory=dict)
    at: list[int] = field(default_factory=list)
    number: str = ".2f"
    axis: Axis | None = None
    tests: bool = False
    notes: list[str] = field(default_factory=list)
    name: str = ""

    @property
    def what(self) -> str:
        """The number that is shown, with its unit."""
        if self.metric == "error":
            return "validation accuracy so far (%)"
        return f"validation {self.metric} so far ({UNITS.get(self.metric, 'no unit')})"


@dataclass(frozen=True)
class Course:
    """The best of what one of our runs measured so far, by training examples."""

    label: str
    signature: str
    record: dict
    best: dict[int, float]

    def at(self, examples: int) -> float | None:
        """The best so far at this number of examples; None before the first validation or after the run's end."""
        seen = [count for count in self.best if count <= examples]
        return self.best[max(seen)] if seen and self.record["examples"] >= examples else None


def load(name: str) -> Milestones:
    """Read conf/milestones/<name>.yaml; UserError where it is not what Milestones says."""
    path = configs.CONF / "milestones" / f"{name}.yaml"
    try:
        found = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Milestones), OmegaConf.load(path)))
    except (OmegaConfBaseException, ValueError, YAMLError) as error:
        raise UserError(f"{path}: {in_one_line(error)}.") from None
    found.name = name
    if found.log:
        known = logs.load()
        if found.log not in known:
            raise UserError(f"{path}: there is no log {found.log!r} in conf/logs.yaml.")
        found.official = known[found.log].by_examples
    return found


def names() -> list[str]:
    return sorted(path.stem for path in (configs.CONF / "milestones").glob("*.yaml"))


def signatures(name: str) -> dict[str, str]:
    """The label of every run by its signature."""
    return {configs.signature(configs.signed(configs.build(run.overrides))): run.label for run in load(name).runs}


def courses(name: str, folder: Path) -> list[Course]:
    """The runs that have a record in ``folder``, finished or not."""
    metric, found = load(name).metric, []
    for signature, label in signatures(name).items():
        if entry := record.read(folder / signature):
            found.append(Course(label, signature, entry, best_so_far(folder / signature, metric, entry)))
    return found


def best_so_far(folder: Path, metric: str, entry: dict) -> dict[int, float]:
    """The best validation by examples, from a curve; accuracy in % where that holds the error in %.

    As in training, one whose loss or metric is no number does not count.
    """
    best, running = {}, math.inf
    for row in record.curve(folder):
        if math.isfinite(row[f"val/{metric}"]) and math.isfinite(row.get("val/loss", 0.0)):
            running = min(running, row[f"val/{metric}"])
        if math.isinf(running):
            continue
        examples = row["update"] * entry["config"]["data"]["batch_size"]
        best[examples] = 100 - running if metric == "error" else running
    return best


def render_all(results: Path) -> list[str]:
    """Write results/milestones/<name>.md and .png for those that have a record; returns their names."""
    done = []
    for name in names():
        what, found = load(name), courses(name, results / "runs")
        if found:
            files.write_whole(results / "milestones" / f"{name}.md", markdown(what, found))
            from indrnn.tables import draw_milestones  # matplotlib takes a second to import

            draw = partial(draw_milestones.draw, what, found)
            files.replace_whole(results / "milestones" / f"{name}.png", draw)
            done.append(name)
    return done


def markdown(what: Milestones, found: list[Course]) -> str:
    """A column per number of examples, a row per run; what became of every run."""
    counts = what.at or columns(what, found)
    heads = ["best so far at examples", *(f"{count:,}" for count in counts)]

    def row(label: str, values: Iterable[float | None]) -> list[str]:
        return [label, *("-" if value is None else f"{value:{what.number}}" for value in values)]

    rows = [row("the authors' log", map(what.official.get, counts))] if what.official else []
    rows += [row(course.label, map(course.at, counts)) for course in found]
    lines = [f"# {what.title}", ""]
    lines += markdown_text.bullets([f"Best {what.what}; a dash where nothing was measured.", *what.notes])
    if what.tests:
        lines += ["", *tested(what, found)]
    lines += ["", *markdown_text.aligned(heads, rows), "", "Our runs:", ""]
    lines += markdown_text.bullets(map(sentence, found))
    return "\n".join([*lines, "", f"![{what.title}]({what.name}.png)"]) + "\n"


def tested(what: Milestones, found: list[Course]) -> list[str]:
    """The finished runs on the test, by row and column of their labels: mean ± sample standard deviation (n seeds)."""
    name, values = f"test/{what.metric}", {}
    for course in found:
        row, column, _ = course.label.split(", ")
        if name in course.record["metrics"]:
            values.setdefault((row, column), []).append(course.record["metrics"][name])
    columns = list(dict.fromkeys(column for _, column in values))

    def shown(found: list[float]) -> str:
        return table_text.measured(verdict.Sample(tuple(found), len(found)), what.number) or "-"

    names = dict.fromkeys(row for row, _ in values)
    rows = [[row, *(shown(values.get((row, column), [])) for column in columns)] for row in names]
    return markdown_text.aligned([f"test {what.metric} (n seeds)", *columns], rows)


def sentence(course: Course) -> str:
    """What became of a run, how much of it there was, and where it was made."""
    entry, link = course.record, f"[{course.signature}](../runs/{course.signature}/run.json)"
    texts = [f"{key} {value:{',' if isinstance(value, int) else '.4g'}}" for key, value in entry["metrics"].items()]
    measured, devices = ", ".join(texts) or "no validation yet", ", then ".join(record.devices([entry]))
    return (
        f"{course.label}: {link}, **{entry['status']}** after {entry['updates']:,} of "
        f"{entry['config']['trainer']['max_updates']:,} updates, {entry['examples']:,} examples, "
        f"{duration(entry['wall_seconds'])} on {devices}; {measured}; commit {entry['commit']}."
    )


def duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def columns(what: Milestones, found: list[Course]) -> list[int]:
    """The numbers of examples of the log or, without one, of our validations; of our ends; and one later than all."""
    measured = {count for course in found for count in course.best} if not what.official else set()
    counts = sorted({*what.official, *measured, *(course.record["examples"] for course in found)})
    latest = max(course.record["examples"] for course in found)
    return [count for count in counts if count <= latest] + [count for count in counts if count > latest][:1]
