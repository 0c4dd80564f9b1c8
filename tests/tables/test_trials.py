"""The page of trials: every run of its groups, with cost, validation and verdict; words where no record was kept."""

import json
import re
import shutil

import pytest
from made_up import record_of

from indrnn import configs, files, publish, record, verify
from indrnn.errors import UserError
from indrnn.studies import start_of_u
from indrnn.tables import plan, trials

RESULTS = files.ROOT / "results"
GROUPS = trials.load()


def rows(page: str) -> dict[str, list[str]]:
    """The cells of each line by the first."""
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return {first.strip(): [cell.strip() for cell in cells] for first, *cells in lines}


def put(folder, overrides: list[str], **changes) -> str:
    """Write a record of a run with these overrides; returns its signature."""
    config = configs.signed(configs.build(overrides))
    entry = record_of(plan.runs(["figure2_adding"], "quick")[0]) | {"config": config, "commit": "0" * 40}
    entry |= {
        "signature": configs.signature(config),
        "seed": config["seed"],
        "metrics": {"val/error": 12.345, "val/mse": 0.012345},
    } | changes
    record.write(folder / entry["signature"], entry, [])
    return entry["signature"]


def test_the_page_is_the_published_one_and_its_links_lead_somewhere():
    page = (RESULTS / "trials.md").read_text(encoding="utf-8")
    assert page == trials.page(RESULTS)
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert links and all((RESULTS / link).is_file() for link in links)
    assert "](trials.md)" in (RESULTS / "README.md").read_text(encoding="utf-8")


def test_every_published_trial_has_its_verdict_and_no_test_number_stands_there():
    page = trials.page(RESULTS)
    assert "test/" not in page and set(trials.VERDICTS) >= {
        run.verdict for group in GROUPS for run in [*group.runs, *group.unrecorded]
    }
    found = rows(page)
    for group in GROUPS:
        for run in group.runs:
            assert found[run.label][5] == run.verdict, run.label
        for one in group.unrecorded:
            assert found[one.label][-3:] == [one.gave, one.verdict, "no record kept"]


def test_a_row_says_what_was_paid_and_what_validation_gave(tmp_path):
    run = next(run for group in GROUPS if group.milestones == "pmnist" for run in group.runs)
    cost = {"status": "interrupted", "updates": 1400, "examples": 179_200, "wall_seconds": 3000.0}
    signature = put(tmp_path / "runs", run.overrides, **cost)
    row = rows(trials.page(tmp_path))[run.label]
    assert row[:5] == ["1,400 of 29,800, interrupted", "179,200", "50", "a CPU", "12.35"]
    assert row[5:] == [run.verdict, f"[{signature}](runs/{signature}/run.json)"]


def test_what_is_not_published_says_so_and_without_records_there_is_no_page(tmp_path):
    assert trials.page(tmp_path) == ""
    trials.write(tmp_path)
    assert not list(tmp_path.iterdir())
    group = next(group for group in GROUPS if group.metric == "mse" and not group.milestones)
    put(tmp_path / "runs", group.runs[0].overrides, wall_seconds=90.0)
    found = rows(trials.page(tmp_path))
    assert found[group.runs[0].label][2:5] == ["1.5", "a CPU", "0.0123"]
    assert found[group.runs[1].label] == [*["-"] * 5, "open", "not published yet"]


def test_a_run_that_is_added_to_a_conf_file_is_a_line(tmp_path, monkeypatch):
    shutil.copytree(configs.CONF, tmp_path / "conf")
    monkeypatch.setattr(configs, "CONF", tmp_path / "conf")
    path = tmp_path / "conf/milestones/pmnist.yaml"
    added = (
        "  - {label: a new one, verdict: not kept, overrides: [experiment=fast/pmnist, model=indrnn, seed=77]}\nnotes:"
    )
    path.write_text(path.read_text().replace("\nnotes:", f"\n{added}", 1))
    signature = put(tmp_path / "runs", ["experiment=fast/pmnist", "model=indrnn", "seed=77"])
    assert rows(trials.page(tmp_path))["a new one"][4:6] == ["12.35", "not kept"]
    done = publish.publish_milestones(tmp_path / "runs", tmp_path / "results")
    assert done.milestones == ["pmnist"] and signature in (tmp_path / "results/trials.md").read_text()


def test_a_run_of_the_file_itself_is_published_with_the_milestones(tmp_path):
    group = next(group for group in GROUPS if group.metric == "mse" and not group.milestones)
    signature = put(tmp_path / "runs", group.runs[0].overrides)
    publish.publish_milestones(tmp_path / "runs", tmp_path / "results")
    assert (tmp_path / f"results/runs/{signature}/run.json").exists()


def test_networks_of_a_study_stand_with_their_seeds(tmp_path):
    (group,) = (group for group in GROUPS if group.study)
    put(tmp_path / "runs", GROUPS[0].runs[0].overrides)
    (tmp_path / group.study.folder).mkdir()
    for seed, bpc in enumerate((3.0, 4.0)):
        network = {"start": "N(0.4, 0.1)", "width": 256, "losses": [5.0] * 1000, "validation": bpc}
        text = json.dumps({"device": "a CPU", "network": network})
        (tmp_path / group.study.folder / f"{seed}.json").write_text(text)
    row = rows(trials.page(tmp_path))["256 neurons a layer, N(0.4, 0.1), 2 seeds"]
    assert row[:6] == ["1,000", "16,000", "-", "a CPU", "3.50", "kept"]


def test_the_study_is_described_as_it_is():
    (study,) = (group.study for group in GROUPS if group.study)
    assert list(study.starts) == list(start_of_u.STARTS)
    assert f"data.batch_size={study.batch_size}" in start_of_u.COMMON


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("groups: [{question: a, unrecorded: [{label: b, gave: c, verdict: keept}]}]", "'b' has the verdict 'keept'"),
        ("groups: [{question: a, mileston: b}]", "mileston"),
        ("groups: [{question: a, milestones: gone}]", "gone"),
    ],
)
def test_a_mistake_in_the_file_is_told(tmp_path, monkeypatch, text, told):
    (tmp_path / "trials.yaml").write_text(text)
    monkeypatch.setattr(configs, "CONF", tmp_path)
    with pytest.raises(UserError, match=told):
        trials.load()


def test_verify_compares_the_page(tmp_path):
    shutil.copytree(RESULTS / "runs", tmp_path / "runs")
    made = dict(verify.rendered(tmp_path, {}))
    assert made["trials.md"] == trials.page(tmp_path)


def test_what_a_label_says_of_rate_dropout_batch_and_seed_is_what_the_run_has():
    """Labels are typed by hand; a wrong one would be believed."""
    said = 0
    for run in [run for group in GROUPS for run in group.runs]:
        config = configs.signed(configs.build(run.overrides))
        for pattern, value in (
            (r"(?:peak(?: rate)?|cycle to|constant) ([\d.]+e-\d)", config["recipe"]["learning_rate"]),
            (r"dropout ([\d.]+)", config["recipe"].get("dropout")),
            (r"batch (\d+)", config["data"]["batch_size"]),
            (r"seed (\d)$", config["seed"]),
            (r"T = (\d+)", config["data"]["seq_len"]),
        ):
            for number in re.findall(pattern, run.label):
                assert float(number) == value, run.label
                said += 1
        if "no dropout" in run.label:
            assert config["recipe"]["dropout"] == 0, run.label
    assert said > 20
