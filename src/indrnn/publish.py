"""From this machine's runs/ to the repository's results/: records, curves, and the tables made of them alone.

What of it the README shows: ``indrnn.readme``.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from indrnn import aloud, checksums, files, findings, places, predictions, published, record, report_page
from indrnn.errors import UserError
from indrnn.readme import with_tables
from indrnn.tables import changes, judged, milestones, over_examples, plan, queue_page, render, schema, trials

RESULTS = files.ROOT / "results"
OF_A_RUN = ("curve.csv", predictions.NAME, "weights.pt", "run.json")  # the record last: whoever finds it finds all
LARGEST = 64 * 1024  # bytes of published predictions of a run: MNIST's 10,000 take 29 KB, NTU's 18,932 less than 60


@dataclass(frozen=True)
class Rendered:
    """What stands in results/ after a command: its tables, the names of its milestones, and the cells that changed.

    ``touched``: files that were not as the last such command had left them. ``would``: what writing it would do, where
    nothing was written.
    """

    reports: list[judged.Report]
    milestones: list[str]
    changed: list[changes.Change]
    touched: list[str]
    would: list[str]


def main(
    profile: str | None, of_milestones: bool, runs: Path, results: Path, reason: str = "", yes: bool = True
) -> str:
    """Publish a profile, or conf/milestones, or neither; render results/ and, where it is RESULTS, the README's tables.

    Args:
        reason: as in ``renew``.
        yes: without it, runs are not published into what the repository holds: what would happen is told.

    Returns:
        what is published there, which runs it misses, which published cells became others, which files others wrote.

    Raises:
        UserError: as ``publish``, ``publish_milestones`` and ``renew``.
    """
    source, folder = runs.resolve(), results.resolve()
    dry = not yes and places.is_tracked(folder)
    if of_milestones:
        done = publish_milestones(source, folder, reason, dry)
    elif profile is not None:
        done = publish(profile, source, folder, reason, dry)
    else:
        done = renew(folder, (), reason)
    if folder == RESULTS and not done.would:
        readme = files.ROOT / "README.md"
        files.write_whole(readme, with_tables(readme.read_text(encoding="utf-8")))
    lines = []
    for report in done.reports:
        if not of_milestones and profile in (None, report.profile):
            lines.append(f"{report.profile}/{report.table.name}: {len(report.made)} of {report.planned} runs")
            lines += [f"  missing: {name}" for name in report.missing]
    lines += [f"milestones/{name}" for name in done.milestones if of_milestones or profile is None]
    lines += [f"{'filled' if change.filled else 'changed'}: {change}" for change in done.changed]
    lines += [f"written by another command: {name}" for name in done.touched]
    if done.would:
        lines += [f"Nothing was written: {places.SAY} would do this to {results}:", *done.would]
    return "\n".join(lines or [f"Nothing is published in {results}."])


def publish(profile: str, runs: Path, results: Path = RESULTS, reason: str = "", dry: bool = False) -> Rendered:
    """Copy the final records and curves of a profile's plan, then render all that is published from the copies.

    Where a table asks for a run's network (``schema.Weights``), weights.pt is copied, too, with checksums beside it.

    Args:
        runs: the folder to publish from.
        results: the folder to publish to; records that it has already stay unless this machine has the same run.
        reason, dry: as in ``renew``.

    Returns:
        what is published; what its tables miss stands in their cells.

    Raises:
        UserError: nothing is done, or a record was made by code that no commit holds, or as in ``renew``; nothing is
            written then.
    """
    found = judged.records(plan.runs(schema.table_names(), profile), runs)
    final = {name: entry for name, entry in found.items() if entry and entry["status"] in record.FINAL}
    if not final:
        published.refuse_damaged(results, ())  # which matters more
        raise UserError(f"No run of profile {profile} is done in {runs}: nothing to publish.")

    def add(stage: Path) -> None:
        (stage / profile).mkdir(exist_ok=True)
        copy(final, runs, stage, plan.with_weights(profile))

    return renew(results, final, reason, add, dry)


def publish_milestones(runs: Path, results: Path = RESULTS, reason: str = "", dry: bool = False) -> Rendered:
    """Copy the records and curves of conf/milestones and conf/trials.yaml, finished or not, then render all.

    Raises:
        UserError: there is none, or a record was made by code that no commit holds, or as in ``renew``; nothing is
            written then.
    """
    wanted = [signature for name in milestones.names() for signature in milestones.signatures(name)]
    wanted += trials.signatures()
    found = {name: entry for name in wanted if (entry := record.read(runs / name))}
    if not found:
        published.refuse_damaged(results, ())  # which matters more
        raise UserError(f"No run of conf/milestones has a record in {runs}: nothing to publish.")
    return renew(results, found, reason, lambda stage: copy(found, runs, stage), dry)


def renew(
    results: Path,
    anew: Collection[str],
    reason: str,
    add: Callable[[Path], None] = lambda stage: None,
    dry: bool = False,
) -> Rendered:
    """Render all of results/ in another folder, then take that over: results/ stays as it is where anything fails.

    Args:
        anew: signatures of the runs that come from elsewhere; the others have to be what SHA256SUMS says.
        reason: why published numbers become others, where they do; it is kept beside them (``tables.changes``).
        add: copies the runs that come from elsewhere into the folder.
        dry: leave results/ as it is, and say what would become of it.

    Raises:
        UserError: a published run is damaged, or numbers become others without a reason; nothing is written then.
    """
    reason = " ".join(reason.split())
    touched = published.refuse_damaged(results, anew)
    with tempfile.TemporaryDirectory(prefix="indrnn-publish-") as folder:
        stage = Path(folder)
        before = published.copy(results, stage)
        add(stage)
        with aloud.Step("rendering all that is published", first=False):
            reports, courses = render_all(stage)
        found = changes.between(results, stage)
        if told := [change for change in found if not change.filled]:
            if not reason:
                raise UserError(changes.refusal(told))
            changes.add(stage, told, reason)
            for report in reports:  # their footers
                render.write_texts(report, stage / report.profile, stage / "runs")
            report_page.write(stage / report_page.NAME, report_page.of_published(stage, reports))
        would = published.would(stage, results) if dry else []
        if not dry:
            published.take_over(stage, results, before)
    return Rendered(reports, courses, found, touched, would)


def copy(found: dict[str, dict], runs: Path, results: Path, weights: Collection[str] = ()) -> None:
    """Copy records and curves to results/runs; UserError, and nothing copied, where a record is of uncommitted code.

    Args:
        weights: the runs whose network is copied, too; one that is published already is copied in any case.
    """
    dirty = [name for name, entry in found.items() if entry["dirty"]]
    if dirty:
        raise UserError(
            f"{len(dirty)} of {len(found)} runs were made with uncommitted changes in src/ or conf/, such as "
            f"{dirty[0]}: commit, remove their folders and make them again. Nothing was published."
        )
    record.refuse_damaged(runs / name for name in found)
    for name in found:
        copy_run(runs / name, results / "runs" / name, name in weights)


def copy_run(run: Path, out: Path, weights: bool) -> None:
    """Copy what a run's folder has to say; with a network, SHA256SUMS of all. What belongs to another record goes.

    Predictions are copied where they are classes, of a finished run, and small: claims are then compared by example.
    """
    kept, record_file = out / "weights.pt", out / "run.json"
    weights = weights or kept.exists()
    if record_file.exists() and record_file.read_bytes() != (run / "run.json").read_bytes():
        for name in (kept.name, predictions.NAME, checksums.NAME):
            (out / name).unlink(missing_ok=True)
    wanted = {*OF_A_RUN} - ({kept.name} if not weights else set())
    if not keeps_predictions(run):
        wanted.discard(predictions.NAME)
    for name in OF_A_RUN:
        if name in wanted and (run / name).is_file():
            files.replace_whole(out / name, lambda part, name=name: part.write_bytes((run / name).read_bytes()))
    if kept.exists():
        there = [name for name in OF_A_RUN if (out / name).exists()]
        files.write_whole(out / checksums.NAME, checksums.text(out, there))


def keeps_predictions(run: Path) -> bool:
    """Whether a run's predictions are published with its record."""
    path = run / predictions.NAME
    return path.is_file() and path.stat().st_size <= LARGEST and predictions.are_of_classes(run)


def render_profile(profile: str, results: Path = RESULTS) -> list[judged.Report]:
    """Render results/<profile>/ from results/runs alone: every table that has a record there, or had one."""
    reports = reports_of(profile, results)
    for report in reports:
        render.write(report, results / profile, results / "runs")
    if any(report.table.pairs for report in reports):
        from indrnn.studies.ablations import report as ablations  # matplotlib takes a second to import

        ablations.write(results / "runs", results, reports)
    return reports


def reports_of(profile: str, results: Path, runs: Path | None = None) -> list[judged.Report]:
    """The tables of a profile that are published, or are to be, judged anew from results/runs, or from ``runs``.

    A record that another table needs, too, does not start a table: depth and Table 1 share runs and are published
    without each other.
    """
    reports = [judged.report(name, profile, runs or results / "runs") for name in schema.table_names()]
    users = Counter(entry["signature"] for report in reports for entry in report.made)

    def is_there(report: judged.Report) -> bool:
        own = any(users[entry["signature"]] == 1 for entry in report.made)
        return own or (results / profile / f"{report.table.name}.md").exists()

    return list(filter(is_there, reports))


def render_all(results: Path = RESULTS) -> tuple[list[judged.Report], list[str]]:
    """Render all published profiles and milestones; returns the tables, and the names of the milestones."""
    profiles = [profile for profile in schema.PROFILES if (results / profile).is_dir()]
    reports = [report for profile in profiles for report in render_profile(profile, results)]
    findings.write(results, reports)
    trials.write(results)
    queue_page.write(results)
    over_examples.render(results)
    courses = milestones.render_all(results)
    report_page.write(results / report_page.NAME, report_page.of_published(results, reports))
    return reports, courses
