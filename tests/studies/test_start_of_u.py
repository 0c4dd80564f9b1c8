"""Where u starts: what is seen of states, batch norm's input, u and gradients, and how it is told."""

import math

import pytest
import torch

from indrnn import configs
from indrnn.errors import UserError
from indrnn.files import ROOT
from indrnn.studies import layer_by_layer, start_of_u, start_of_u_report
from indrnn.training import run

KJV = ("data.source=kjv", "data.output_size=29", "recipe.hidden_size=12", "data.eval_columns=[128,128]")


@pytest.fixture
def small(monkeypatch):
    """Twelve neurons a layer on the stand-in text, four updates."""
    monkeypatch.setattr(start_of_u, "COMMON", (*start_of_u.COMMON, *KJV))
    monkeypatch.setattr(start_of_u, "WIDTHS", {12: ()})
    monkeypatch.setattr(start_of_u, "UPDATES", {12: 4})
    monkeypatch.setattr(start_of_u, "SEEDS", {12: (0,)})
    monkeypatch.setattr(start_of_u, "EVERY", 2)
    monkeypatch.setattr(start_of_u, "PIECES", 1)


def test_persistent_is_the_share_of_what_does_not_change_over_time():
    steady = torch.randn(1, 9, 3).expand(50, 9, 3)
    assert start_of_u.persistent(steady) == pytest.approx(1)
    fleeting = torch.randn(50, 400, 3)
    assert start_of_u.persistent(fleeting) == pytest.approx(1 / 50, rel=0.3)
    assert start_of_u.persistent(steady + torch.randn(50, 1, 3)) == pytest.approx(1)  # alike in all columns: no spread
    assert start_of_u.persistent(torch.ones(5, 4, 3)) == 0.0


def test_looks_of_a_small_network_agree_with_the_network(small):
    seen = start_of_u.train("N(0.4, 0.2)", 12, 0)
    assert seen.looks == [0, 2, 3] and len(seen.losses) == 4 and len(seen.layers) == 6
    assert all(len(layer[what]) == 3 for layer in seen.layers for what in start_of_u.WHAT)
    assert all(math.isfinite(value) for layer in seen.layers for values in layer.values() for value in values)
    assert all(0 <= layer["persistent"][-1] <= 1 and layer["rms"][-1] <= layer["largest"][-1] for layer in seen.layers)
    assert seen.carried != seen.zeros and 3 < seen.unigrams < 4.5 and math.isfinite(seen.validation)
    cut = start_of_u.train("N(0.4, 0.2), at most 0.8", 12, 0)
    assert max(layer["u_largest"][0] for layer in cut.layers) <= 0.8 + 0.01  # one update moves u by its rate at most


def test_the_look_makes_the_updates_that_training_makes(small):
    """Twice the same losses: with looks at every second update, and with none but training's own."""
    words = [*start_of_u.COMMON, *start_of_u.STARTS["N(0.4, 0.1)"], "seed=0"]
    data, task = run.build(configs.build(words))
    data.setup()
    plain = [task.make_update(data.train_batch(number))[0].item() / math.log(2) for number in range(4)]
    assert start_of_u.train("N(0.4, 0.1)", 12, 0).losses == plain


def test_wide_layers_of_the_profile_fast_do_not_drown_in_their_states():
    """Ten carried batches, 2,000 wide, before any update: from u near 1 states grow until nothing else is seen."""
    words = ("experiment=fast/ptb_char", "model=indrnn", "model.num_layers=6", "data.batch_size=8", "seed=0", *KJV[:2])
    data, task = run.build(configs.build(words))
    data.setup()
    rms = {}
    for number, unit in enumerate(layer_by_layer.layers(task.network)):
        unit.watch = lambda h, number=number: rms.update({number: h.float().square().mean().sqrt().item()})
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for number in range(10):
            task.measure(data.train_batch(number))
    assert len(rms) == 6 and max(rms.values()) < 3


def made_up(persistent: float, validation: float, near_one: tuple[float, float], zeros: float) -> start_of_u.Network:
    layer = dict.fromkeys(start_of_u.WHAT, [1.0, 1.0]) | {"persistent": [0.4, persistent], "near_one": list(near_one)}
    return start_of_u.Network(
        "made up", 12, 0, "0" * 12, 1, [4.0], [0, 1], [layer] * 3, [1.0], [zeros], validation, 4.3
    )


def test_a_claim_is_told_with_the_networks_that_it_is_about():
    drowned, learns = made_up(0.9, 4.6, (2.0, 3.0), 20.0), made_up(0.1, 3.0, (0.0, 0.0), 1.0)
    found = {(12, "a"): [drowned, drowned], (12, "b"): [learns]}
    rows = [start_of_u_report.judged(claim, found)[1:] for claim in start_of_u.CLAIMS]
    assert rows == [["holds", "2 of 2"], ["holds", "1 of 1"], ["holds", "2 of 2"], ["holds", "1 of 1"]]
    found[12, "a"].append(made_up(0.9, 4.0, (0.0, 1.0), 2.0))  # persists, and yet is better; u drifts to 1; no gradient
    rows = [start_of_u_report.judged(claim, found)[1:] for claim in start_of_u.CLAIMS]
    assert rows == [["undecided", "2 of 3"], ["holds", "1 of 1"], ["undecided", "2 of 3"], ["undecided", "1 of 2"]]
    assert start_of_u_report.judged(next(iter(start_of_u.CLAIMS)), {})[1:] == ["undecided", "0 of 0"]


def test_published_and_rendered_from_what_is_there(small, tmp_path, capsys):
    text = start_of_u_report.publish(tmp_path, [12], list(start_of_u.STARTS)[:2])
    assert text.count("| N(0.4, 0.2) ") == 1 and "## 12 neurons a layer, 4 updates, 1 seed" in text
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".json", ".md", ".png"]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert "12 neurons" in capsys.readouterr().err
    start_of_u_report.publish(tmp_path, [12], list(start_of_u.STARTS)[:2])  # nothing is trained again
    assert capsys.readouterr() == ("", "")
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_the_published_page_is_made_of_the_published_networks():
    out = ROOT / "results" / "start_of_u"
    found, abouts = start_of_u_report.read(out)
    seeds = {key: [network.seed for network in networks] for key, networks in found.items()}
    assert seeds == {(w, start): list(start_of_u.SEEDS[w]) for w in start_of_u.WIDTHS for start in start_of_u.STARTS}
    assert (out / "README.md").read_text() == start_of_u_report.markdown(found, abouts)
    assert not any(about["dirty"] for about in abouts) and len(list(out.glob("*.json"))) == len(abouts)


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="no 13; there are: 2000, 256"):
        start_of_u_report.publish(tmp_path, [13], [])
    with pytest.raises(UserError, match="make start-of-u"):
        start_of_u_report.render_all(tmp_path)
