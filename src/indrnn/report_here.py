"""runs/report: the report page of what is published and of this machine's runs."""

from pathlib import Path

from indrnn import aloud, publish, report_page
from indrnn.configs import PROFILES
from indrnn.errors import UserError
from indrnn.tables.judged import Report
from indrnn.tables.page_tables import HERE, PUBLISHED, Place


def main(runs: Path, results: Path) -> str:
    """Write the page into the folder ``report`` of this machine's runs.

    Returns:
        where it lies and how it is opened.

    Raises:
        UserError: there is no run of a table, here or published.
    """
    runs, results = runs.resolve(), results.resolve()
    out = runs / report_page.NAME
    with aloud.Step("judging all tables and writing the page"):
        published = [x for profile in profiles(results) for x in publish.reports_of(profile, results)]
        places = Place(HERE, runs, runs / "tables"), Place(PUBLISHED, results / "runs", results)
        sources = list(zip(places, (of_runs(runs), published), strict=True))
        if not any(reports for _, reports in sources):
            raise UserError(f"No run of a table is in {runs} or {results}: `make reproduce-table` makes some.")
        report_page.write(out, report_page.texts(out, results, [source for source in sources if source[1]]))
    return (
        f"Report: {out / 'index.html'}\n"
        "Open this file in a browser; it needs no network. Its links to records lead to folders beside it, so whoever "
        "serves it as a site serves the repository."
    )


def profiles(results: Path) -> list[str]:
    return [profile for profile in PROFILES if (results / profile).is_dir()]


def of_runs(runs: Path) -> list[Report]:
    """The tables that this machine has a record of, at every profile."""
    if not any(runs.glob("*/run.json")):
        return []  # else all tables are planned, which takes half a minute
    found = (x for profile in PROFILES for x in publish.reports_of(profile, runs / "tables", runs))
    return [report for report in found if report.made]
