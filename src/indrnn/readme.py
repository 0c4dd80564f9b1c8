"""What the README shows of results/: a page, or a section of it, between ``<!-- results/NAME.md#anchor -->`` and
``<!-- end -->``."""

import posixpath
import re
from pathlib import Path

from indrnn import files, markdown_text
from indrnn.errors import UserError


def seen_from_root(page: str, link: str) -> str:
    """A link that stands in a page, from the root of the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def with_tables(text: str, root: Path = files.ROOT) -> str:
    """A text with every marked place filled anew from the page that it names; headings go two levels down.

    With ``#anchor`` behind the page it is the text below that heading, as it stands. A page that is not there yet
    leaves its place empty.

    Raises:
        UserError: the page has no such heading.
    """

    def filled(place: re.Match) -> str:
        name, anchor = place[1], place[2]
        table = ""
        if (path := root / name).exists():
            table = path.read_text(encoding="utf-8")
            table = section(table, anchor, name) if anchor else re.sub(r"^#", "###", table, flags=re.M)
            table = re.sub(r"\]\((?!https?:|#)([^)]+)\)", lambda link: f"]({seen_from_root(name, link[1])})", table)
        return f"<!-- {name}{anchor or ''} -->\n{table}<!-- end -->"

    return re.sub(r"<!-- (results/[^\s#]+\.md)(#\S+)? -->\n.*?<!-- end -->", filled, text, flags=re.S)


def section(page: str, anchor: str, name: str) -> str:
    """What stands below a heading, up to the next one that is not below it."""
    parts = re.split(r"^(#+) (.*)\n", page, flags=re.M)[1:]
    for at in range(0, len(parts), 3):
        if markdown_text.anchor(parts[at + 1]) == anchor:
            found = parts[at + 2]
            for level, title, body in zip(parts[at + 3 :: 3], parts[at + 4 :: 3], parts[at + 5 :: 3], strict=True):
                if len(level) <= len(parts[at]):
                    break
                found += f"{level} {title}\n{body}"
            return found.strip("\n") + "\n"
    raise UserError(f"{name} has no heading for {anchor}.")
