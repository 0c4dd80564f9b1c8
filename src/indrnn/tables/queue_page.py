"""results/queue.md: what the profile fast still lacks, in the order in which it is made, and its cost on a GPU."""

from pathlib import Path

from indrnn import files, markdown_text, record
from indrnn.tables import plan, queue, schema

NAME = "queue"
PROFILE = "fast"
ON_REQUEST = "table4_ntu"  # whose data have to be asked for: nobody can make it who has not got them


def page(results: Path) -> str:
    """The page, from the plan and the published records of ``results``; empty where they do not know the profile."""
    runs = results / "runs"
    if not (results / PROFILE).is_dir():
        return ""
    tables = [name for name in schema.default_tables() if name != ON_REQUEST]
    planned = plan.runs(tables, PROFILE, folder=runs)
    places = queue.places(planned, runs, "gpu")
    seen = record.devices(entry for path in sorted(runs.glob("*/run.json")) if (entry := record.read(path.parent)))
    cards = ", ".join(device for device in seen if not device.endswith(" cores)")) or "none yet"
    text = [f"# What the profile {PROFILE} still lacks, and what it costs", ""]
    text += markdown_text.bullets(
        (
            f"{len(planned)} runs are planned by now, {len(planned) - len(places)} of them done. Where validation has "
            "not chosen among candidates yet, the first seed of each is counted. Without "
            f"{ON_REQUEST}, whose data have to be asked for.",
            f"{queue.ORDER} That is also how `make reproduce-table PROFILE={PROFILE} MINUTES=8` goes, and "
            f"`make plan PROFILE={PROFILE}` says it of a machine's own runs, with commands.",
            f"Minutes: one run at a time, as fast as the published runs on a GPU were ({cards}). Of other sizes by the "
            "work that they say: time steps, columns, layers, width squared. A schedule may end a run early.",
        )
    )
    text += ["", queue.costs(places), "", "## The papers' own rows", ""]
    rows = [
        [
            place.run.table,
            place.run.name,
            f"{place.made:,} of {queue.budget(place.run.config):,}",
            queue.minutes(place.seconds),
        ]
        for place in places
        if place.own
    ]
    text += markdown_text.aligned(["table", "run", "updates made", "minutes left"], rows)
    return "\n".join(text) + "\n"


def write(results: Path) -> None:
    if text := page(results):
        files.write_whole(results / f"{NAME}.md", text)
