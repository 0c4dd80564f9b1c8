"""Runs that differ in the seed alone as groups, and what was typed for a group and not for the others."""

import functools
import itertools
import json
import string
from collections.abc import Sequence
from dataclasses import dataclass

from indrnn import configs
from indrnn.runs import Run
from indrnn.tables import judged, verdict
from indrnn.tables.verdict import Sample
from indrnn.why import flat


@dataclass(frozen=True)
class Group:
    """Runs that differ in the seed alone, called by a letter; ``metric``: of the task, such as ``mse``."""

    letter: str
    runs: tuple[Run, ...]

    @property
    def metric(self) -> str:
        return next((run.metric for run in self.runs if run.metric), "")

    @property
    def words(self) -> list[str]:
        return [word for word in self.runs[0].words if not word.startswith("seed=")]

    def values(self, split: str) -> dict[int, float]:
        """What was measured on ``val`` or ``test`` by seed, of the runs that are finished."""
        name = f"{split}/{self.metric}"
        done = [run for run in self.runs if run.status == "finished" and name in run.metrics]
        return {run.seed: run.metrics[name] for run in done}

    def sample(self, split: str) -> Sample:
        """As of a cell: a diverged seed, or runs of different data, leave no mean."""
        entries = [run.entry for run in self.runs]
        if reason := judged.other_data(entries):
            return Sample((), len(entries), reason)
        return verdict.sample(entries, f"{split}/{self.metric}")

    @functools.cached_property
    def config(self) -> dict[str, str]:
        """By dotted keys, without the seed, wherever it stands."""
        return unseeded(self.runs[0])


def unseeded(run: Run) -> dict[str, str]:
    values = flat(configs.moved(run.config))
    seed = json.dumps(float(run.seed))
    return {key: value for key, value in values if (key.rpartition(".")[2], value) != ("seed", seed)}


def by_metric(runs: Sequence[Run]) -> list[list[Group]]:
    """The groups of runs that have one metric, in the order in which they were given; each run counts once."""
    found: dict[str, list[Run]] = {}
    for run in {run.signature: run for run in runs}.values():
        found.setdefault(json.dumps(unseeded(run), sort_keys=True), []).append(run)
    one = string.ascii_uppercase
    letters = ("".join(some) for length in itertools.count(1) for some in itertools.product(one, repeat=length))
    sections: dict[str, list[Group]] = {}
    for some, letter in zip(found.values(), letters, strict=False):
        group = Group(letter, tuple(sorted(some, key=lambda run: run.seed)))
        sections.setdefault(group.metric, []).append(group)
    return list(sections.values())


def common(groups: Sequence[Group]) -> list[str]:
    """What was typed for all of several groups; nothing where there is one."""
    first, *others = groups
    return [word for word in first.words if all(word in group.words for group in others)] if others else []


def words(group: Group, without: Sequence[str] = ()) -> str:
    """What was typed for a group, without some words; a dash where nothing is left."""
    return " ".join(word for word in group.words if word not in without) or "-"
