import math
import shutil

import pytest
from made_up import make, record_of

from indrnn import figures, record, tables


@pytest.mark.parametrize("profile", ["quick", "paper"])
def test_figure_is_drawn_with_and_without_curves(tmp_path, profile):
    sizes = []
    for _ in range(2):
        figures.curves(tables.report("figure2_adding", profile, tmp_path), tmp_path, tmp_path / "figure.png")
        picture = (tmp_path / "figure.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        sizes.append(len(picture))
        make(tmp_path, "figure2_adding", profile, lambda run: 0.2 + run.seed / 100)
    assert sizes[1] != sizes[0]


@pytest.mark.parametrize("name", ["depth_pmnist", "sensitivity_adding"])
def test_axis_figure_is_drawn_in_every_state(tmp_path, name):
    """Without records, with all of them, with a diverged and a missing one."""
    pictures = []
    for state in range(3):
        if state == 1:
            runs = make(tmp_path / "runs", name, "quick", lambda run: 0.2 + run.seed / 100)
        if state == 2:
            record.write(tmp_path / "runs" / runs[0].signature, record_of(runs[0], status="diverged"), [])
            shutil.rmtree(tmp_path / "runs" / runs[-1].signature)
        figures.draw(tables.report(name, "quick", tmp_path / "runs"), tmp_path / "runs", tmp_path / "figure.png")
        pictures.append((tmp_path / "figure.png").read_bytes())
    assert pictures[0].startswith(b"\x89PNG") and len(set(pictures)) == 3


def test_axis_figure_draws_the_true_number_of_layers(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures.Figure, "savefig", lambda figure, *_, **__: drawn.append(figure.axes[0]))
    runs = make(tmp_path, "depth_pmnist", "quick", lambda run: 10.0 * run.config["model"]["num_layers"] ** 0.5)
    record.write(tmp_path / runs[0].signature, record_of(runs[0], status="diverged"), [])
    figures.over_axis(tables.report("depth_pmnist", "quick", tmp_path), tmp_path / "figure.png")
    lines = {line.get_label(): line for line in drawn[0].lines}
    assert list(lines["res-IndRNN"].get_xdata()) == [3, 5, 9, 13, 21]
    assert list(lines["IndRNN"].get_ydata()) == pytest.approx([10 * n**0.5 for n in (1, 2, 4, 8, 12, 21)])
    assert math.isnan(lines["LSTM"].get_ydata()[0])
    assert {text.get_text() for text in drawn[0].texts} == {"chance 90%", "LSTM 1/3"}


def test_curve_reads_one_column_and_skips_what_was_not_measured(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("update,train/loss,val/mse\n50,0.5,\n100,0.4,0.3\n")
    assert figures.curve(path, "val/mse") == {100: 0.3}
    assert figures.curve(path, "val/error") == {}
    assert figures.curve(tmp_path / "none.csv", "val/mse") == {}
