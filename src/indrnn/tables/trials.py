"""results/trials.md: what the recipes were chosen by. conf/trials.yaml + records -> a row per trial, kept or not.

Recipes are chosen on validation alone, so no number of a test set stands there. A trial is a run of conf/milestones or
of conf/trials.yaml, a network of a study, or words where no record was kept.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from indrnn import configs, files, markdown_text, record
from indrnn.errors import UserError, in_one_line
from indrnn.tables import milestones
from indrnn.tables.milestones import Entry

NAME = "trials"
VERDICTS = ("kept", "not kept", "open")
NO_RECORD = "no record kept"


@dataclass
class Told:
    """A trial without a record: what was tried, and what it gave in words, ``after`` how many updates."""

    label: str
    gave: str
    verdict: str = "open"
    after: str = "-"


@dataclass
class Study:
    """Networks that a study has published as ``results/<folder>/*.json``; ``starts``: label -> verdict.

    A file holds ``device`` and a ``network`` with its ``start`` (a label), ``width``, ``losses`` (one an update) and
    ``validation``.
    """

    folder: str
    batch_size: int
    starts: dict[str, str]


@dataclass
class Group:
    """One question about a recipe, and the trials that were to answer it.

    ``milestones``: a page of conf/milestones, all of whose runs are trials. ``runs``: others. ``answer``: what is done
    now, and why.
    """

    question: str
    metric: str = "error"
    number: str = ".2f"
    answer: list[str] = field(default_factory=list)
    milestones: str = ""
    runs: list[Entry] = field(default_factory=list)
    study: Study | None = None
    unrecorded: list[Told] = field(default_factory=list)

    @property
    def measure(self) -> str:
        return "validation error (%)" if self.metric == "error" else f"validation {self.metric}"


@dataclass
class Groups:
    """conf/trials.yaml."""

    groups: list[Group]


def load() -> list[Group]:
    """Read conf/trials.yaml; UserError where it is not what Groups says, or a verdict is none."""
    path = configs.CONF / f"{NAME}.yaml"
    try:
        found = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Groups), OmegaConf.load(path))).groups
    except (OmegaConfBaseException, ValueError, YAMLError) as error:
        raise UserError(f"{path}: {in_one_line(error)}.") from None
    for group in found:
        if group.milestones:
            if not (configs.CONF / "milestones" / f"{group.milestones}.yaml").exists():
                raise UserError(f"{path}: there is no conf/milestones/{group.milestones}.yaml.")
            page = milestones.load(group.milestones)
            group.metric, group.number = page.metric, page.number
            group.runs = [*page.runs, *group.runs]
        given = {one.label: one.verdict for one in [*group.runs, *group.unrecorded]}
        for label, verdict in (given | (group.study.starts if group.study else {})).items():
            if verdict not in VERDICTS:
                raise UserError(f"{path}: {label!r} has the verdict {verdict!r}; there are: {', '.join(VERDICTS)}.")
    return found


def signatures() -> list[str]:
    """The runs of all groups."""
    return [signature_of(run) for group in load() for run in group.runs]


def signature_of(run: Entry) -> str:
    return configs.signature(configs.signed(configs.build(run.overrides)))


def write(results: Path) -> None:
    """Write results/trials.md from what is published there; nothing where none of the trials is."""
    if text := page(results):
        files.write_whole(results / f"{NAME}.md", text)


def page(results: Path) -> str:
    """The groups as tables; empty where no trial has a record."""
    groups = load()
    entries = [[record.read(results / "runs" / signature_of(run)) for run in group.runs] for group in groups]
    made = {entry["signature"]: entry for some in entries for entry in some if entry}
    if not made:
        return ""
    told = sum(len(group.unrecorded) for group in groups)
    hours = sum(entry["wall_seconds"] for entry in made.values()) / 3600
    lines = ["# Trials: what the recipes were chosen by", ""]
    lines += markdown_text.bullets(
        [
            f"{len(made)} runs with records, {hours:.1f} hours in all; {told} trials without a record stand in words.",
            "Chosen on validation alone: the best value on the way is shown. No test set decided anything.",
            "kept: the profile fast trains so. Rows of one question differ in what the first column says.",
            "A run is added to conf/milestones or to conf/trials.yaml; all numbers here are read from records.",
        ]
    )
    for group, some in zip(groups, entries, strict=True):
        lines += ["", f"## {group.question}", ""]
        where = [f"Curves: [{group.milestones}](milestones/{group.milestones}.md)."] * bool(group.milestones)
        lines += markdown_text.bullets([*group.answer, *where])
        rows = [of_run(run, entry, group) for run, entry in zip(group.runs, some, strict=True)]
        rows += of_study(group, results)
        rows += [[one.label, one.after, "-", "-", "-", one.gave, one.verdict, NO_RECORD] for one in group.unrecorded]
        heads = ["tried", "updates", "examples", "minutes", "device", group.measure, "verdict", "record"]
        lines += ["", *markdown_text.aligned(heads, rows)]
    return "\n".join(lines) + "\n"


def of_run(run: Entry, entry: dict | None, group: Group) -> list[str]:
    if not entry:
        return [run.label, *["-"] * 5, run.verdict, "not published yet"]
    planned = entry["config"]["trainer"]["max_updates"]
    done = f"{entry['updates']:,}"
    if entry["status"] != "finished":
        done += f" of {planned:,}, {entry['status']}"
    value, minutes = entry["metrics"].get(f"val/{group.metric}"), entry["wall_seconds"] / 60
    return [
        run.label,
        done,
        f"{entry['examples']:,}",
        f"{minutes:.0f}" if minutes >= 10 else f"{minutes:.1f}",
        ", then ".join(record.devices([entry])),
        "-" if value is None else f"{value:{group.number}}",
        run.verdict,
        f"[{entry['signature']}](runs/{entry['signature']}/run.json)",
    ]


def of_study(group: Group, results: Path) -> Iterator[list[str]]:
    """A row per width and start: means over the seeds."""
    if not group.study:
        return
    folder = results / group.study.folder
    abouts = [json.loads(files.content(path)) for path in sorted(folder.glob("*.json"))]
    for width in sorted({about["network"]["width"] for about in abouts}, reverse=True):
        for start, verdict in group.study.starts.items():
            some = [x for x in abouts if (x["network"]["width"], x["network"]["start"]) == (width, start)]
            if not some:
                continue
            updates = len(some[0]["network"]["losses"])
            seeds = f"{len(some)} seed{'s' * (len(some) > 1)}"
            yield [
                f"{width:,} neurons a layer, {start}, {seeds}",
                f"{updates:,}",
                f"{updates * group.study.batch_size:,}",
                "-",
                " or ".join(sorted({about["device"] for about in some})),
                f"{fmean(about['network']['validation'] for about in some):{group.number}}",
                verdict,
                f"[{group.study.folder}]({group.study.folder}/README.md)",
            ]
