"""How validation and the states of a cell's runs went over training, from their curve.csv (``task.watch_states``)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indrnn import record
from indrnn.tables.judged import Result

OFF = ("off_share", "off_steps", "off_neurons")  # of indrnn.tasks.off_states


@dataclass(frozen=True)
class Course:
    """Means over the seeds by update; ``seeds`` one line per seed. Keys: the validation metric and OFF.

    What is measured of states is the mean over layers.
    """

    updates: list[int]
    seeds: dict[str, np.ndarray]

    def mean(self, name: str) -> np.ndarray:
        return self.seeds[name].mean(0)

    def at(self, name: str, place: int) -> np.ndarray:
        """All seeds at one validation, such as 0 for the first and -1 for the last."""
        return self.seeds[name][:, place]


def course(result: Result, metric: str, folder: Path) -> Course | None:
    """None where a run is missing, or has not all validations of the others."""
    curves = [record.curve(folder / run.signature) for run in result.runs]
    updates = [[row["update"] for row in curve] for curve in curves]
    if not curves or not updates[0] or any(found != updates[0] for found in updates):
        return None
    seeds = {metric: np.array([[row[f"val/{metric}"] for row in curve] for curve in curves])}
    for name in OFF:
        seeds[name] = np.array([[over_layers(row, name) for row in curve] for curve in curves])
    return Course(updates[0], seeds)


def over_layers(row: dict[str, float], name: str) -> float:
    """NaN where the run did not watch its states."""
    found = [value for key, value in row.items() if key.endswith(f"/{name}")]
    return float(np.mean(found)) if found else float("nan")
