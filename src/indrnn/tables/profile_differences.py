"""What a profile changes against ``paper``, read from the composed configs, so that no table can forget to say it."""

from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf

from indrnn.configs import build
from indrnn.tables.plan import Cell, cell_overrides
from indrnn.tables.schema import Table


def cuts(table: Table, profile: str, cells: list[Cell], extra: Sequence[str] = ()) -> dict[str, list[str]]:
    """Where a profile's configs differ from those of ``paper``: per column label, ``key here (there)``.

    What holds for some rows only carries their labels. ``extra`` overrides count as the profile's own.
    """
    found: dict[str, list[str]] = {}
    if profile == "paper":
        return found
    for key, column in table.columns.items():
        there = [cell for cell in cells if cell.column == key and cell.runs]
        labels: dict[str, list[str]] = {}
        for cell in there:
            for text in differences(settings(table, profile, cell, extra), settings(table, "paper", cell)):
                labels.setdefault(text, []).append(table.rows[cell.row].label)
        common = [text for text, rows in labels.items() if len(rows) == len(there)]
        some = [f"{', '.join(rows)}: {text}" for text, rows in labels.items() if len(rows) < len(there)]
        if labels:
            found[column.label] = common + some
    return found


def settings(table: Table, profile: str, cell: Cell, extra: Sequence[str] = ()) -> dict[str, str]:
    """What a cell's config says at a profile; where candidates differ, all their values."""
    nodes = ("data", "recipe", "model", "task", "trainer")
    values: dict[str, list[str]] = {}
    for overrides in cell_overrides(table, profile, cell.row, cell.column):
        cfg = build([*overrides, *extra])
        # unresolved: a value that only follows another one is not a difference of its own
        for name, text in flat({key: OmegaConf.to_container(cfg[key]) for key in nodes}).items():
            values.setdefault(name, []).append(text)
    return {name: " or ".join(dict.fromkeys(texts)) for name, texts in values.items()}


def differences(ours: dict[str, str], papers: dict[str, str]) -> list[str]:
    """``key ours (paper's)`` for every difference; below a node of another class the keys are not compared."""
    names = [n for n in dict.fromkeys([*ours, *papers]) if ours.get(n, "none") != papers.get(n, "none")]
    return [
        f"{name} {ours.get(name, 'none')} ({papers.get(name, 'none')})"
        for name in names
        if name.rpartition(".")[0] not in names
    ]


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested config as dotted names and short texts; a ``_target_`` stands under its parent's name."""
    texts: dict[str, str] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            texts |= flat(value, f"{prefix}{key}.")
        elif key == "_target_":
            texts[prefix.rstrip(".")] = value.rpartition(".")[2]
        elif value is not None:
            texts[prefix + key] = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return texts
