"""Whether what is published is still so, on any machine: its files, its tables, and some of its runs trained again."""

import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import as_completed
from pathlib import Path

from indrnn import again, aloud, checksums, files, findings, provenance, publish, published, record, report_page
from indrnn.errors import UserError
from indrnn.readme import with_tables
from indrnn.tables import changes, milestones, over_examples, queue_page, render, schema, trials
from indrnn.tables.judged import Report

SHOWN = 10  # problems of a kind that are named
ENDS = (".md", ".csv", ".tex")  # of tables; a picture depends on what draws it, and has its checksum


def main(word: str, jobs: int, results: Path = publish.RESULTS) -> int:
    """Print what was looked at and what is not right; returns 0 where all of it is, else 1.

    Args:
        word: the signature of a published run to train again, or how it begins, instead of one of each quick table.
        jobs: how many runs are trained at once.
        results: is only read.

    Raises:
        UserError: there is no such run.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):  # ends the runs, too
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        return verify(again.signature(word, results) if word else "", jobs, results.resolve())
    except KeyboardInterrupt:
        print("stopped: nothing is decided")
        return 130


def verify(name: str, jobs: int, results: Path) -> int:
    """As ``main``; ``name``: the whole signature."""
    wrong = told(f"{len(published.names(results)):,} files against SHA256SUMS", list(wrong_files(results)))
    count = sum(1 for _ in (results / "runs").glob("*/run.json"))
    wrong += told(f"{count} records against their signatures", list(wrong_records(results)))
    profiles = [profile for profile in schema.PROFILES if (results / profile).is_dir()]
    first = profiles if name else [profile for profile in profiles if profile == "quick"]
    reports = {profile: publish.reports_of(profile, results) for profile in first}
    known = [report for found in reports.values() for report in found]
    runs = [again.named(name, results, known)] if name else again.cheapest(known)
    if name:
        where = " and ".join(record.devices([runs[0].record]))
        print(f"Training {name} again, which took {runs[0].record['wall_seconds'] / 3600:.2f} hours on {where}.")
    with tempfile.TemporaryDirectory(prefix="indrnn-verify-") as folder:
        with again.training(runs, jobs, results, Path(folder)) as outcomes:
            reports |= {profile: publish.reports_of(profile, results) for profile in profiles if profile not in first}
            with aloud.Step("rendering what is published", first=False):
                made = dict(rendered(results, reports))
            wrong += told(f"{len(made)} pages and tables against the records", list(wrong_tables(results, made)))
            which = name or "the quickest run of each quick table"
            print(f"Trained again with source {provenance.source()}, {which}:", flush=True)
            with aloud.Step("training", first=False):
                for outcome in as_completed(outcomes):
                    print(outcome.result(), flush=True)
                    wrong += not outcome.result().right
    if wrong:
        print(f"Not verified: {wrong} problem{'s' * (wrong > 1)}, as told above.")
    else:
        print("Verified.")
    return 1 if wrong else 0


def told(what: str, problems: list[str]) -> int:
    """Say in one line what was looked at, then the problems; returns their number."""
    print(f"{what}: {f'{len(problems)} wrong' if problems else 'right'}")
    for problem in problems[:SHOWN]:
        print(f"  {problem}")
    if len(problems) > SHOWN:
        print(f"  and {len(problems) - SHOWN} more")
    return len(problems)


def wrong_files(results: Path) -> Iterator[str]:
    """What is missing, changed, or not listed."""
    try:
        sums = checksums.read(results / checksums.NAME)
    except FileNotFoundError:
        yield f"{checksums.NAME} is not there: `make tables` writes it"
        return
    except UserError as error:
        yield f"{error} {published.MEND}"
        return
    for name in checksums.differing(results, sums):
        yield f"{name}: {'changed' if (results / name).exists() else 'missing'}"
    for name in sorted(set(published.names(results)).difference(sums)):
        yield f"{name}: not listed"


def wrong_records(results: Path) -> Iterator[str]:
    """What is no record, or one of another run than its folder says."""
    for path in sorted((results / "runs").glob("*/run.json")):
        try:
            entry = record.read(path.parent)
        except UserError as error:
            yield str(error)
            continue
        if entry is None:
            yield f"{path}: no record of ours"
        elif entry["signature"] != path.parent.name:
            yield f"{path}: the record of run {entry['signature']}"


def rendered(results: Path, reports: dict[str, list[Report]]) -> Iterator[tuple[str, str]]:
    """All that tables, milestones and the report write as text, by names in results/, made anew from results/runs."""
    runs = results / "runs"
    for profile, found in reports.items():
        for report in found:
            texts = render.texts(report, results / profile, runs)
            yield from ((f"{profile}/{name}", text) for name, text in texts.items())
    if any(report.table.pairs for found in reports.values() for report in found):
        from indrnn.studies.ablations import report as ablations  # matplotlib takes a second to import

        pairs = ablations.with_records(runs, [report for found in reports.values() for report in found])
        yield f"{ablations.NAME}.md", ablations.markdown(pairs, runs, runs.name)
    if page := findings.page(results, [report for some in reports.values() for report in some]):
        yield f"{findings.NAME}.md", page
    for made in (trials, queue_page, over_examples):
        if page := made.page(results):
            yield f"{made.NAME}.md", page
    for name in milestones.names():
        if courses := milestones.courses(name, runs):
            yield f"milestones/{name}.md", milestones.markdown(milestones.load(name), courses)
    page = report_page.of_published(results, [report for some in reports.values() for report in some])
    yield from ((f"{report_page.NAME}/{name}", text) for name, text in page.items())


def wrong_tables(results: Path, made: dict[str, str]) -> Iterator[str]:
    """Where what is published is not what the records say, and what no table writes any more."""
    for name, text in made.items():
        path = results / name
        old = path.read_bytes().decode("utf-8", "replace") if path.exists() else ""
        if old != text:
            lines = zip(f"{old}\n".split("\n"), f"{text}\n".split("\n"), strict=False)
            first = next((number for number, (a, b) in enumerate(lines, 1) if a != b), 1)
            yield f"{name}: not what the records say (line {first})"
    for folder in (*schema.PROFILES, "milestones"):
        for path in sorted((results / folder).glob("*")):
            if path.suffix in ENDS and f"{folder}/{path.name}" not in made and path.name != changes.NAME:
                yield f"{folder}/{path.name}: of no table or milestone that there is"
    readme = files.ROOT / "README.md"
    if results == publish.RESULTS and with_tables(text := readme.read_text(encoding="utf-8")) != text:
        yield "README.md: shows other tables"
