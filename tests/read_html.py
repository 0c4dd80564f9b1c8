"""What a page of HTML says, read with the standard library: cells by article, links, identifiers, what it loads."""

from html.parser import HTMLParser


class Reader(HTMLParser):
    """What stands in a text.

    Attributes:
        cells: the texts of all cells of each article, by its id, without the links to single runs behind them.
        links: (article, words, href) in order.
        ids, loads: identifiers; addresses of scripts, styles, pictures.
    """

    def __init__(self, text: str):
        super().__init__()
        self.cells: dict[str, list[str]] = {}
        self.links: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.article, self.href, self.words = "", None, ""
        self.cell: str | None = None
        self.in_runs = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "article":
            self.article = given["id"]
        elif tag in ("td", "th"):
            self.cell = ""
        elif tag == "span" and given.get("class") == "runs":
            self.in_runs = True
        elif tag == "a":
            self.href, self.words = given["href"], ""
        elif tag in ("script", "link", "img") and (address := given.get("src") or given.get("href")):
            self.loads.append(address)

    def handle_endtag(self, tag):
        if tag == "article":
            self.article = ""
        elif tag in ("td", "th"):
            self.cells.setdefault(self.article, []).append(" ".join(self.cell.split()))
            self.cell, self.in_runs = None, False
        elif tag == "a":
            self.links.append((self.article, self.words, self.href))
            self.href = None

    def handle_data(self, data):
        if self.cell is not None and not self.in_runs:
            self.cell += data
        if self.href is not None:
            self.words += data
