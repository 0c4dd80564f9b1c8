"""Made-up records and curves, for tests of plans, tables and figures."""

from pathlib import Path

from indrnn import record
from indrnn.tables import plan, schema


def record_of(run: plan.Run, value: float = 0.5, status: str = "finished", validated: float | None = None) -> dict:
    """A complete record of a planned run that measured ``value`` on the test set."""
    updates = run.config["trainer"]["max_updates"]
    measured = {run.metric: value, run.metric.replace("test", "val"): value if validated is None else validated}
    return {
        "signature": run.signature,
        "overrides": list(run.overrides),
        "config": run.config,
        "seed": run.seed,
        "metrics": measured if status == "finished" else {},
        "status": status,
        "parameters": 17281,
        "updates": updates,
        "examples": updates * run.config["data"]["batch_size"],
        "wall_seconds": 36.0,
        "commit": "0" * 40,
        "source": "a1b2c3d4e5f6",
        "dirty": False,
        "versions": {"python": "3.11", "torch": "2.13.0"},
        "device": "a CPU",
        "data": {"name": "made up", "stand_in": "digits of nobody stand in for MNIST"},
        "started": "2026-01-01T00:00:00+00:00",
    }


def make(folder: Path, table: str, profile: str, value=lambda run: 0.5 + run.seed / 100, **choice) -> list[plan.Run]:
    """Write a finished record and a curve for every planned run; ``value(run)`` None leaves one out."""
    runs = [run for cell in plan.plan(schema.load_table(table), profile, **choice) for run in cell.runs]
    for run in runs:
        if (measured := value(run)) is not None:
            name = run.metric.replace("test", "val")
            curve = [{"update": 50 * i, "train/loss": 1 / (i + 1), name: measured / (i + 1)} for i in range(1, 9)]
            record.write(folder / run.signature, record_of(run, measured), curve)
    return runs
