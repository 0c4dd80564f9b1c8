"""results/findings.md: a line per claim of the papers and per question of our own, counted from verdicts.

What stands above these lines, and first of all in the README, is made by ``indrnn.in_short``.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from indrnn import configs, files, in_short, markdown_text
from indrnn.adding_numbers import SOLVED
from indrnn.errors import UserError, in_one_line
from indrnn.studies.ablations import pairs
from indrnn.tables import judged, schema
from indrnn.tables.judged import Report
from indrnn.tables.schema import Table

PROFILES = ("paper", "fast", "quick")  # of two that decide as much, the first answers
OPEN = "open"
CLAIMS = "Claims of the papers"
NAME, PAIRS = "findings", "ablations.md"
HEADS = ["", "answer", "n", "profile", "where"]
HOW = (
    "Every answer is counted from verdicts on the page that it links to: a claim is judged by its 95% Welch "
    "interval or by every seed, a cell beside the paper's number; open is what is undecided or has not run. "
    "n: seeds of a side.",
    "Of the profiles paper, fast and quick that one answers which decides most. quick, on stand-in data, says "
    "which of two models is ahead within a small budget, and nothing about the paper's decimals.",
)
ANSWERS = ("holds", "does not hold", "reproduced", "better", "worse")  # of verdicts, what is none of these is open


@dataclass
class Line:
    """A line of conf/findings.yaml: what is asked, and where the verdicts stand.

    ``claims``, ``cells``: names and rows of ``table``, in its ``columns`` or all; ``pairs``: the text of a pair of
    rows; ``study``: one of STUDIES. ``short``: what IndRNN does if it holds, for the sentence above all lines.
    """

    text: str
    source: str = ""
    table: str = ""
    claims: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    pairs: str = ""
    study: str = ""
    short: str = ""


@dataclass
class Lines:
    """conf/findings.yaml."""

    papers: list[Line]
    ours: list[Line]
    numbers: list[in_short.Number] = field(default_factory=list)


@dataclass(frozen=True)
class Answer:
    """Verdicts with the seeds behind each, at one profile, and the page that they stand on."""

    verdicts: list[str]
    seeds: list[int]
    profile: str
    page: str

    @property
    def decided(self) -> float:
        """The share of the verdicts that answer."""
        return sum(verdict in ANSWERS for verdict in self.verdicts) / len(self.verdicts)

    @property
    def words(self) -> str:
        """Such as ``holds``, or ``holds 5 of 6, open 1``."""
        counts = Counter(verdict if verdict in ANSWERS else OPEN for verdict in self.verdicts)
        if len(counts) < 2:
            return next(iter(counts), OPEN)
        first, *rest = sorted(counts, key=lambda word: (word == OPEN, -counts[word]))
        return ", ".join([f"{first} {counts[first]} of {counts.total()}", *(f"{word} {counts[word]}" for word in rest)])

    @property
    def n(self) -> str:
        """Seeds of a side, such as ``3`` or ``3 to 5``."""
        return " to ".join(map(str, sorted({min(self.seeds), max(self.seeds)}))) if self.seeds else "-"


def load() -> Lines:
    """Read conf/findings.yaml; UserError where it is not what Lines says."""
    path = configs.CONF / "findings.yaml"
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Lines), OmegaConf.load(path)))
    except (OmegaConfBaseException, ValueError, YAMLError) as error:
        raise UserError(f"{path}: {in_one_line(error)}.") from None


def write(results: Path, known: Iterable[Report] = ()) -> None:
    """Write results/findings.md from the published records, and from what studies have published beside them.

    Where nothing that a line asks for is published there is no such page. ``known``: reports on these records.
    """
    if text := page(results, known):
        files.write_whole(results / f"{NAME}.md", text)


@dataclass(frozen=True)
class Found:
    """What stands on the page: the sentence in short, cells of ``in_short.HEADS``, cells of HEADS by their title."""

    sentence: str
    numbers: list[list[str]]
    lines: dict[str, list[list[str]]]


def page(results: Path, known: Iterable[Report] = ()) -> str:
    """What was found in short, then the lines as two tables; nothing is typed but the questions. Empty without one."""
    there = found(results, known)
    if there is None:
        return ""
    text = ["# What we found", "", "## In short", ""]
    text += markdown_text.wrapped(there.sentence)
    numbers = markdown_text.aligned(in_short.HEADS, there.numbers) if there.numbers else []
    text += ["", *numbers, "", "## Verdicts", ""]
    text += markdown_text.bullets(HOW)
    for title, cells in there.lines.items():
        text += ["", f"### {title}", "", *markdown_text.aligned(HEADS, cells)]
    return "\n".join(text) + "\n"


def found(results: Path, known: Iterable[Report] = ()) -> Found | None:
    """What was found, from the published records; None where nothing that a line asks for is published."""
    reports = {(report.table.name, report.profile): report for report in known}

    def report(name: str, profile: str) -> Report:
        key = name, profile
        if key not in reports:
            reports[key] = judged.report(name, profile, results / "runs")
        return reports[key]

    lines = load()
    answered = {
        title: [
            (line, max(given, key=lambda answer: answer.decided))
            for line in asked
            if (given := answers(line, results, report))
        ]
        for title, asked in ((CLAIMS, lines.papers), ("Questions of our own", lines.ours))
    }
    if not any(answered.values()):
        return None
    sentence = in_short.sentence((answer.words, line.short) for line, answer in answered[CLAIMS])
    cells = {title: [row(line, answer) for line, answer in rows] for title, rows in answered.items()}
    return Found(sentence, in_short.numbers(lines.numbers, results, report), cells)


def row(line: Line, answer: Answer) -> list[str]:
    name = Path(answer.page).stem
    source = f" ({line.source})" if line.source else ""
    return [f"{line.text}{source}", answer.words, answer.n, answer.profile, f"[{name}]({answer.page})"]


def answers(line: Line, results: Path, report: Callable[[str, str], Report]) -> list[Answer]:
    """What a line came to at every profile that has a page of it, the paper's first; nothing where none is published.

    Raises:
        UserError: it names what is not there.
    """
    if line.study:
        return STUDIES[line.study](results)
    if line.pairs:
        return [of_pairs(line, report)] if (results / PAIRS).exists() else []
    pages = {profile: f"{profile}/{line.table}.md" for profile in PROFILES}
    there = {profile: page for profile, page in pages.items() if (results / page).exists()}
    if there:
        refuse_strangers(line, schema.load_table(line.table))
    found = []
    for profile, page in there.items():
        if verdicts := list(of_table(line, report(line.table, profile))):
            found.append(Answer([x for x, _ in verdicts], [n for _, n in verdicts], profile, page))
    return found


def refuse_strangers(line: Line, table: Table) -> None:
    """Raise UserError where a line names what its table does not have."""
    known = {claim.name for claim in table.claims if claim.name} | set(table.rows) | set(table.columns)
    for name in [*line.claims, *line.cells, *line.columns]:
        if name not in known:
            raise UserError(f"conf/findings.yaml: {line.text!r} names {name!r}, which {table.name} does not have.")


def of_table(line: Line, report: Report) -> Iterator[tuple[str, int]]:
    """The verdicts of the claims and cells that a line names, with their seeds."""
    for judgement in report.judgements:
        if judgement.claim.name in line.claims and (not line.columns or judgement.column in line.columns):
            sample = report.results[judgement.column][judgement.claim.row].ours
            yield judgement.finding.verdict, len(sample.values) or sample.planned
    for column, cells in report.columns.items():
        for key in line.cells:
            if not line.columns or column in line.columns:
                yield cells[key].verdict, len(cells[key].ours.values) or cells[key].ours.planned


def of_pairs(line: Line, report: Callable[[str, str], Report]) -> Answer:
    """A pair of rows in all tables that compare it seed by seed: better means that the change is."""
    tables = [name for name in schema.table_names() if schema.load_table(name).pairs]
    found = [x for name in tables for x in pairs.compare(report(name, "quick")) if x.pair.text == line.pairs]
    if not found:
        raise UserError(f"conf/findings.yaml: no table has the pair {line.pairs!r}.")
    return Answer([x.verdict for x in found], [x.n for x in found], "quick", PAIRS)


def one_neuron(results: Path) -> list[Answer]:
    """Whether the best neuron alone solves the adding problem, at the experiment's own budget, every seed."""
    path = results / "figures/quick/neurons.json"
    if not path.exists():
        return []
    cuts = json.loads(path.read_text(encoding="utf-8"))["one_neuron"]
    first = min(cut["updates"] for cut in cuts)
    best = [cut["neurons"][0] for cut in cuts if cut["updates"] == first]
    solved = sum(neuron["after"] < SOLVED for neuron in best)
    verdict = {0: "does not hold", len(best): "holds"}.get(solved, "undecided")
    return [Answer([verdict], [len(best)], "quick", "figures/quick/neurons.md")]


def speed(results: Path) -> list[Answer]:
    """Whether two layers of IndRNN take less time than one of nn.LSTM, at every length of the benchmark."""
    path = results / "benchmarks/cpu.json"
    if not path.exists():
        return []
    ms = {(row["what"], row["T"]): row["ms"] for row in json.loads(path.read_text(encoding="utf-8"))["networks"]}
    lengths = sorted({T for _, T in ms})
    verdicts = ["holds" if ms["IndRNN, 2 layers", T] < ms["nn.LSTM", T] else "does not hold" for T in lengths]
    return [Answer(verdicts, [], "one CPU core", "benchmarks/cpu.md")]


STUDIES: dict[str, Callable[[Path], list[Answer]]] = {"one neuron": one_neuron, "speed": speed}
