"""What is published stays unless somebody says so: where commands write, and what publishing would do."""

import importlib.util
import sys

import pytest
from made_up import make

from indrnn import files, places, publish
from indrnn.errors import UserError
from indrnn.tables import milestones, schema


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with something published."""
    monkeypatch.setattr(files, "ROOT", tmp_path / "repository")
    published = tmp_path / "repository" / "results" / "figures" / "quick"
    published.mkdir(parents=True)
    (published / "a.md").write_text("ours")
    return tmp_path / "repository"


@pytest.mark.parametrize(
    "path, tracked", [("results/figures", True), ("src", True), ("runs/figures", False), ("../elsewhere", False)]
)
def test_what_belongs_to_the_repository(repository, path, tracked):
    assert places.is_tracked(repository / path) is tracked


def test_a_newcomers_numbers_go_below_runs_and_what_yes_would_replace_is_said(repository, capsys):
    assert places.place("figures/quick", None, False) == repository / "runs" / "figures" / "quick"
    told = capsys.readouterr().err
    assert told.startswith("Written into runs/figures/quick; YES=1 ") and "results/figures/quick (1 file there)" in told


def test_with_yes_they_go_into_results_and_another_folder_is_taken_as_it_is(repository, tmp_path, capsys):
    assert places.place("figures/quick", None, True) == repository / "results" / "figures" / "quick"
    assert "over what is published (1 file there)" in capsys.readouterr().err
    assert places.place("figures/quick", tmp_path / "elsewhere", False) == tmp_path / "elsewhere"
    assert places.place("figures/quick", repository / "results", True) == repository / "results"
    with pytest.raises(UserError, match=r"results is part of the repository \(1 file there\): YES=1"):
        places.place("figures/quick", repository / "results", False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "name, words, module, function, folder",
    [
        ("figures", ["--profile", "fast"], "indrnn.studies.neurons.report", "publish", "figures/fast"),
        ("gradients", [], "indrnn.studies.gradients_report", "publish", "gradients"),
        ("start_of_u", [], "indrnn.studies.start_of_u_report", "publish", "start_of_u"),
        ("bench", ["--device", "cpu"], "indrnn.bench.cpu.report", "measure", "benchmarks"),
    ],
)
@pytest.mark.parametrize("yes", [[], ["--yes"]])
def test_every_command_that_measures_writes_there(monkeypatch, name, words, module, function, folder, yes):
    seen = []
    monkeypatch.setattr(f"{module}.{function}", lambda *given: seen.append(given) or "")
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *words, *yes])
    if name == "bench":
        monkeypatch.setattr("indrnn.bench.run.keep_pages", lambda: None)
    spec = importlib.util.spec_from_file_location(f"script_{name}", files.ROOT / "scripts" / f"{name}.py")
    spec.loader.exec_module(script := importlib.util.module_from_spec(spec))
    assert script.main() == 0
    ((*given,),) = seen
    assert files.ROOT / ("results" if yes else "runs") / folder in given


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("of_milestones", [False, True])
def test_publishing_into_the_repository_says_what_it_would_do_and_waits_for_yes(
    repository, tmp_path, monkeypatch, of_milestones
):
    results = repository / "results"
    monkeypatch.setattr(publish, "RESULTS", results)
    monkeypatch.setattr(publish, "with_tables", str.upper)
    monkeypatch.setattr(schema, "table_names", lambda: ["figure2_adding"])
    run = make(tmp_path / "own", "figure2_adding", "quick")[0]
    monkeypatch.setattr(milestones, "names", lambda: ["some"] if of_milestones else [])
    monkeypatch.setattr(milestones, "signatures", lambda name: {run.signature: "one"})
    monkeypatch.setattr(milestones, "render_all", lambda results: [])
    (repository / "README.md").write_text("read me")
    words = (None, True) if of_milestones else ("quick", False)
    before = tree(repository)
    text = publish.main(*words, tmp_path / "own", results, yes=False)
    assert tree(repository) == before
    assert f"\nNothing was written: YES=1 (of a script: --yes) would do this to {results}:\n" in f"\n{text}"
    added = int(text.splitlines()[-1].split()[0])
    assert text.endswith(f"{added} new files") and added >= 2
    publish.main(*words, tmp_path / "own", results, yes=True)
    after = tree(repository)
    assert len(after) == len(before) + added + 1 and after["README.md"] == b"READ ME"  # and SHA256SUMS
    assert publish.main(*words, tmp_path / "own", results, yes=False).endswith("nothing: all is there already")
    next(iter(results.glob("runs/*/curve.csv"))).write_text("update,val/mse\n50,0.5\n")
    assert "replaced: runs/" in publish.main(*words, tmp_path / "own", results, yes=False)


def test_many_files_are_counted_and_not_named(tmp_path):
    from indrnn import published

    for folder, text in (("stage", "new"), ("results", "old")):
        (tmp_path / folder).mkdir()
        for number in range(25):
            (tmp_path / folder / f"{number:02}.md").write_text(text)
    (tmp_path / "results" / "gone.md").write_text("")
    lines = published.would(tmp_path / "stage", tmp_path / "results")
    assert lines[0] == "replaced: 00.md" and lines[20:] == ["replaced: 5 more", "removed: gone.md"]


def test_a_folder_elsewhere_is_published_into_as_it_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "table_names", lambda: ["figure2_adding"])
    monkeypatch.setattr(milestones, "names", list)
    make(tmp_path / "own", "figure2_adding", "quick")
    text = publish.main("quick", False, tmp_path / "own", tmp_path / "results", yes=False)
    assert "Nothing was written" not in text and (tmp_path / "results" / "quick" / "figure2_adding.md").exists()
