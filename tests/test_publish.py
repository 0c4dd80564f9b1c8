"""What ``scripts/publish.py`` says of what it publishes; tests of tables and milestones look at the files."""

import shutil

import pytest
from made_up import make

from indrnn import checksums, files, publish, published, record
from indrnn.errors import UserError
from indrnn.readme import with_tables
from indrnn.tables import changes, milestones, schema


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """The other tables take their time."""
    monkeypatch.setattr(schema, "table_names", lambda: ["figure2_adding"])
    monkeypatch.setattr(milestones, "names", list)


def tree(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def base(run):
    return 0.5 + run.seed / 100


def moved(run):
    return base(run) + (run.row == "LSTM" and run.column == "T = 100")


@pytest.fixture
def twice(tmp_path):
    """Something published, and runs that change one of its cells."""
    make(tmp_path / "first", "figure2_adding", "quick", base)
    make(tmp_path / "second", "figure2_adding", "quick", moved)
    publish.main("quick", False, tmp_path / "first", tmp_path / "results")
    return tmp_path / "second", tmp_path / "results"


def test_a_profile_with_what_it_misses_and_all_of_it_again(tmp_path):
    make(tmp_path / "runs", "figure2_adding", "quick", lambda run: None if run.seed == 2 else 0.5)
    text = publish.main("quick", False, tmp_path / "runs", tmp_path / "results")
    head, *missing = text.splitlines()
    assert head == "quick/figure2_adding: 16 of 24 runs"
    assert missing[0] == "  missing: T = 100: RNN-tanh 1, LSTM 1, IRNN 1, IndRNN 1" and len(missing) == 2
    assert publish.main(None, False, tmp_path / "nowhere", tmp_path / "results") == text


def test_nothing_is_published_is_said_with_the_folder_as_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = (tmp_path / "runs").relative_to(tmp_path)
    assert publish.main(None, False, where, where) == "Nothing is published in runs."
    with pytest.raises(UserError, match=f"in {tmp_path / 'runs'}: nothing to publish"):
        publish.main(None, True, where, where)


@pytest.mark.parametrize("own", [True, False])
def test_the_readme_shows_the_repositorys_results_alone(tmp_path, monkeypatch, own):
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.setattr(publish, "RESULTS", tmp_path / "results" if own else tmp_path / "others")
    monkeypatch.setattr(publish, "with_tables", str.upper)
    (tmp_path / "README.md").write_text("read me")
    publish.main(None, False, tmp_path / "runs", tmp_path / "results")
    assert (tmp_path / "README.md").read_text() == ("READ ME" if own else "read me")


def test_checksums_cover_all_that_is_published(twice):
    _, results = twice
    sums = checksums.read(results / "SHA256SUMS")
    assert set(tree(results)) == {*sums, "SHA256SUMS"} and not checksums.differing(results, sums)
    assert len([name for name in sums if name.endswith("run.json")]) == 24
    before = tree(results)
    (results / "quick" / ".figure2_adding.md.1.part").write_text("half")  # of a killed process
    publish.main(None, False, results, results)
    assert tree(results) == before


def test_a_published_number_changes_with_a_reason_only(twice):
    runs, results = twice
    before = tree(results)
    with pytest.raises(UserError) as told:
        publish.main("quick", False, runs, results, " \n")
    assert "1 published cell would change:" in str(told.value) and 'REASON="..."' in str(told.value)
    line = "quick/figure2_adding, T = 100, LSTM: 0.510 ± 0.0100 (3) -> 1.51 ± 0.0100 (3)"
    assert f"\n  {line}\n" in str(told.value) and tree(results) == before
    assert publish.main("quick", False, runs, results, "a faster\nkernel").endswith(f"\nchanged: {line}")
    page = " ".join((results / "quick/figure2_adding.md").read_text().split())
    assert "1 cell: a faster kernel (old and new in [changes.csv](changes.csv))." in page
    (change,) = changes.read(results / "quick")
    assert change["old"] == "0.510 ± 0.0100 (3)" and change["reason"] == "a faster kernel"
    after = tree(results)
    publish.main(None, False, runs, results)
    assert tree(results) == after


def test_cells_that_gain_seeds_need_no_reason(tmp_path):
    make(tmp_path / "first", "figure2_adding", "quick", lambda run: None if run.seed == 2 else base(run))
    make(tmp_path / "second", "figure2_adding", "quick", base)
    publish.main("quick", False, tmp_path / "first", tmp_path / "results")
    text = publish.main("quick", False, tmp_path / "second", tmp_path / "results")
    filled = [line for line in text.splitlines() if line.startswith("filled: quick/figure2_adding, T = ")]
    assert len(filled) == 8 and filled[0].endswith(": 0.505 ± 0.00707 (2) -> 0.510 ± 0.0100 (3)")
    assert not (tmp_path / "results/quick/changes.csv").exists()


def kill(monkeypatch, results, after: int) -> None:
    """Let KeyboardInterrupt end this process's work when it is about to write the next file after some in results/."""
    replace, written = files.replace_whole, []

    def killed(path, write):
        if path.is_relative_to(results):
            if len(written) == after:
                raise KeyboardInterrupt
            written.append(path)
        replace(path, write)

    monkeypatch.setattr(files, "replace_whole", killed)


def test_publishing_that_is_killed_is_mended_by_the_same_command(twice, monkeypatch):
    runs, results = twice
    with monkeypatch.context() as patch:
        kill(patch, results, 5)
        with pytest.raises(KeyboardInterrupt):
            publish.main("quick", False, runs, results, "a reason")
    assert checksums.differing(results, checksums.read(results / "SHA256SUMS"))
    publish.main("quick", False, runs, results, "a reason")
    assert not checksums.differing(results, checksums.read(results / "SHA256SUMS"))
    assert [change["reason"] for change in changes.read(results / "quick")] == ["a reason"]
    assert "1.51 ± 0.0100 (3)" in (results / "quick/figure2_adding.md").read_text()


def test_wherever_taking_over_is_killed_the_checksums_tell_what_is_off(twice, tmp_path, monkeypatch):
    runs, results = twice
    shutil.copytree(results, tmp_path / "before")
    before = tree(results)
    publish.main("quick", False, runs, results, "a reason")
    last = tree(results)
    shutil.copytree(results, tmp_path / "stage", ignore=shutil.ignore_patterns("SHA256SUMS"))
    for after in range(30):
        shutil.rmtree(results)
        shutil.copytree(tmp_path / "before", results)
        with monkeypatch.context() as patch:
            kill(patch, results, after)
            try:
                published.take_over(tmp_path / "stage", results, published.names(results))
                break
            except KeyboardInterrupt:
                sums = checksums.read(results / "SHA256SUMS")
                off = {*checksums.differing(results, sums), *set(published.names(results)).difference(sums)}
                assert off == {name for name, content in tree(results).items() if before.get(name) != content}
                assert len(off) == after and ("quick/changes.csv" in off or not off)  # reasons come first
        published.take_over(tmp_path / "stage", results, published.names(results))
        assert tree(results) == last
    pages = 5 + 2  # of the table, and of the report
    assert tree(results) == last and after == 1 + 2 * 3 + pages + 1  # reasons, records and curves, pages, checksums


def test_a_failing_picture_leaves_all_as_it_was(twice, monkeypatch):
    runs, results = twice
    before = tree(results)

    def full(*_):
        raise OSError(28, "No space left on device", "figure2_adding.png")

    monkeypatch.setattr("indrnn.tables.figures.draw", full)
    with pytest.raises(OSError, match="No space left"):
        publish.main("quick", False, runs, results, "a reason")
    assert tree(results) == before


def test_a_damaged_published_run_stops_rendering_and_is_mended_by_publishing_it_again(twice, tmp_path):
    _, results = twice
    before = tree(results)
    path = sorted(results.glob("runs/*/curve.csv"))[3]
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    damaged = tree(results)
    name = path.relative_to(results).as_posix()
    with pytest.raises(UserError, match=f"{name}: not what .*SHA256SUMS says. Nothing was written"):
        publish.main(None, False, results, results)
    assert tree(results) == damaged
    publish.main("quick", False, tmp_path / "first", results)
    assert tree(results) == before and record.read(path.parent)


def test_what_other_commands_wrote_is_told_and_listed_and_a_damaged_list_is_not_believed(twice):
    _, results = twice
    (results / "README.md").write_text("prose")
    assert "written by another command" not in publish.main(None, False, results, results)  # was not there before
    (results / "README.md").write_text("more prose")
    assert publish.main(None, False, results, results).endswith("\nwritten by another command: README.md")
    sums = checksums.read(results / "SHA256SUMS")
    assert "README.md" in sums and not checksums.differing(results, sums)
    with open(results / "SHA256SUMS", "a", encoding="utf-8") as file:
        file.write("<<<<<<< of a merge\n")
    with pytest.raises(UserError, match="SHA256SUMS is damaged: line .* Bring it back with git, or remove it"):
        publish.main(None, False, results, results)
    (results / "SHA256SUMS").unlink()
    publish.main(None, False, results, results)
    assert checksums.read(results / "SHA256SUMS") == sums


def test_links_of_a_table_lead_on_from_the_readme(tmp_path):
    (tmp_path / "results/quick").mkdir(parents=True)
    (tmp_path / "results/quick/a.md").write_text("[x](../runs/1/run.json) ![y](a.png) [z](changes.csv)\n")
    text = with_tables("<!-- results/quick/a.md -->\n<!-- end -->", tmp_path)
    assert "(results/runs/1/run.json)" in text and "(results/quick/a.png)" in text
    assert "(results/quick/changes.csv)" in text


PAGE = "# A\n\n## One\n\nfirst\n\n## Two: of `b`\n\nsecond [x](../y.md)\n\n### Deeper\n\n| # |\n\n## Three\n\nthird\n"


@pytest.mark.parametrize(
    "anchor, shown",
    [
        ("#one", "first\n"),
        ("#two-of-b", "second [x](results/y.md)\n\n### Deeper\n\n| # |\n"),
        ("#three", "third\n"),
        ("", PAGE.replace("\n#", "\n###").replace("# A", "### A", 1).replace("../", "results/")),
    ],
)
def test_a_section_of_a_page_is_shown_as_it_stands(tmp_path, anchor, shown):
    (tmp_path / "results/quick").mkdir(parents=True)
    (tmp_path / "results/quick/a.md").write_text(PAGE)
    text = f"before\n<!-- results/quick/a.md{anchor} -->\nold\n<!-- end -->\nafter"
    assert with_tables(text, tmp_path) == text.replace("old\n", shown)
    with pytest.raises(UserError, match="results/quick/a.md has no heading for #four"):
        with_tables("<!-- results/quick/a.md#four -->\n<!-- end -->", tmp_path)


def test_the_repositorys_results_are_what_their_checksums_say():
    sums = checksums.read(publish.RESULTS / "SHA256SUMS")
    assert not checksums.differing(publish.RESULTS, sums), "run `make tables`, or bring them back"
    assert not set(published.names(publish.RESULTS)).difference(sums), "run `make tables`"
