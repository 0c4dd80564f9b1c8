"""The README is a front door: short, its one generated page is the published one, and what it shows is what comes."""

import re
import shutil

import house
import pages
import pytest
from test_commands import TINY, TRAIN, call

from indrnn import files, record, reproduce
from indrnn.readme import with_tables
from indrnn.tables import plan

PATH = files.ROOT / "README.md"
README = PATH.read_text(encoding="utf-8")
RUN, TABLES, TREE = (fence.text for fence in pages.fences("text") if fence.page == "README.md")
HEADINGS = [
    "Two commands",
    "What we found",
    "The layer in eight lines",
    "One run, one sweep, one dashboard",
    "Where things are",
    "Limits",
    "Pages",
]


def test_it_is_short_and_in_order():
    assert len(README.splitlines()) <= 220
    outside = re.sub(r"^```.*?^```", "", README, flags=re.S | re.M)
    assert re.findall(r"^## (.*)$", outside, re.M) == HEADINGS
    assert README.index("#in-short") < README.index("## Two commands")


def test_one_page_is_generated_and_it_is_the_published_one():
    assert re.findall(r"<!-- (results/\S+) -->", README) == [
        f"results/findings.md#{x}" for x in ("in-short", "verdicts")
    ]
    assert with_tables(README) == README
    found = (files.ROOT / "results/findings.md").read_text(encoding="utf-8")
    rows = [re.sub(r"\]\(", "](results/", line) for line in found.splitlines() if line.startswith("| ")]
    assert rows and set(rows) <= set(README.splitlines())


def test_commands_stand_in_the_order_one_run_tables_tests():
    first = pages.commands("README.md")[:4]
    assert (
        first[0] == "make setup"
        and " -m indrnn.train " in first[1]
        and first[2:] == ["make reproduce-table", "make test"]
    )


@pytest.mark.parametrize(
    "path", ["src/indrnn/recurrence/reference.py", "conf/table/table1_mnist.yaml", "src/indrnn/tables/verdict.py"]
)
def test_eq_2_table_1_and_what_judges_a_claim_are_two_hops_away(path):
    first = {pages.target(PATH, link)[0] for link in pages.links(PATH)}
    second = {pages.target(page, link)[0] for page in first if page in pages.PAGES for link in pages.links(page)}
    assert files.ROOT / path in first | second


def test_the_tree_has_every_folder_and_every_wing_with_a_phrase():
    places = dict(re.findall(r"^ *(\S+/) +(\S.*)$", TREE, re.M))
    top = {f"{path.name}/" for path in files.ROOT.iterdir() if path.is_dir() and path.name[0] not in "._"}
    wings = {f"{name}/" for floor in house.FLOORS for name in floor} - {"ground/", "entrances/"}
    wanted = (top - {"src/", "data/", "wandb/", "outputs/", "multirun/"}) | {"src/indrnn/", "runs/"} | wings
    assert set(places) == wanted


# What a command prints


def form(text: str) -> str:
    """A text without what another machine has otherwise: numbers and signatures."""
    return re.sub(r"\d[\d.,]*(e[+-]?\d+)?", "0", re.sub(r"\b[0-9a-f]{12}\b", "signature", text))


def test_one_run_ends_as_shown(tmp_path):
    """The line is that of the published run; the same command with tiny numbers ends in a line of its form."""
    words = pages.commands("README.md")[1].partition("indrnn.train ")[2].split()
    (planned,) = [run for run in plan.runs(["figure2_adding"], "quick", ["T100"], [0]) if run.signature in RUN]
    published = record.summary(record.read(files.ROOT / "results/runs" / planned.signature))
    line = RUN.splitlines()[0]
    assert line.rpartition(", ")[0] == published.rpartition(", ")[0]  # the seconds are another machine's
    done = call(*TRAIN, *words, *TINY, f"machine.runs={tmp_path}")
    assert form(done.stdout.replace(f"{tmp_path}/", "runs/")).endswith(form(RUN))


def test_the_tables_end_as_shown(tmp_path, capsys):
    """What the command prints where all runs of the last table are done, from the published ones."""
    (name,) = re.findall(r"TABLE=(\w+)", TABLES)
    assert name == sorted(reproduce.schema.default_tables())[-1]
    for run in plan.runs([name], "quick"):
        shutil.copytree(files.ROOT / "results/runs" / run.signature, tmp_path / "runs" / run.signature)
    choice = reproduce.Choice([name], "quick", None, None, "joblib", 1, tmp_path / "runs", False, False, [])
    assert reproduce.main(choice) == 0
    printed = form(capsys.readouterr().out.replace(str(tmp_path), "/home/you/indrnn"))
    parts = [form(part) for part in TABLES.split("...\n")]
    assert all(part in printed for part in parts) and printed.endswith(parts[-1])
