"""From this machine's runs/ to the repository's results/: records, curves, and the tables made of them alone.

The README shows published tables between ``<!-- results/quick/NAME.md -->`` and ``<!-- end -->``.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from indrnn import checksums, files, record
from indrnn.errors import UserError
from indrnn.tables import judged, milestones, plan, render, schema

RESULTS = files.ROOT / "results"


def main(profile: str | None, of_milestones: bool, runs: Path, results: Path) -> str:
    """Publish a profile, or conf/milestones, or neither; render results/ and, where it is RESULTS, the README's tables.

    Returns:
        what is published there, and which runs it misses.

    Raises:
        UserError: as ``publish`` and ``publish_milestones``.
    """
    source, folder = runs.resolve(), results.resolve()
    reports, courses = [], []
    refuse_damaged(folder)
    if of_milestones:
        courses = publish_milestones(source, folder)
    elif profile is not None:
        reports = publish(profile, source, folder)
    else:
        reports, courses = render_all(folder), milestones.render_all(folder)
    if folder == RESULTS:
        readme = files.ROOT / "README.md"
        files.write_whole(readme, with_tables(readme.read_text(encoding="utf-8")))
    lines = []
    for report in reports:
        lines.append(f"{report.profile}/{report.table.name}: {len(report.made)} of {report.planned} runs")
        lines += [f"  missing: {name}" for name in report.missing]
    lines += [f"milestones/{name}" for name in courses]
    return "\n".join(lines or [f"Nothing is published in {results}."])


def refuse_damaged(results: Path) -> None:
    """Raise UserError, which names each, unless every published record is as it was written."""
    sums = checksums.read(results / checksums.NAME) if (results / checksums.NAME).exists() else {}
    # Tables are rendered anew and may change, but none is lost; nor has a damaged list the name of one that never was.
    kept = {name: sums[name] for name in sums if name.startswith("runs/") or not (results / name).exists()}
    if changed := checksums.differing(results, kept):
        texts = ", ".join(str(results / name) for name in changed)
        raise UserError(
            f"{texts}: not what {results / checksums.NAME} says. Nothing was written: restore what is named."
        )
    record.refuse_damaged(folder for folder in (results / "runs").glob("*") if not folder.name.startswith("."))


def publish(profile: str, runs: Path, results: Path = RESULTS) -> list[judged.Report]:
    """Copy the final records and curves of a profile's plan, then render its tables from the copies.

    Where a table asks for a run's network (``schema.Weights``), weights.pt is copied, too, with checksums beside it.

    Args:
        runs: the folder to publish from.
        results: the folder to publish to; records that it has already stay unless this machine has the same run.

    Returns:
        the rendered tables; what they miss stands in their cells.

    Raises:
        UserError: nothing is done, or a record was made by code that no commit holds; nothing is written then.
    """
    found = judged.records(plan.runs(schema.table_names(), profile), runs)
    final = {name: entry for name, entry in found.items() if entry and entry["status"] in record.FINAL}
    if not final:
        raise UserError(f"No run of profile {profile} is done in {runs}: nothing to publish.")
    copy(final, runs, results, plan.with_weights(profile))
    return render_profile(profile, results)


def publish_milestones(runs: Path, results: Path = RESULTS) -> list[str]:
    """Copy the records and curves of conf/milestones, finished or not, then render results/milestones.

    Returns:
        the names of what was rendered.

    Raises:
        UserError: there is none, or a record was made by code that no commit holds; nothing is written then.
    """
    wanted = [signature for name in milestones.names() for signature in milestones.signatures(name)]
    found = {name: entry for name in wanted if (entry := record.read(runs / name))}
    if not found:
        raise UserError(f"No run of conf/milestones has a record in {runs}: nothing to publish.")
    copy(found, runs, results)
    return milestones.render_all(results)


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
    """Copy what a run's folder has to say; with a network, SHA256SUMS of all. A network of another record goes."""
    kept, record_file = out / "weights.pt", out / "run.json"
    weights = weights or kept.exists()
    if kept.exists() and record_file.read_bytes() != (run / "run.json").read_bytes():
        kept.unlink()
        (out / "SHA256SUMS").unlink()
    for name in ("curve.csv", *["weights.pt"] * weights, "run.json"):  # the record last: whoever finds it finds all
        if (run / name).is_file():
            files.replace_whole(out / name, lambda part, name=name: part.write_bytes((run / name).read_bytes()))
    if kept.exists():
        published = (out / name for name in ("curve.csv", "run.json", "weights.pt"))
        sums = (f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in published)
        files.write_whole(out / "SHA256SUMS", "".join(sums))


def render_profile(profile: str, results: Path = RESULTS) -> list[judged.Report]:
    """Render results/<profile>/ from results/runs alone: every table that has a record there, or had one.

    A record that another table needs, too, does not start a table: depth and Table 1 share runs and are published
    without each other.
    """
    reports = [judged.report(name, profile, results / "runs") for name in schema.table_names()]
    users = Counter(entry["signature"] for report in reports for entry in report.made)
    done = []
    for report in reports:
        own = any(users[entry["signature"]] == 1 for entry in report.made)
        if own or (results / profile / f"{report.table.name}.md").exists():
            render.write(report, results / profile, results / "runs")
            done.append(report)
    if any(report.table.pairs for report in done):
        from indrnn.studies.ablations import report as ablations  # matplotlib takes a second to import

        ablations.write(results / "runs", results, reports)
    return done


def render_all(results: Path = RESULTS) -> list[judged.Report]:
    """Render all published profiles."""
    return [
        report
        for profile in schema.PROFILES
        if (results / profile).is_dir()
        for report in render_profile(profile, results)
    ]


def with_tables(text: str, root: Path = files.ROOT) -> str:
    """A text with every marked place filled anew from the file that it names; headings go two levels down.

    A file that is not there yet leaves its place empty.
    """

    def filled(place: re.Match) -> str:
        path = root / place[1]
        if not path.exists():
            return f"<!-- {place[1]} -->\n<!-- end -->"
        table = re.sub(r"^#", "###", path.read_text(encoding="utf-8"), flags=re.M)
        table = table.replace("](../runs/", "](results/runs/")
        table = re.sub(r"\]\(([\w]+\.png)\)", rf"]({Path(place[1]).parent.as_posix()}/\1)", table)
        return f"<!-- {place[1]} -->\n{table}<!-- end -->"

    return re.sub(r"<!-- (results/\S+\.md) -->\n.*?<!-- end -->", filled, text, flags=re.S)
