"""What sections of the report on a GPU share: rows by their keys, and numbers that may be missing, as text."""

from typing import Any

Rows = list[dict[str, Any]]
NONE = "-"


def told(reached: bool | None) -> str:
    return {True: "yes", False: "no", None: "not measured"}[reached]


def grouped(rows: Rows, *keys: str) -> dict[tuple, Rows]:
    found: dict[tuple, Rows] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def of(rows: Rows, key: str) -> list[Any]:
    """The values of a key, each once."""
    return list(dict.fromkeys(row[key] for row in rows))


def brief(row: dict[str, Any]) -> str:
    """Why a row was not measured, short enough for a table; the whole reason stands at the end of the report."""
    return row.get("skipped", "").partition(":")[0]


def number(value: float | None, form: str) -> str:
    return NONE if value is None else f"{value:{form}}"
