"""results/ablations.md and .png: what was compared, the paired differences, the states beside them, provenance.

Same records, same bytes.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from indrnn import files, markdown_text
from indrnn.studies.ablations import draw, pairs
from indrnn.studies.ablations.state_curves import OFF, course
from indrnn.studies.summary import plus_minus
from indrnn.tables import chance, judged, render, schema
from indrnn.tables.judged import Report, Result
from indrnn.tasks.off_states import OFF as LARGEST_SLOPE

NAME = "ablations"
PROFILE = "quick"


def names() -> list[str]:
    """The tables that have pairs."""
    return [name for name in schema.table_names() if schema.load_table(name).pairs]


def write(folder: Path, out: Path, known: Iterable[Report] = ()) -> str:
    """Render from the records in ``folder`` into ``out``; returns the text without links, for a terminal.

    Empty, and nothing written, where no run of these tables has a record. ``known``: whole reports on these records.
    """
    reports = with_records(folder, known)
    if not reports:
        return ""
    text = markdown(reports, folder, os.path.relpath(folder, out))
    files.write_whole(out / f"{NAME}.md", text)
    files.replace_whole(out / f"{NAME}.png", lambda part: draw.courses(reports, folder, part))
    return markdown(reports, folder, None)


def with_records(folder: Path, known: Iterable[Report] = ()) -> list[Report]:
    """The reports of these tables that have a record in ``folder``; ``known`` as in ``write``."""
    there = {report.table.name: report for report in known if report.profile == PROFILE}
    reports = [there.get(name) or judged.report(name, PROFILE, folder) for name in names()]
    return [report for report in reports if report.made]


def markdown(reports: list[Report], folder: Path, links: str | None) -> str:
    """The page.

    Args:
        links: path to the runs' folder as seen from the page; None for a terminal.
    """
    lines = ["# What the parts of IndRNN are worth: ablations at a small scale", ""]
    lines += markdown_text.bullets(headline(reports))
    found = [comparison for report in reports for comparison in pairs.compare(report)]
    for question in dict.fromkeys(comparison.pair.question for comparison in found):
        here = [x for x in found if x.pair.question == question]
        texts = list(dict.fromkeys(x.pair.text for x in here))
        here.sort(key=lambda x: texts.index(x.pair.text))  # by what is changed, then where
        lines += ["", f"## {question[0].upper()}{question[1:]}", ""]
        cells = [[x.pair.text, x.column, x.evidence, x.verdict] for x in here]
        lines += markdown_text.aligned(["change", "task", "difference [95% interval]", "verdict"], cells)
        sentences = (pairs.sentence([x for x in here if x.pair.text == text]) for text in texts)
        lines += ["", *markdown_text.bullets(sentences)]
    lines += ["", "## The states beside it", "", *markdown_text.bullets(explanation())]
    for report in reports:
        for key, results in report.columns.items():
            lines += ["", f"### {report.table.columns[key].label}", "", *states(report, results, folder)]
    if links is not None:
        lines += ["", f"![Validation and states over training]({NAME}.png)"]
    lines += ["", "## Provenance", ""]
    for report in reports:
        lines += markdown_text.bullets([f"{report.table.title}:"])
        lines += [f"  {line}" for line in markdown_text.bullets(render.footer(report))]
    return "\n".join(lines) + "\n"


def headline(reports: list[Report]) -> list[str]:
    """The scale, how pairs are made, what an interval is."""
    count = sum(len(pairs.compare(report)) for report in reports)
    lines = []
    for report in reports:
        config = report.made[0]["config"]
        stand_in = "".join(f" {text[0].upper()}{text[1:]}." for text in report.stand_ins)
        lines.append(
            f"{report.table.title}: {config['trainer']['max_updates']:,} updates of batch "
            f"{config['data']['batch_size']}, {len(report.table.seeds)} seeds; test {report.table.metric} "
            f"({report.table.unit}) of the weights that validation chose.{stand_in}"
        )
        lines += [*chance.sentences(report), *report.table.notes]
    return [
        *lines,
        "Small scale: this says what a part is worth within these updates on these tasks, not after convergence.",
        "A pair is two rows with the same seed: the same batches, the same noise and, where the change leaves them, "
        "the same weights at the start. Difference: the mean over the seeds of the row minus the other one (error), or "
        "the geometric mean of their ratio (mse), with its 95% Student interval; undecided where that holds no "
        "difference.",
        f"There are {count} comparisons: at 95%, one in twenty is decided by chance.",
    ]


def explanation() -> list[str]:
    return [
        f"A state is off where the activation's derivative is at most {LARGEST_SLOPE}: a ReLU that outputs 0, a leaky "
        "ReLU below 0, a tanh beyond ± 0.949. There, at most a tenth of the past goes on to the next step.",
        "Off: % of all states of the validation sequences, over steps, sequences and neurons. Stay: how many steps in "
        "a row a state is off, on average. Silent: % of the neurons that are off in every step of every sequence. "
        "All are means over layers and seeds, at the first → at the last validation; ± is the sample standard "
        "deviation over the seeds.",
    ]


def states(report: Report, results: dict[str, Result], folder: Path) -> list[str]:
    """A line per row: its test metric, and what became of its states from the first to the last validation."""
    table = report.table
    heads = ["model", f"test {table.metric}", "off (%)", "stay (steps)", "silent (%)"]
    cells, updates = [], []
    for result in results.values():
        if seen := course(result, table.metric, folder):
            updates = seen.updates
            line = [result.row.label, plus_minus(list(result.ours.values), table.number) if result.ours.values else "-"]
            for name in OFF:
                line.append(f"{seen.at(name, 0).mean():.1f} → {plus_minus(list(seen.at(name, -1)), '.1f')}")
            cells.append(line)
    if not cells:
        return ["No run is done."]
    return [*markdown_text.aligned(heads, cells), "", f"From update {updates[0]} → to update {updates[-1]:,}."]
