"""``make verify``: what is not right is named, and a run trained again is equal, moved or off."""

import json
import math
import subprocess
import sys
from concurrent.futures import as_completed

import pytest
from made_up import make, record_of

from indrnn import again, configs, files, publish, record, verify
from indrnn.errors import UserError
from indrnn.tables import milestones, plan, schema
from indrnn.training.run import train

TINY = "experiment=quick/adding data.seq_len=10 data.batch_size=8 data.val_examples=20 data.test_examples=20"
TINY = f"{TINY} trainer.max_updates=6 trainer.val_every=2 model.hidden_size=4".split()


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """The other tables take their time."""
    monkeypatch.setattr(schema, "table_names", lambda: ["figure2_adding"])
    monkeypatch.setattr(milestones, "names", list)


@pytest.fixture
def results(tmp_path):
    """Made-up runs, published."""
    make(tmp_path / "runs", "figure2_adding", "quick", lambda run: 0.5 + run.seed / 100)
    publish.main("quick", False, tmp_path / "runs", tmp_path / "results")
    return tmp_path / "results"


def test_what_is_published_is_right_and_what_was_touched_is_named(results):
    def problems():
        reports = {"quick": publish.reports_of("quick", results)}
        made = dict(verify.rendered(results, reports))
        return [list(verify.wrong_files(results)), list(verify.wrong_tables(results, made))]

    assert problems() == [[], []] and not list(verify.wrong_records(results))
    page, table = results / "quick/figure2_adding.md", results / "quick/figure2_adding.csv"
    page.write_text(page.read_text().replace("0.510", "0.501"))
    table.unlink()
    (results / "quick/table9.tex").write_text("")
    (results / "quick/.hidden").write_text("")
    sums, tables = problems()
    names = ("quick/figure2_adding.csv: missing", "quick/figure2_adding.md: changed", "quick/table9.tex: not listed")
    assert sums == list(names)
    first = next(i for i, line in enumerate(page.read_text().split("\n"), 1) if "0.501" in line)
    assert tables[0] == f"quick/figure2_adding.md: not what the records say (line {first})"
    assert tables[1] == "quick/figure2_adding.csv: not what the records say (line 1)"
    assert tables[2] == "quick/table9.tex: of no table or milestone that there is"


def test_records_of_other_runs_and_of_none_are_named(results):
    first, second, *_ = sorted((results / "runs").iterdir())
    (first / "run.json").write_bytes((second / "run.json").read_bytes())
    third = results / "runs" / ("0" * 12)
    third.mkdir()
    (third / "run.json").write_text("{}")
    wrong = list(verify.wrong_records(results))
    assert any(f"{first / 'run.json'}: the record of run {second.name}" in x for x in wrong) and len(wrong) == 2
    assert any(str(third) in x for x in wrong)


@pytest.mark.parametrize("text", [None, "0123  quick/a.md\n"])
def test_a_list_that_is_missing_or_damaged_is_told(tmp_path, text):
    if text:
        (tmp_path / "SHA256SUMS").write_text(text)
    (problem,) = verify.wrong_files(tmp_path)
    assert "SHA256SUMS" in problem and "`make tables` writes it" in problem


def test_many_problems_are_counted_and_some_named(capsys):
    assert verify.told("25 things", [f"thing {number}" for number in range(25)]) == 25
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "25 things: 25 wrong" and lines[10] == "  thing 9" and lines[11] == "  and 15 more"


def test_the_quickest_finished_run_of_each_table_is_chosen_with_its_cell(results):
    signature = sorted(path.name for path in (results / "runs").iterdir())[5]
    entry = record.read(results / "runs" / signature)
    (results / "runs" / signature / "run.json").write_text(json.dumps(entry | {"wall_seconds": 1.5}))
    (chosen,) = again.cheapest(publish.reports_of("quick", results))
    assert chosen.signature == signature and chosen.where == "quick/figure2_adding" and chosen.metric == "test/mse"
    assert chosen.std == pytest.approx(0.01) and chosen.record["wall_seconds"] == 1.5
    assert f"seed={entry['seed']}" in chosen.overrides


def published(std: float = 0.01) -> tuple[again.Published, dict, list[dict]]:
    run = plan.runs(["figure2_adding"], "quick")[0]
    entry = record_of(run, 0.5)
    curve = [{"update": 50, "val/mse": 0.6}, {"update": 100, "val/mse": 0.5, "train/loss": math.nan}]
    return again.Published("a", run.signature, run.name, run.overrides, entry, run.metric, std), entry, curve


def moved(entry: dict, value: float) -> dict:
    return entry | {"metrics": entry["metrics"] | {"test/mse": value}}


@pytest.mark.parametrize(
    "std, value, word, text",
    [
        (0.01, 0.5, "equal", "to the bit, metrics and curve"),
        (0.01, 0.5 + 1e-15, "moved", "test/mse 0.5 -> 0.5: 1e-13 deviations of its cell"),
        (0.01, 0.549, "moved", "test/mse 0.5 -> 0.549: 4.9 deviations"),
        (0.01, 0.449, "off", "test/mse 0.5 -> 0.449: 5.1 deviations"),
        (1e-6, 0.5004, "moved", "4e+02 deviations"),  # seeds that learnt nothing are alike
        (1e-6, 0.5006, "off", "6e+02 deviations"),
        (math.nan, 0.5004, "moved", "no deviation to judge by"),
        (math.nan, 0.51, "off", "no deviation to judge by"),
        (0.0, 0.51, "off", "no deviation to judge by"),
    ],
)
def test_a_run_is_judged_by_the_deviation_of_its_cell(std, value, word, text):
    run, entry, curve = published(std)
    outcome = again.compare(run, moved(entry, value), curve, curve)
    assert outcome.word == word and text in outcome.text and outcome.right == (word != "off")


def test_the_curve_counts_and_what_one_side_alone_measures_does_not():
    run, entry, curve = published()
    more = [row | {"layer1/off_share": 1.0} for row in curve]
    newer = entry | {"metrics": entry["metrics"] | {"test/more": 1.0}}
    assert again.compare(run, newer, curve, more).word == "equal"
    outcome = again.compare(run, entry, curve, [curve[0], curve[1] | {"val/mse": 0.5000001}])
    assert outcome.word == "moved" and "0 deviations of its cell; the curve parts by update 100" in outcome.text
    assert again.compare(run, entry, curve, curve[:1]).word == "moved"


def test_another_end_or_no_metric_is_off():
    run, entry, curve = published()
    outcome = again.compare(run, entry | {"status": "diverged", "metrics": {}}, curve, curve)
    assert outcome.word == "off" and outcome.text.startswith("finished -> diverged")
    assert again.compare(run, moved(entry, math.nan), curve, curve).word == "off"


def test_what_a_record_was_made_with_is_told_where_it_differs():
    _, entry, _ = published()
    other = {"source": "b" * 12, "versions": {"python": "3.11", "torch": "2.14"}, "device": "another CPU"}
    other |= {"data": entry["data"] | {"name": "others", "digest": "of new records alone"}}
    expected = "not as here: source a1b2c3d4e5f6, torch 2.13.0 (here 2.14), a CPU, other data (name)"
    assert again.differing(entry, entry | other) == expected
    assert again.differing(entry, entry) == "code, versions, device and data as here"


@pytest.fixture
def trained(config, tmp_path):
    """A tiny run for real, published, that no table plans; returns its signature and results/."""
    entry = train(config(*TINY))
    folder = tmp_path / "results" / "runs" / entry["signature"]
    curve = record.curve(tmp_path / "runs" / entry["signature"])
    record.write(folder, entry | {"overrides": ["machine.progress=false", *TINY], "dirty": False}, curve)
    publish.main(None, False, tmp_path, tmp_path / "results")
    return entry["signature"], tmp_path / "results"


def test_a_run_is_trained_again_to_the_same_bits_and_another_number_is_off(trained, capsys):
    signature, results = trained
    assert verify.main(signature[:6], 1, results) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 files against SHA256SUMS: right" and lines[1] == "1 records against their signatures: right"
    assert lines[3] == "0 pages and tables against the records: right" and lines[-1] == "Verified."
    assert lines[2].startswith(f"Training {signature} again, which took 0.00 hours on ")
    assert lines[5].startswith(f"  equal   {signature}  its record: experiment=quick/adding")
    path = results / "runs" / signature / "run.json"
    entry = json.loads(path.read_text())
    path.write_text(json.dumps(moved(entry, entry["metrics"]["test/mse"] * 1.01)))
    assert verify.main(signature, 1, results) == 1
    said = capsys.readouterr().out
    assert f"  runs/{signature}/run.json: changed\n" in said and f"  off     {signature}" in said
    assert said.endswith("Not verified: 2 problems, as told above.\n")


def test_a_run_that_cannot_be_trained_is_told_in_one_sentence(tmp_path):
    run, *_ = published()
    runs = [again.Published(**vars(run) | {"overrides": (*run.overrides, "data.seq_len=1")})]
    with again.training(runs, 1, tmp_path, tmp_path / "again") as outcomes:
        (outcome,) = [future.result() for future in as_completed(outcomes)]
    assert not outcome.right and str(outcome).startswith(f"  failed  {run.signature}  a: ")
    assert "data.seq_len must be at least 2" in outcome.text and "\n" not in outcome.text


def test_leaving_early_ends_what_trains(tmp_path):
    run, *_ = published()
    with pytest.raises(KeyboardInterrupt):
        with again.training([run], 1, tmp_path, tmp_path / "again") as (future,):
            while not future.running():
                pass
            raise KeyboardInterrupt
    assert future.result(timeout=60).word == "failed"


def test_a_word_that_means_no_run_or_several_or_one_that_has_not_ended_is_told(results, monkeypatch):
    with pytest.raises(UserError, match="No published run begins with 'xyz'"):
        verify.main("xyz", 1, results)
    first = sorted(path.name for path in (results / "runs").iterdir())[0]
    (results / "runs" / f"{first[:11]}x").mkdir()
    (results / "runs" / f"{first[:11]}x" / "run.json").write_text("{}")
    with pytest.raises(UserError, match="2 published runs begin"):
        again.signature(first[:11], results)
    entry = record.read(results / "runs" / first)
    assert again.named(first, results, publish.reports_of("quick", results)).std == pytest.approx(0.01)
    monkeypatch.setattr(record, "read", lambda folder: entry | {"status": "interrupted"})
    with pytest.raises(UserError, match=f"The published run {first} has not ended"):
        again.named(first, results, [])


def test_overrides_of_runs_that_no_table_plans_are_found_or_the_run_is_told(monkeypatch):
    config = configs.signed(configs.build(["model.num_layers=3"]))
    entry = {"signature": configs.signature(config), "overrides": ["model.num_layers=3", "logger.name=x"]}
    assert again.elsewhere(entry) == (("model.num_layers=3",), "its record")
    added = configs.signed(configs.build(["+model.unbounded=true"]))
    entry = {"signature": configs.signature(added), "overrides": ["model.unbounded=true"]}
    assert again.elsewhere(entry) == (("++model.unbounded=true",), "its record")
    with pytest.raises(UserError, match="Today's configs do not give run abc any more"):
        again.elsewhere({"signature": "abc", "overrides": ["model.num_layers=3"]})


def test_verifying_starts_without_torch_and_a_wrong_word_is_one_sentence():
    code = "import sys, indrnn.verify; assert not {'torch', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    command = [sys.executable, "scripts/verify.py", "--run", "nothing"]
    done = subprocess.run(command, cwd=files.ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1 and done.stderr.startswith("No published run begins with 'nothing'")
