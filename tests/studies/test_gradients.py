"""Gradients of deep networks: the same function layer by layer, files, verdicts."""

import json

import pytest
import torch

from indrnn.layers.baselines import irnn, lstm
from indrnn.studies import gradients, gradients_report, layer_by_layer
from indrnn.studies.gradients import Trained


def made_up(losses: list[float], norms: list[float]) -> Trained:
    return Trained("made up", 0, "-", 1, losses, [norms] * 3, frequencies=4.0)


GOOD, BAD = made_up([5.0] + [3.0] * 149, [1.0, 0.02, 0.5]), made_up([4.5] * 150, [1e-9, 1e-3, 1.0])


def test_verdicts_go_both_ways_and_seeds_that_differ_decide_nothing():
    for claim in gradients.CLAIMS:
        assert gradients.judge(claim, [GOOD, GOOD]) == "holds"
        assert gradients.judge(claim, [BAD, BAD]) == "does not hold"
        assert gradients.judge(claim, [GOOD, BAD]) == "undecided"


def test_a_gradient_that_is_gone_is_no_factor_at_all():
    gone = made_up([4.5] * 150, [0.0, 1e-30, 1.0])
    assert (gone.ratio(1), gone.spread(1)) == (0.0, float("inf"))
    assert gradients_report.geometric([gone.ratio(1), 1.0]) == 0 and gradients_report.geometric([4.0, 9.0]) == 6


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ("holds", "does not hold", "holds"),
        ("holds", "holds", "does not hold"),
        ("does not hold", "does not hold", "does not hold"),
        ("undecided", "does not hold", "undecided"),
    ],
)
def test_a_contrast_needs_one_to_hold_and_the_other_not(ours, theirs, verdict):
    assert gradients.contrast({gradients.OURS: ours, gradients.THEIRS: theirs, "IndRNN": "holds"}) == verdict


@pytest.mark.parametrize("kind", [lstm, irnn])
def test_layer_by_layer_it_is_the_same_function_of_the_same_parameters(kind):
    cell, x = kind(3, 4, 3), torch.randn(5, 2, 3)
    stacked = layer_by_layer.Stacked(cell)
    assert {id(p) for p in stacked.parameters()} == {id(p) for p in cell.parameters()}
    h, state = stacked(x)
    expected, last = cell(x)
    torch.testing.assert_close(h, expected)
    ends = [torch.cat(parts) for parts in zip(*state, strict=True)] if kind is lstm else [torch.cat(state)]
    torch.testing.assert_close(ends, list(last) if kind is lstm else [last])
    again, _ = stacked(x, state)
    torch.testing.assert_close(again, cell(x, last)[0])


def test_trains_every_model_and_writes_the_same_files_twice(tmp_path, monkeypatch):
    small = ("recipe.hidden_size=4", "data.batch_size=2", "data.seq_len=5")
    monkeypatch.setattr(gradients, "COMMON", (*gradients.COMMON, *small))
    monkeypatch.setattr(
        gradients, "MODELS", {name: (m, "model.num_layers=3", *more) for name, (m, _, *more) in MODELS.items()}
    )
    monkeypatch.setattr(gradients, "SEEDS", (0, 1))
    monkeypatch.setattr(gradients, "MARKS", (1, 2))
    monkeypatch.setattr(gradients, "CLAIMS", {"it has a loss": lambda x: x.loss(2) > 0})
    text = gradients_report.publish(tmp_path / "once")
    assert gradients_report.publish(tmp_path / "twice") == text
    for name in ("ptb_char.json", "ptb_char.md", "ptb_char.png"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()
    found = json.loads((tmp_path / "once" / "ptb_char.json").read_text())
    assert {"commit", "source", "dirty", "versions", "device", "runs"} <= set(found)
    assert len(found["runs"]) == 8 and len({run["signature"] for run in found["runs"]}) == 8
    for run in found["runs"]:
        assert len(run["losses"]) == 2 and [len(norms) for norms in run["norms"]] == [3, 3]
    assert "| LSTM " in text and "holds" in text


MODELS = gradients.MODELS
