"""What single neurons remember: the cut, the search, the output unit, profiles, files.

T time, B batch, N neurons.
"""

import copy
import itertools
import json
import re

import pytest
import torch
from hydra.utils import instantiate

from indrnn import configs, digests, files
from indrnn.data.adding import Adding
from indrnn.data.ntu import stand_in_store
from indrnn.errors import UserError
from indrnn.studies.neurons import activations, integrator, over_time, report, trained, weights
from indrnn.studies.neurons.integrator import KINDS, Cut, Neuron
from indrnn.studies.neurons.trained import Trained
from indrnn.tables import plan, schema
from indrnn.training import run

T = 12


def of_two_layers(N: int = 6) -> Trained:
    """An untrained network on sequences of T steps."""
    cfg = configs.build(["experiment=quick/adding", "model=indrnn", f"data.seq_len={T}", f"recipe.hidden_size={N}"])
    network = instantiate(cfg.model)
    return Trained(cfg, "-", instantiate(cfg.data), copy.deepcopy(network), network, 0)


@pytest.fixture
def planted(monkeypatch) -> Trained:
    """Neuron 1 of layer 1 is the value at marks and 0 elsewhere; neuron 4 of layer 2 adds that up, times 2."""
    monkeypatch.setattr(integrator, "SEQUENCES", 320)
    found = of_two_layers()
    first, second = found.network.layers
    with torch.no_grad():
        for layer in (first, second):
            layer.weight_ih.mul_(100)
        first.weight_ih[1], first.bias[1], first.u[1] = torch.tensor([1.0, 1.0]), -1, 0
        second.weight_ih[4] = torch.tensor([0.0, 2, 0, 0, 0, 0])
        second.weight_ih[2], second.bias[2] = 0, -1  # silent
        second.bias[4], second.u[4] = 0, 1
    return found


def test_the_finder_finds_a_planted_integrator_and_leaves_out_the_silent(planted):
    residuals, order = integrator.rank(planted)
    assert order[0] == 4 and 2 not in order and set(order) <= set(range(6))
    sorted_residuals = residuals[order]
    assert torch.equal(sorted_residuals, sorted_residuals.sort().values)
    cut = integrator.cut_down(planted)
    best, median, worst = (cut.neuron(kind) for kind in KINDS)
    assert (best.number, best.u, cut.alive) == (4, 1.0, len(order))
    assert best.after < 1e-9 < 0.01 < median.after < 1.1 * worst.after and best.before > 0.1
    alone = integrator.only(planted.network, median.number)
    integrator.retrain_(alone, integrator.unseen(planted, 1))
    assert median.after == integrator.mse(alone, integrator.test_batches(planted.data))
    seen = activations.look(planted)
    assert seen.integrator == 4 and seen.spiking[0] == 1 and seen.weight == pytest.approx(0.5)
    assert seen.target == pytest.approx(sum(seen.values[mark] for mark in seen.marks))
    assert seen.answer(seen.state(0.7)) == pytest.approx(0.7)


def test_nothing_is_chosen_by_test_sequences(planted, monkeypatch):
    numbers = integrator.rank(planted)[1]
    alone = integrator.only(planted.network, 4)
    monkeypatch.setattr(Adding, "examples", None)
    integrator.retrain_(alone, integrator.unseen(planted, 1))
    assert integrator.rank(planted)[1] == numbers
    parts = [x for part in range(3) for x, _ in integrator.unseen(planted, part)]
    trained_on = [planted.data.train_batch(number)[0] for number in (0, planted.cfg.trainer.max_updates - 1)]
    pairs = itertools.combinations([*parts, *trained_on], 2)
    assert not any(torch.equal(a, b) for a, b in pairs)


def test_residuals_are_those_of_least_squares():
    h, y = torch.randn(50, 4).double(), torch.randn(50, 1).double()
    h[:, 2] = 3
    found, varies = integrator.predict(h, y)
    assert varies.tolist() == [True, True, False, True]
    for n in range(4):
        A = torch.stack([h[:, n], torch.ones(50).double()], dim=1)
        best = A @ torch.linalg.lstsq(A, y, driver="gelsd").solution
        assert found[n].item() == pytest.approx((best - y).square().mean().item())


def test_the_output_unit_found_again_is_the_optimum(planted):
    sequences = integrator.unseen(planted, 1)
    for number in integrator.rank(planted)[1][:2]:
        alone = integrator.only(planted.network, number)
        before = integrator.mse(alone, sequences)
        integrator.retrain_(alone, sequences)
        lowest = integrator.mse(alone, sequences)
        assert lowest < before
        h, y = integrator.last_states(planted.network, sequences)
        assert lowest == pytest.approx(integrator.predict(h, y)[0][number].item(), rel=1e-4, abs=1e-9)
        for parameter, change in itertools.product((alone.head.weight, alone.head.bias), (-0.01, 0.01)):
            with torch.no_grad():
                parameter.add_(change)
                assert integrator.mse(alone, sequences) > lowest
                parameter.sub_(change)


@torch.no_grad()
def test_the_cut_network_is_the_full_one_with_all_other_head_weights_at_zero():
    network, x = of_two_layers().network, torch.randint(-2, 3, (T, 5, 2)).float()
    for parameter in network.parameters():  # small whole numbers: every sum is exact in any order
        parameter.copy_(torch.randint(-1, 2, parameter.shape))
    network.head.bias.fill_(2)
    before, answers = copy.deepcopy(network.state_dict()), []
    for number in range(6):
        alone, full = integrator.only(network, number), copy.deepcopy(network)
        full.head.weight[:, [n for n in range(6) if n != number]] = 0
        assert alone.layers[1].u.shape == (1,)
        answers.append(alone(x)[0])
        assert torch.equal(answers[-1], full(x)[0])
    assert len({tuple(answer.flatten().tolist()) for answer in answers}) > 3
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def made_up(*after: float) -> list[Cut]:
    return [
        Cut(s, 9, "-", 0.001, 6, [Neuron(kind, 0, 1.0, 0.1, 1.0, x) for kind in KINDS]) for s, x in enumerate(after)
    ]


def test_the_verdict_goes_both_ways_and_seeds_that_differ_decide_nothing():
    assert integrator.judge(made_up(0.009, 0.001), "best") == "holds"
    assert integrator.judge(made_up(0.01, 0.1), "best") == "does not hold"
    assert integrator.judge(made_up(0.009, 0.1), "worst") == "undecided"


def test_shares_of_weights():
    bound = torch.tensor(1.0139595).item()
    assert weights.at_bound([bound, -bound, 1.0, 0.2], 1.01395948) == 0.5
    assert weights.remember([1.0, -0.5, 0.0, 0.99], 6) == 0.75 and weights.remember([1.0, -0.5, 0.0, 0.99], 7) == 0.5


@pytest.mark.parametrize("profile", list(schema.PROFILES))
def test_every_network_of_every_profile_composes_and_builds(profile, monkeypatch):
    monkeypatch.setattr(trained, "SEEDS", (0,))
    for overrides in trained.wanted(profile):
        cfg = configs.build(overrides)
        with torch.device("meta"):
            instantiate(cfg.model)


@pytest.mark.parametrize(("profile", "column"), [("quick", "T200"), ("fast", "T5000"), ("paper", "T5000")])
def test_the_first_budget_is_the_run_of_the_papers_figure_2(profile, column):
    cells = plan.plan(schema.load_table("figure2_adding"), profile, [column], [0])
    (expected,) = [one for cell in cells for one in cell.runs if one.row == "IndRNN"]
    cfg = configs.build(trained.adding(profile, trained.BUDGETS[profile][0], 0))
    assert configs.signature(configs.signed(cfg)) == expected.signature


def test_other_profiles_read_the_weights_of_finished_runs(tmp_path, monkeypatch):
    small = [f"data.seq_len={T}", "recipe.hidden_size=4", "trainer.max_updates=2", "trainer.val_every=2"]
    small += [f"machine.runs={tmp_path}", "machine.progress=false", "logger=csv", "seed=1"]
    overrides = ["experiment=fast/adding", "model=indrnn", *small]
    monkeypatch.setattr(trained, "wanted", lambda profile: [overrides])
    with pytest.raises(UserError, match="1 of 1 are not on this machine: .* -m experiment=fast/adding .* seed=1$"):
        report.publish("fast", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    done = run.train(configs.build(overrides))
    trained.check("fast")
    found = trained.trained("fast", overrides)
    assert (found.signature, found.updates) == (done["signature"], 2)
    kept = torch.load(tmp_path / done["signature"] / "weights.pt", weights_only=True)
    assert all(torch.equal(kept[name], value) for name, value in found.network.state_dict().items())
    _, task = run.build(configs.build(overrides))
    start = task.network.state_dict()
    assert all(torch.equal(start[name], value) for name, value in found.start.state_dict().items())
    assert not torch.equal(found.start.head.weight, found.network.head.weight)


def test_trains_looks_and_writes_the_same_files_twice(tmp_path, monkeypatch):
    digits = ("data.seq_len=16", "recipe.hidden_size=4", "trainer.max_updates=2", "data.batch_size=4")
    monkeypatch.setattr(digests, "STAND_INS", tmp_path / "made up")
    monkeypatch.setattr(stand_in_store, "PERFORMERS", 3)
    monkeypatch.setattr(trained, "SEEDS", (0, 1))
    monkeypatch.setattr(trained, "BUDGETS", {"quick": (1, 2)})
    monkeypatch.setattr(trained, "ADDING", {"quick": (*trained.ADDING["quick"], "data.seq_len=8")})
    monkeypatch.setattr(trained, "SIX_LAYERS", {"quick": (*trained.SIX_LAYERS["quick"], *digits)})
    monkeypatch.setattr(trained, "GRADIENTS", {"quick": ("experiment=quick/pmnist", "model.num_layers=3", *digits)})
    monkeypatch.setattr(over_time, "CALIBRATION_EXAMPLES", 8)
    text = report.publish("quick", tmp_path / "once")
    assert report.publish("quick", tmp_path / "twice") == text
    names = sorted(path.name for path in (tmp_path / "once").iterdir())
    assert len(names) == 7 and {name.partition(".")[2] for name in names} == {"json", "md", "png"}
    for name in names:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()
    assert set(re.findall(r"\((\w+\.png)\)", text)) == {name for name in names if name.endswith(".png")}
    found = json.loads((tmp_path / "once" / "neurons.json").read_text())
    assert {"command", "commit", "source", "dirty", "versions", "device", "overrides", "profile"} <= set(found)
    assert [(cut["updates"], cut["seed"]) for cut in found["one_neuron"]] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    runs = [*found["one_neuron"], found["u"], *found["gradients"]]
    assert len({one["signature"] for one in runs}) == 11
    assert [len(layer) for layer in found["u"]["end"]] == [4] * 6 and found["u"]["start"] != found["u"]["end"]
    assert {(one["model"], len(one["end"]), len(one["end"][0])) for one in found["gradients"]} == {
        (model, 3, 16) for model in ("IndRNN", "LSTM", "IRNN")
    }
    assert "does not hold" in text and "stand in for MNIST" in text and "## Provenance" in text


def test_a_profile_that_is_none_is_told_in_one_sentence_and_nothing_is_written(tmp_path):
    with pytest.raises(UserError, match=r"^There is no profile 'quik'; there are: quick, fast, paper\.$"):
        report.publish("quik", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_make_figures_calls_the_script_with_the_profile():
    text = (files.ROOT / "Makefile").read_text()
    assert "\nfigures: setup ## " in text and "\t$(FIGURES) --profile '$(PROFILE)'$(SURE)\n" in text
    assert "FIGURES = .venv/bin/python scripts/figures.py\n" in text
    assert re.search(r"\.PHONY:(.*\\\n)*.*\bfigures\b", text)
