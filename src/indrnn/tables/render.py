"""A judged table as md, csv, tex and png. Same records, same bytes."""

import csv as csv_format
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from indrnn import digests, files, markdown_text, provenance, record
from indrnn.configs import PROFILES
from indrnn.tables import chance, changes, paired, table_text
from indrnn.tables.judged import Report, Result
from indrnn.tables.verdict import Record


def write(report: Report, out: Path, folder: Path) -> None:
    """Write <table>.md, .csv and .tex, and .png where the table has a figure.

    Args:
        out: where the files go.
        folder: of the runs, which the md links to and the figure draws.
    """
    write_texts(report, out, folder)
    if report.table.figure:
        from indrnn.tables import figures  # matplotlib takes a second to import

        files.replace_whole(out / f"{report.table.name}.png", lambda part: figures.draw(report, folder, part))


def write_texts(report: Report, out: Path, folder: Path) -> None:
    """Write what ``write`` does, but for the figure."""
    for name, text in texts(report, out, folder).items():
        files.write_whole(out / name, text)


def texts(report: Report, out: Path, folder: Path) -> dict[str, str]:
    """What <table>.md, .csv and .tex in a folder ``out`` hold, by their names; ``folder`` as in ``write``."""
    name = report.table.name
    by_example = paired.lines(report, folder)
    page = markdown(report, os.path.relpath(folder, out), changes.sentences(out, name), by_example)
    return {f"{name}.md": page, f"{name}.csv": csv(report), f"{name}.tex": tex(report)}


CLAIM_HEADS = ("claim", "verdict", "measured")
SPREAD = "± is over seeds alone: other splits, permutations, learning rates and devices may move a number by more."


def headline(report: Report) -> list[str]:
    """What every rendering says first: what is measured, at which profile, on which data."""
    table = report.table
    lines = [
        f"Test {table.metric} ({table.unit}), {'lower' if table.lower_is_better else 'higher'} is better; "
        "mean ± sample standard deviation (n seeds).",
        SPREAD,
        *chance.sentences(report),
        f"Profile {report.profile}: {PROFILES[report.profile]}.",
        *table.notes,
        *(f"Stand-in data: {text}." for text in report.stand_ins),
    ]
    lines += table.profile_notes.get(report.profile, [])
    if any(cell.gap is not None for results in report.columns.values() for cell in results.values()):
        lines.append(
            "Gap: our mean minus the paper's value [its 90% interval over seeds]; reproduced: the whole interval is "
            "within the tolerance."
        )
    if report.profile in table.candidates_at and any(row.candidates for row in table.rows.values()):
        lines.append(
            "Of a row with several learning rates each is trained with the first seed; validation chooses, and the "
            "other seeds are made with that one alone."
        )
    if table.stays_below and report.profile in table.judged:
        bounds = " and ".join(f"{bound:g}" for bound in table.stays_below)
        lines.append(
            f"Where the paper prints a curve, the verdict says from which update on the validation {table.metric} of "
            f"every seed stays below {bounds} (and its share of the budget)."
        )
    alike: dict[tuple[str, ...], list[str]] = {}
    for label, texts in report.cuts.items():
        alike.setdefault(tuple(texts), []).append(label)
    for texts, labels in alike.items():
        lines.append(f"{', '.join(labels)}: differs from the paper profile (in brackets) in {'; '.join(texts)}.")
    lines += report.elsewhere
    for results in report.columns.values():
        lines += [f"{x.row.label}, {x.column.label}: {x.chosen}." for x in results.values() if x.chosen]
    if table.axis and report.made:
        lines.append(f"Parameters: {table_text.parameters(report)}.")
    return lines


def footer(report: Report) -> list[str]:
    """Where the numbers come from: runs, commits, versions, devices, hours, command."""
    made = report.made
    statuses = [entry["status"] for entry in made]
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(sorted(statuses)))
    final = sum(status in record.FINAL for status in statuses)
    lines = [f"Runs: {final} of {report.planned} done{f' ({counts})' if counts else ''}."]
    if "no_data" in statuses and report.table.get_data:
        lines.append(f"No data: {report.table.get_data}.")
    if "out_of_memory" in statuses:
        sizes = [x["metrics"]["memory/asked_gib"] for x in made if "memory/asked_gib" in x["metrics"]]
        what = f"Out of memory (asked for up to {max(sizes):.3g} GiB)" if sizes else "Out of memory"
        lines.append(f"{what}: machine.save_memory=true or fewer runs at once need less.")
    if made:
        codes = sorted(set(map(provenance.words, made)))
        versions = [f"{name} {' or '.join(found)}" for name, found in record.versions(made).items()]
        hours = sum(entry["wall_seconds"] for entry in made) / 3600
        lines += [
            f"Commit: {'; '.join(codes)}.",
            f"Versions: {', '.join(versions)}.",
            f"Data: {data_of(made)}.",
            f"Devices: {'; '.join(sorted(record.devices(made)))}; {hours:.2f} hours of training in all.",
        ]
    return [*lines, f"Command: `{report.command}`"]


def data_of(made: list[Record]) -> str:
    """By which digests of their data some runs can be told from runs of other data."""
    found = [digests.of_record(entry) for entry in made]
    known, without = list(dict.fromkeys(filter(None, found))), found.count(None)
    texts = [f"digest{'s' * (len(known) > 1)} {', '.join(known)}"] * bool(known)
    texts += [f"{without} of {len(made)} runs are of earlier versions, which took no digest of them"] * bool(without)
    return "; ".join(texts)


def markdown(report: Report, links: str | None, changed: Sequence[str] = (), by_example: Sequence[str] = ()) -> str:
    """The table as aligned Markdown.

    Args:
        links: path to the runs' folder as seen from the file; None for a terminal: no links, 120 columns.
        changed: sentences on published numbers that became others, for the end of the footer.
        by_example: lines on claims that are compared example by example (``tables.paired``).
    """
    table = report.table
    lines = [f"# {table.source}: {table.title} ({report.profile})", ""]
    lines += markdown_text.bullets(headline(report))
    for block in table_text.blocks(report, links):
        lines += ["", f"## {block.title}", "", *markdown_text.aligned(block.heads, block.rows)]
    if report.claims:
        lines += ["", f"## Claims at profile {report.profile}", ""]
        lines.append("A difference [its 95% Welch interval], or a threshold and every seed, decides.")
        lines.append("")
        if links is not None:
            lines += markdown_text.aligned(list(CLAIM_HEADS), claim_rows(report))
        else:
            lines += [f"{found.verdict:13}  {text}\n{'':15}{found.evidence}" for text, found in report.claims]
    lines += by_example
    lines += ["", "## Provenance", "", *markdown_text.bullets([*footer(report), *changed])]
    if table.figure and links is not None:
        lines += ["", f"![{table.source}]({table.name}.png)"]
    return "\n".join(lines) + "\n"


def claim_rows(report: Report) -> list[list[str]]:
    """Each claim of a table with its verdict and what was measured."""
    return [[text, found.verdict, found.evidence] for text, found in report.claims]


def csv(report: Report) -> str:
    """One line per cell with everything that is known about it; several values stand with semicolons between."""
    text = io.StringIO()
    rows = [record_line(report, result) for results in report.columns.values() for result in results.values()]
    writer = csv_format.DictWriter(text, list(rows[0]) if rows else ["table"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def record_line(report: Report, result: Result) -> dict[str, Any]:
    table, ours, made = report.table, result.ours, result.made

    def of(key: str) -> str:
        return ";".join(dict.fromkeys(str(entry[key]) for entry in made))

    return {
        "table": table.name,
        "profile": report.profile,
        "column": result.column.label,
        "row": result.row.label,
        "metric": result.metric,
        "unit": table.unit,
        "paper": "" if result.paper is None else result.paper,
        "source": result.row.source or table.source,
        "tolerance": "" if result.column.tolerance is None else result.column.tolerance,
        "mean": ours.mean if ours.values else "",
        "std": ours.std if len(ours.values) > 1 else "",
        "n": len(ours.values),
        "planned": ours.planned,
        "gap": "" if result.gap is None else result.gap,
        "gap_interval": ";".join(map(repr, result.gap_interval or ())),
        "verdict": result.verdict,
        "values": ";".join(map(repr, ours.values)),
        "chosen": result.chosen,
        "parameters": result.parameters or "",
        "seeds": ";".join(str(run.seed) for run in result.runs),
        "signatures": ";".join(run.signature for run in result.runs),
        "statuses": ";".join(entry["status"] if entry else "to do" for entry in result.records),
        "updates": ";".join(str(entry["updates"]) for entry in made),
        "examples": ";".join(str(entry["examples"]) for entry in made),
        "stays_below": "; ".join(
            f"{bound:g}: {' '.join('never' if update is None else str(update) for update in updates)}"
            for bound, updates in result.reached.items()
        ),
        "peak_bytes": record.peak_bytes(made) or "",
        "wall_seconds": ";".join(str(entry["wall_seconds"]) for entry in made),
        "commits": of("commit"),
        "sources": of("source"),
        "dirty": of("dirty"),
        "devices": ";".join(record.devices(made)),
        "versions": ";".join(
            dict.fromkeys(
                " ".join(f"{k}={v}" for k, v in sorted(sitting["versions"].items()))
                for entry in made
                for sitting in record.sittings(entry)
            )
        ),
        "data": ";".join(dict.fromkeys(str(entry["data"].get("name", "")) for entry in made)),
        "stand_in": ";".join(dict.fromkeys(str(entry["data"].get("stand_in", "")) for entry in made)),
        "digests": ";".join(dict.fromkeys(digests.of_record(entry) or "" for entry in made)),
    }


def tex(report: Report) -> str:
    """The table for \\input in a paper that loads booktabs, its claims below it."""
    table = report.table
    lines = [f"% {line}" for line in [f"{table.source}: {table.title}", *headline(report), *footer(report)]]
    blocks = table_text.blocks(report, None)
    heads = blocks[0].heads if blocks else list(table_text.HEADS)
    lines += [f"\\begin{{tabular}}{{{table_text.ALIGNMENT if not table.axis else 'l' * len(heads)}}}", "\\toprule"]
    lines.append(" & ".join(map(escaped, heads)) + r" \\")
    for block in blocks:
        lines += ["\\midrule", rf"\multicolumn{{{len(heads)}}}{{l}}{{\emph{{{escaped(block.title)}}}}} \\"]
        lines += [" & ".join(map(escaped, row)) + r" \\" for row in block.rows]
    lines += ["\\bottomrule", "\\end{tabular}"]
    if report.claims:
        lines += ["", "\\begin{tabular}{lll}", "\\toprule", r"claim & verdict & measured \\", "\\midrule"]
        lines += [" & ".join(map(escaped, [text, *vars(found).values()])) + r" \\" for text, found in report.claims]
        lines += ["\\bottomrule", "\\end{tabular}"]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Plain text for LaTeX."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"±": r"$\pm$", "≈": r"$\approx$", "γ": r"$\gamma$", "<": "$<$", ">": "$>$"}
    special |= {character: f"\\{character}" for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in text)
