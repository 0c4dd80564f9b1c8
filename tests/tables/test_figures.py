import itertools
import math
import shutil
import subprocess
import sys

import pytest
from made_up import make, record_of
from matplotlib.text import Text

from indrnn import record, style
from indrnn.adding_numbers import chance
from indrnn.data import TEST, VAL
from indrnn.tables import figures, judged


@pytest.mark.parametrize("profile", ["quick", "paper"])
def test_figure_is_drawn_with_and_without_curves(tmp_path, profile):
    sizes = []
    for _ in range(2):
        figures.curves(judged.report("figure2_adding", profile, tmp_path), tmp_path, tmp_path / "figure.png")
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
        figures.draw(judged.report(name, "quick", tmp_path / "runs"), tmp_path / "runs", tmp_path / "figure.png")
        pictures.append((tmp_path / "figure.png").read_bytes())
    assert pictures[0].startswith(b"\x89PNG") and len(set(pictures)) == 3


def test_axis_figure_draws_the_true_number_of_layers(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(style.Figure, "savefig", lambda figure, *_, **__: drawn.append(figure.axes[0]))
    runs = make(tmp_path, "depth_pmnist", "quick", lambda run: 10.0 * run.config["model"]["num_layers"] ** 0.5)
    record.write(tmp_path / runs[0].signature, record_of(runs[0], status="diverged"), [])
    figures.over_axis(judged.report("depth_pmnist", "quick", tmp_path), tmp_path / "figure.png")
    lines = {line.get_label(): line for line in drawn[0].lines}
    assert list(lines["res-IndRNN"].get_xdata()) == [3, 5, 9, 13, 21]
    assert list(lines["IndRNN"].get_ydata()) == pytest.approx([10 * n**0.5 for n in (1, 2, 4, 8, 12, 21)])
    assert math.isnan(lines["LSTM"].get_ydata()[0])
    assert {text.get_text() for text in drawn[0].texts} == {"chance\n90%", "LSTM", "1/3"}


STATES = {  # the status of a run; None where it is missing
    "all there": lambda run: "finished",
    "one row there": lambda run: "finished" if run.row == "LSTM" else None,
    "every row failed": lambda run: "diverged" if run.seed == 1 else "finished",
    "a reason each": lambda run: {"IRNN": "out_of_memory", "LSTM": None, "IndRNN": "diverged"}.get(
        run.row, "finished" if run.seed else None
    ),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("figure2_adding", "quick"),
        ("figure2_adding", "fast"),
        ("sensitivity_adding", "quick"),
        ("depth_pmnist", "quick"),
    ],
)
def test_words_lie_neither_in_a_panel_nor_on_each_other(tmp_path, monkeypatch, name, profile, state):
    drawn = []
    monkeypatch.setattr(style.Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    for run in make(tmp_path, name, profile, lambda run: 0.2 if STATES[state](run) == "finished" else None):
        if (status := STATES[state](run)) not in (None, "finished"):
            record.write(tmp_path / run.signature, record_of(run, status=status), [{"update": 50, "val/mse": 0.24}])
    figures.draw(judged.report(name, profile, tmp_path), tmp_path, tmp_path / "figure.png")
    (figure,) = drawn
    figure.draw_without_rendering()
    texts = [child for axes in figure.axes for child in axes.get_children() if isinstance(child, Text)]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    assert len(boxes) >= len(figure.axes)
    for words, box in boxes:
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, words
        assert not any(box.overlaps(axes.bbox) for axes in figure.axes), words
    for (words, box), (others, other) in itertools.combinations(boxes, 2):
        assert not box.overlaps(other), f"{words!r} lies on {others!r}"


def test_panels_name_their_missing_rows_and_mark_chance_of_their_own_validation_set(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(style.Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    runs = make(tmp_path, "figure2_adding", "fast", lambda run: 0.2 if run.row == "IndRNN" else None)
    last = next(run for run in runs if run.column == "T = 5000" and run.row == "IndRNN")
    record.write(tmp_path / last.signature, record_of(last, status="diverged"), [])
    figures.curves(judged.report("figure2_adding", "fast", tmp_path), tmp_path, tmp_path / "figure.png")
    first, *_, longest = drawn[0].axes
    assert first.get_title("left") == "T = 100"
    assert first.get_title("right") == "RNN-tanh, LSTM, IRNN: incomplete 0/3"
    assert longest.get_title("right") == "RNN-tanh, LSTM, IRNN: not run in the paper\nIndRNN: failed 1/3"
    for axes, T in zip(drawn[0].axes, (100, 500, 1000, 5000), strict=True):
        (text,) = axes.texts
        level = chance(VAL, T, 1000)
        assert text.get_text() == f"chance\n{level:.3f}"
        assert [level, level] in [list(line.get_ydata()) for line in axes.lines]


def test_an_axis_marks_chance_of_the_test_set(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(style.Figure, "savefig", lambda figure, *_, **__: drawn.append(figure.axes[0]))
    figures.draw(judged.report("sensitivity_adding", "quick", tmp_path), tmp_path, tmp_path / "figure.png")
    heights = {line.get_ydata()[0] for line in drawn[0].lines if len(line.get_ydata())}
    assert {chance(TEST, 100, 1000), 0.01} <= heights


def test_drawing_and_rendering_start_without_torch():
    code = "import sys, indrnn.tables.render, indrnn.tables.figures; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_curve_reads_one_column_and_skips_what_was_not_measured(tmp_path):
    (tmp_path / "curve.csv").write_text("update,train/loss,val/mse\n50.0,0.5,\n100,0.4,0.3\n")
    assert figures.curve(tmp_path, "val/mse") == {100: 0.3}
    assert figures.curve(tmp_path, "val/error") == {}
    assert figures.curve(tmp_path / "none", "val/mse") == {}
    assert record.curve(tmp_path) == [
        {"update": 50, "train/loss": 0.5},
        {"update": 100, "train/loss": 0.4, "val/mse": 0.3},
    ]
