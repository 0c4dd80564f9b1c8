"""Pairs of rows, compared seed by seed, and the page that shows them."""

import math

import numpy as np
import pytest
from made_up import make, record_of
from scipy import stats

from indrnn import publish, record
from indrnn.studies.ablations import pairs, report
from indrnn.studies.ablations.state_curves import course
from indrnn.tables import judged, plan, schema

OFF = {"off_share": 40.0, "off_steps": 5.0, "off_neurons": 3.0}


def value(run):
    """ReLU 30 + seed; leaky 0.01 one less with a little spread, leaky 0.1 the same, tanh always 10 more."""
    shift = {"leaky ReLU, slope 0.01": -1 + 0.01 * run.seed, "tanh": 10.0, "u not bounded": 5.0 * (-1) ** run.seed}
    return 30.0 + run.seed + shift.get(run.row, 0.0)


@pytest.fixture
def page(tmp_path):
    """Made-up runs of both tables whose curves hold states, too."""
    for name, scale in (("ablation_pmnist", 1.0), ("ablation_adding", 0.001)):
        for run in make(tmp_path, name, "quick"):
            measured = scale * value(run)
            metric = run.metric.replace("test", "val")
            curve = [
                {"update": update, metric: measured}
                | {f"layer{i}/{what}": number * i + update for i in (1, 2) for what, number in OFF.items()}
                for update in (100, 200)
            ]
            record.write(tmp_path / run.signature, record_of(run, measured), curve)
    return tmp_path


def test_the_interval_is_that_of_a_paired_t_test():
    a, b = [1.0, 2.5, 2.0, 4.0, 3.5], [1.5, 2.0, 3.5, 4.5, 6.0]
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert pairs.paired(a, b, as_ratio=False) == pytest.approx((np.mean(np.subtract(a, b)), *expected))
    logs = stats.ttest_rel(np.log(a), np.log(b)).confidence_interval(0.95)
    ratio = math.exp(np.mean(np.log(a) - np.log(b)))
    assert pairs.paired(a, b, as_ratio=True) == pytest.approx((ratio, *map(math.exp, logs)))


def test_seeds_that_differ_by_the_same_have_no_interval():
    assert pairs.paired([1.0, 2.0], [0.5, 1.5], as_ratio=False) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("low", "high", "lower_is_better", "words"),
    [(-2, -1, True, "better"), (1, 2, True, "worse"), (-1, 1, True, "undecided"), (0, 1, True, "undecided")]
    + [(-2, -1, False, "worse"), (1, 2, False, "better")],
)
def test_an_interval_decides_where_it_leaves_no_difference_out(low, high, lower_is_better, words):
    assert pairs.judge(low, high, 0.0, lower_is_better) == words
    assert pairs.judge(low + 1, high + 1, 1.0, lower_is_better) == words


def test_pairing_decides_what_the_spread_of_the_seeds_would_hide(page):
    found = {x.pair.row: x for x in pairs.compare(judged.report("ablation_pmnist", "quick", page))}
    assert found["leaky001"].verdict == "better"
    assert found["leaky001"].mean == pytest.approx(-0.98)
    assert found["leaky01"].verdict == found["unbounded"].verdict == "undecided"
    assert (found["tanh"].verdict, found["tanh"].evidence) == ("worse", "+10.00 [+10.00, +10.00]")
    ratio = {x.pair.row: x for x in pairs.compare(judged.report("ablation_adding", "quick", page))}
    assert ratio["tanh"].evidence.startswith("× 1.31 [1.29, 1.33]")


def test_what_is_not_there_is_named_and_not_counted(page):
    runs = {(run.row, run.seed): run for run in plan.runs(["ablation_pmnist"], "quick")}
    record.write(page / runs["tanh", 3].signature, record_of(runs["tanh", 3], status="diverged"), [])
    (page / runs["leaky ReLU, slope 0.1", 0].signature / "run.json").unlink()
    found = {x.pair.row: x for x in pairs.compare(judged.report("ablation_pmnist", "quick", page))}
    assert (found["tanh"].verdict, found["tanh"].evidence) == ("tanh: failed 1/5", "-")
    assert found["leaky01"].verdict == "leaky ReLU, slope 0.1: incomplete 4/5"
    assert "tanh: failed 1/5 on pMNIST (T = 196)." in report.markdown(
        [judged.report("ablation_pmnist", "quick", page)], page, None
    )


def test_states_are_means_over_layers_and_seeds(page):
    results = judged.report("ablation_pmnist", "quick", page).columns["pmnist"]
    seen = course(results["relu"], "error", page)
    assert seen.updates == [100, 200]
    assert seen.at("off_share", 0).tolist() == [160.0] * 5
    assert seen.mean("error").tolist() == [32.0, 32.0]
    record.write(page / results["relu"].runs[0].signature, results["relu"].made[0], [{"update": 100}])
    assert course(results["relu"], "error", page) is None


def test_the_page(page, tmp_path):
    shown = report.write(page, tmp_path / "out")
    text = (tmp_path / "out" / "ablations.md").read_text()
    first = text
    for heading in ("## Activation", "## Bound", "## Last layer", "## Batch norm", "## Weight decay on u"):
        assert heading in text
    assert "leaky ReLU (0.01) for ReLU: undecided" not in text
    everywhere = "adding (best rate), adding (rate 1e-3), adding (published W), pMNIST (T = 196)"
    assert f"tanh for ReLU: worse on {everywhere}." in " ".join(text.split())
    assert "| pMNIST (T = 196)     | -0.98 [-1.00, -0.96]" in text
    assert "![" in text and "![" not in shown and (tmp_path / "out" / "ablations.png").stat().st_size > 10_000
    assert max(map(len, shown.splitlines())) <= 120
    count = sum(len(pair.columns) for name in report.names() for pair in schema.load_table(name).pairs)
    assert f"There are {count} comparisons" in text
    report.write(page, tmp_path / "out")
    assert (tmp_path / "out" / "ablations.md").read_text() == first


def test_nothing_is_written_of_nothing(tmp_path):
    assert report.write(tmp_path, tmp_path / "out") == ""
    assert not (tmp_path / "out").exists()


def test_publishing_the_tables_publishes_the_page_and_judges_them_once(page, tmp_path, monkeypatch):
    ours, judge, names = report.names(), judged.report, []
    monkeypatch.setattr(judged, "report", lambda name, *rest: names.append(name) or judge(name, *rest))
    monkeypatch.setattr(schema, "table_names", lambda: ours)  # the others take their time
    publish.publish("quick", page, tmp_path / "results")
    assert (tmp_path / "results" / "ablations.md").exists() and names == ours


def test_every_pair_differs_in_what_it_names():
    """Same task, same seed, same rate; a row changes the activation or one setting."""
    for name in report.names():
        table = schema.load_table(name)
        cells = {(cell.row, cell.column): cell for cell in plan.plan(table, "quick", seeds=[0])}
        for pair in table.pairs:
            for column in pair.columns:
                one, other = (flat(cells[row, column].runs[0].config) for row in (pair.row, pair.against))
                changed = {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
                settings = {key.rpartition(".")[2] for key in changed}
                if pair.question == "activation":  # each has its best rate
                    settings -= {"learning_rate"}
                allowed = ({"activation", "negative_slope"}, {"unbounded"}, {"last_layer_near_one"}, {"batch_norm"})
                assert settings and any(settings <= names for names in (*allowed, {"decay_u"})), (pair.text, changed)


def flat(node, path=""):
    if not isinstance(node, dict):
        return {path: node}
    return {key: value for name, child in node.items() for key, value in flat(child, f"{path}.{name}").items()}
