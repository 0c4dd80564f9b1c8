"""The report page: a folder with index.html, which works from file:// and as a static site, without a network.

Texts and numbers come from ``indrnn.tables`` and ``indrnn.findings``; what is read in a browser computes none.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from indrnn import files, findings, in_short
from indrnn.tables import over_examples, page_tables, paired, schema
from indrnn.tables.judged import Report
from indrnn.tables.page_tables import HERE, PUBLISHED, Link, Part, Place

NAME = "report"
WEB = Path(over_examples.__file__).parent / "web"
AS_THEY_ARE = ("page.css", "page.js", "charts.js", "uPlot.iife.min.js", "uPlot.min.css", "uPlot.LICENSE.txt")


@dataclass(frozen=True)
class Logs:
    """The charts of runs beside the authors' logs, by the title of their table and the name of the chart."""

    place: Place
    charts: list[tuple[str, str]]


def of_published(results: Path, reports: Iterable[Report]) -> dict[str, str]:
    """The files of results/report by their names, from reports on the published records; none without any."""
    known = list(reports)
    return texts(results / NAME, results, [(Place(PUBLISHED, results / "runs", results), known)]) if known else {}


def write(out: Path, texts: Mapping[str, str]) -> None:
    """Write the files of a page into the folder ``out``."""
    for name, text in texts.items():
        files.write_whole(out / name, text)


def texts(out: Path, results: Path, sources: list[tuple[Place, list[Report]]]) -> dict[str, str]:
    """index.html, its curves, scripts and styles by their names. The same records make the same bytes.

    Args:
        out: the folder of the page.
        results: what is published: the finding, and the pages that are no table.
        sources: the reports that are shown, with where they are from.
    """
    from indrnn.tables import page_curves  # matplotlib takes a second to import

    groups = page_tables.in_order(page_tables.part(report, place, out) for place, found in sources for report in found)
    parts = [part for some in groups.values() for part in some]
    charts, logs = {}, []
    for part in parts:
        if chart := page_curves.of_report(part.report, part.place.runs):
            charts[part.anchor] = chart
    for place, _ in sources:
        panels = over_examples.panels(place.runs)
        if any(panel.ours for panel in panels):
            found = page_curves.of_logs(panels)
            names = {table: f"logs-{'here-' * (place.name == HERE)}{table}" for table in found}
            charts |= {names[table]: chart for table, chart in found.items()}
            logs.append(Logs(place, [(schema.load_table(table).title, name) for table, name in names.items()]))
    published = [report for place, reports in sources if place.name == PUBLISHED for report in reports]
    finding = findings.found(results, published) if published else None
    data = json.dumps(charts, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    page = html(out, results, groups, finding, logs, charts, page_curves.MOST)
    return {"index.html": page, "curves.js": f"window.CURVES = {data};\n"} | {
        name: (WEB / name).read_text(encoding="utf-8") for name in AS_THEY_ARE
    }


def html(
    out: Path,
    results: Path,
    groups: dict[str, list[Part]],
    finding: findings.Found | None,
    logs: list[Logs],
    charts: dict[str, Any],
    most: int,
) -> str:
    """The text of index.html; arguments as in ``texts``, the parts by table and the charts by their names.

    Args:
        most: points of a drawn curve.
    """
    parts = [part for some in groups.values() for part in some]
    published = {f"{x.report.profile}/{x.report.table.name}.md": x for x in parts if x.place.name == PUBLISHED}

    def from_results(text: str) -> Markup:
        """Markdown of a page in results/: a link to a table leads to where it stands here."""
        link = re.search(r"\]\(([^)]+)\)", text)
        if link and link[1] in published:
            return inline(text.replace(link[0], f"](#{published[link[1]].anchor})"))
        return inline(page_tables.moved(text, results, out))

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(WEB), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True
    )  # fmt: skip
    environment.filters |= {"inline": inline, "from_results": from_results, "kind": page_tables.kind}
    return environment.get_template("index.html.j2").render(
        finding=finding,
        number_heads=in_short.HEADS,
        answer_heads=findings.HEADS,
        how=findings.HOW,
        groups=groups,
        profiles=[name for name in reversed(schema.PROFILES) if any(x.report.profile == name for x in parts)],
        tasks=list(dict.fromkeys(task for part in parts for task in part.tasks.split())),
        places=list(dict.fromkeys(part.place.name for part in parts)),
        paired_heads=paired.HEADS,
        paired_words=paired.WORDS,
        charts=charts,
        logs=logs,
        most=most,
        pages=other_pages(results, out),
    )


def inline(text: str) -> Markup:
    """Links, code and bold words of a line of Markdown as HTML."""
    safe = str(escape(text))
    safe = re.sub(r"\[([^\]]*)\]\(([^)]+)\)", r'<a href="\2">\1</a>', safe)
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", safe))


def other_pages(results: Path, out: Path) -> list[Link]:
    """The pages in results/ that are no table, by their titles."""
    found = []
    for path in sorted(results.rglob("*.md")):
        if path.relative_to(results).parts[0] not in schema.PROFILES:
            title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
            found.append(Link(title, os.path.relpath(path, out)))
    return found
