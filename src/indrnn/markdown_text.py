"""Sentences and tables as Markdown that stands straight in a terminal, too."""

import re
import textwrap
from collections.abc import Iterable

WIDTH = 118


def wrapped(text: str, indent: str = "") -> list[str]:
    """Lines of a paragraph; ``indent`` stands in front of all but the first."""
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def bullets(sentences: Iterable[str]) -> list[str]:
    """Sentences as wrapped list items."""
    return [line for sentence in sentences for line in wrapped(f"- {sentence}", "  ")]


def aligned(heads: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table whose columns stand straight in a terminal too; the last one is not padded."""
    rows = [[text.replace("|", "\\|") for text in row] for row in rows]
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    widths[-1] = len(heads[-1])

    def line(texts: list[str]) -> str:
        return "| " + " | ".join(f"{text:{width}}" for text, width in zip(texts, widths, strict=True)) + " |"

    return [line(heads), line(["-" * width for width in widths]), *map(line, rows)]


def anchor(heading: str) -> str:
    """``#what-we-found``: what a link to a heading ends with, as code hosts make it of its text."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return "#" + re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
