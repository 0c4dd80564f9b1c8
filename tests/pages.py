"""The pages that are written by hand, and how tests read them; ``python tests/pages.py`` renumbers lines of code.

A page is README.md, docs/*.md or results/README.md. Its fences are ``sh`` (commands), ``python`` (snippets) and
``text`` (what a command prints).
"""

import re
from pathlib import Path
from typing import NamedTuple

from indrnn import markdown_text
from indrnn.files import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "results/README.md"]
LINK = re.compile(r"\]\(((?!https?:)[^)\s]+)\)")
EQUATION = re.compile(r"`([^`]+)` \| \[([\w.]+):(\d+)\]\(\.\./([^)#]+)#L(\d+)\)")


class Fence(NamedTuple):
    """A block of code of a page."""

    page: str
    kind: str
    text: str


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(text: str) -> str:
    """A page without its fences and code spans, in which nothing is a link or a heading."""
    return re.sub(r"`[^`\n]*`", "``", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))


def fences(kind: str) -> list[Fence]:
    return [
        Fence(name(page), kind, text)
        for page in PAGES
        for text in re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)
    ]


def commands(page: str = "") -> list[str]:
    """The commands of a page, of all if none is named, each once."""
    lines = [line.split("#")[0].strip() for fence in fences("sh") if page in ("", fence.page)
             for line in fence.text.splitlines()]  # fmt: skip
    return list(dict.fromkeys(filter(None, lines)))


def links(page: Path) -> list[str]:
    """The targets within the repository that a page links to, as they are written, each once."""
    return list(dict.fromkeys(LINK.findall(prose(page.read_text(encoding="utf-8")))))


def target(page: Path, link: str) -> tuple[Path, str]:
    """Where a link of a page leads: a file or folder, and an anchor or nothing."""
    path, _, anchor = link.partition("#")
    return (page.parent / path).resolve() if path else page, anchor


def anchors(page: Path) -> set[str]:
    """What can stand behind # in a link to a page: its headings, a second one of the same name with -1, and so on."""
    found: set[str] = set()
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    for heading in re.findall(r"^#+ (.*)$", text, re.M):
        anchor, number = markdown_text.anchor(heading)[1:], 0
        while (candidate := f"{anchor}-{number}" if number else anchor) in found:
            number += 1
        found.add(candidate)
    return found


def lines_of(path: str, code: str) -> list[int]:
    """The numbers of the lines of a file that hold some code."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    return [number for number, line in enumerate(lines, 1) if code in line]


def renumbered(text: str) -> str:
    """A page with the line of every code that it quotes; ValueError where that stands on no line, or on several."""

    def found(row: re.Match) -> str:
        code, label, _, path, _ = row.groups()
        numbers = lines_of(path, code)
        if len(numbers) != 1:
            raise ValueError(f"{path} has {len(numbers)} lines with `{code}`: quote one")
        return f"`{code}` | [{label}:{numbers[0]}](../{path}#L{numbers[0]})"

    return EQUATION.sub(found, text)


if __name__ == "__main__":
    page = ROOT / "docs/equations.md"
    page.write_text(renumbered(page.read_text(encoding="utf-8")), encoding="utf-8")
