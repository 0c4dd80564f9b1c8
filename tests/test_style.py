"""Every picture goes through indrnn.style; models differ for a deuteranope and in grey; axes have labels with units."""

import ast
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from house import SOURCES, wing
from made_up import make
from matplotlib.colors import to_rgb

from indrnn import configs, files, style
from indrnn.bench.gpu import figure as bench
from indrnn.bench.gpu import layers
from indrnn.studies import gradients_report, start_of_u_report
from indrnn.studies.ablations import draw as ablations
from indrnn.studies.neurons import activations, draw_adding
from indrnn.studies.neurons import report as neurons
from indrnn.tables import draw_milestones, draw_over_examples, figures, judged, milestones, over_examples, schema

RESULTS = files.ROOT / "results"
# Machado, Oliveira, Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency": what a
# deuteranope sees of a linear RGB colour (severity 1.0).
DEUTERANOPE = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
# sRGB to XYZ, white D65 (IEC 61966-2-1)
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
MODELS = {name: look.color for name, look in style.MODELS.items()}


def linear(color: str) -> np.ndarray:
    value = np.array(to_rgb(color))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of a linear RGB colour: distances of 2.3 are just seen."""
    part = XYZ @ np.clip(rgb, 0, 1) / (XYZ @ np.ones(3))
    f = np.where(part > 0.008856, np.cbrt(part), 7.787 * part + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def seen(color: str) -> np.ndarray:
    return lab(DEUTERANOPE @ linear(color))


def grey(color: str) -> float:
    return lab(linear(color))[0]


def test_the_simulation_leaves_grey_and_takes_red_from_green():
    assert np.abs(seen("#808080") - lab(linear("#808080"))).max() < 0.5
    red, green = "#a5462a", "#5f7a1e"
    assert np.linalg.norm(seen(red) - seen(green)) < 0.5 * np.linalg.norm(lab(linear(red)) - lab(linear(green)))


@pytest.mark.parametrize("pair", list(itertools.combinations(MODELS, 2)), ids=" and ".join)
def test_models_differ_for_a_deuteranope_in_grey_and_without_colour(pair):
    one, other = pair
    assert np.linalg.norm(seen(MODELS[one]) - seen(MODELS[other])) > 15
    assert abs(grey(MODELS[one]) - grey(MODELS[other])) > 8
    a, b = style.MODELS[one], style.MODELS[other]
    assert a.dash != b.dash and a.marker != b.marker


def test_models_are_seen_on_white_and_beside_the_papers():
    for color in MODELS.values():
        assert np.linalg.norm(seen(color) - seen("#ffffff")) > 25
        assert np.linalg.norm(seen(color) - seen(style.PAPER.color)) > 25


def test_models_differ_on_a_dark_page_in_the_same_order():
    dark = [style.on_dark(color) for color in MODELS.values()]
    assert sorted(dark, key=grey) == [style.on_dark(color) for color in sorted(MODELS.values(), key=grey)]
    for one, other in itertools.combinations(dark, 2):
        assert np.linalg.norm(seen(one) - seen(other)) > 12  # between 59 and white there is less room
    assert all(grey(color) > 55 for color in dark) and style.on_dark(style.PAPER.color) == "#ffffff"


@pytest.mark.parametrize("look", [*style.MODELS.values(), style.PAPER], ids=lambda look: look.marker)
def test_a_look_on_a_screen_has_its_colour_its_dash_and_its_marker(look):
    shown = style.on_screen(look, 2.0)
    assert shown["color"] == look.color and bool(shown["dash"]) == (look.dash != "-") and len(shown["dash"]) % 2 == 0
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", shown["marker"])]
    assert shown["marker"][0] == "M" and shown["marker"][-1] == "Z" and 4 <= max(map(abs, numbers)) <= 7.1
    assert style.outline("^").startswith("M0.0 -5.0")  # y goes downwards on a screen


@pytest.mark.parametrize("count", range(1, 9))
def test_settings_go_from_dark_to_light(count):
    looks = style.steps(count)
    lightness = [grey(look.color) for look in looks]
    assert len(looks) == count and all(b - a > 5 for a, b in itertools.pairwise(lightness))
    assert len({(look.dash, look.marker) for look in looks}) == count
    for a, b in itertools.pairwise(looks):
        assert np.linalg.norm(seen(a.color) - seen(b.color)) > 5


def test_a_label_has_the_look_of_the_model_that_it_names():
    labels = ["LSTM", "IRNN", "IRNN + clipping", "IndRNN (6 layers)", "IndRNN (12 layers)", 'res-IndRNN ("12" layers)']
    lstm, irnn, clipped, six, twelve, res = style.looks(labels)
    assert (lstm, irnn, six, res) == tuple(style.MODELS[name] for name in ("LSTM", "IRNN", "IndRNN", "res-IndRNN"))
    for again, first in ((clipped, irnn), (twelve, six)):
        assert again.marker == first.marker and again.hollow and again.dash != first.dash
        assert grey(again.color) > grey(first.color) + 5
    assert style.model_of("slow, LSTM") == "LSTM" and style.model_of("u from N(0.4, 0.1)") == ""
    with pytest.raises(KeyError):
        style.looks(["GPT"])


def test_accuracies_are_drawn_by_their_error_and_keep_their_numbers():
    page = style.figure(4, 3)
    axes = page.subplots()
    axes.plot([1, 2, 3], [90, 99, 99.9])
    style.accuracies(axes, [90, 99, 99.9])
    low, middle, high = (axes.transData.transform((1, value))[1] for value in (90, 99, 99.9))
    assert middle - low == pytest.approx(high - middle)  # a tenth of the error is the same step
    assert [text.get_text() for text in axes.get_yticklabels()][0] == "90"
    assert axes.transData.inverted().transform((0, middle))[1] == pytest.approx(99)


def test_all_drawing_goes_through_the_style():
    """No other file makes a page, saves one or names a colour: use style.figure, style.save and looks."""
    for path in SOURCES:
        if path.name == "style.py" and wing(path) == "ground":
            continue
        text = path.read_text(encoding="utf-8")
        names = {
            node.attr if isinstance(node, ast.Attribute) else node.id
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Attribute | ast.Name)
        }
        assert not names & {"savefig", "pyplot", "rcParams", "subplots_adjust"}, path
        assert "Figure(" not in text and "pyplot" not in text, path
        if "axes" in names:
            assert not set(re.findall(r"#[0-9a-f]{6}\b", text)) - ALLOWED, path


ALLOWED = {"#909090", "#eeeeee", "#b9cde0", "#9a9a9a"}  # greys of the rest, and regions under a curve


TABLES = (("paper", "figure2_adding"), ("quick", "depth_pmnist"))


def drawn() -> dict[str, Callable[[Path], object]]:
    """What draws every picture that the project has, from what is published or made up."""
    runs, jobs = RESULTS / "runs", {}
    for profile, name in TABLES:
        report = judged.report(name, profile, runs)
        jobs[f"{profile}/{name}"] = lambda out, report=report: figures.draw(report, runs, out)
    for name in milestones.names():
        if found := milestones.courses(name, runs):
            what = milestones.load(name)
            jobs[f"milestones/{name}"] = lambda out, what=what, found=found: draw_milestones.draw(what, found, out)
    for name, panels in over_examples.of_tables(over_examples.panels(runs)).items():
        jobs[over_examples.picture(name)] = lambda out, panels=panels: draw_over_examples.draw(panels, out)
    pairs = [judged.report("ablation_pmnist", "quick", runs)]
    jobs["ablations"] = lambda out: ablations.courses(pairs, runs, out)
    start, _ = start_of_u_report.read(RESULTS / "start_of_u")
    jobs["start_of_u"] = lambda out: start_of_u_report.draw(start, out)
    jobs["gradients"] = lambda out: gradients_report.draw(gradients_report.read(RESULTS / "gradients"), out)
    jobs |= neurons.pictures(*neurons.read(RESULTS / "figures/quick"))
    jobs["p18_figure3_activations"] = lambda out: draw_adding.activations(adding_states(), out)
    jobs["bench"] = lambda out: bench.figure2(measured(), out)
    return jobs


def measured() -> dict:
    """A benchmark of a GPU as far as its picture reads it."""
    common = {"setting": layers.ADDING, "precision": "fp32", "T": 256}
    rows = [
        common | {"mode": mode, "what": what, "ms": ms}
        for mode, what, ms in (
            *(("eager", layers.LSTM, 4.0), ("eager", layers.FIRST, 2.0)),
            *(("graph", layers.LSTM, 3.0), ("graph", layers.FIRST, 1.0)),
        )
    ]
    gpu = dict.fromkeys(("name", "driver", "cuda", "cudnn", "triton"), "made up")
    return {"measured": {"layers": rows}, "gpu": gpu, "versions": {"torch": "2"}, "commit": "0" * 40}


def adding_states() -> activations.Activations:
    import torch

    first, second = torch.rand(20, 8), torch.rand(20, 8).cumsum(0)
    return activations.Activations(
        values=[0.5] * 20, marks=[3, 12], target=1.0, first=first, second=second, spiking=[0, 3, 5], integrator=2,
        weight=0.1, bias=0.2, signature="0" * 12, updates=10,
    )  # fmt: skip


def test_every_published_picture_is_of_a_kind_that_is_drawn(pages):
    kinds = {schema.load_table(name).figure for _, name in TABLES}
    for path in RESULTS.rglob("*.png"):
        folder = path.parent.relative_to(RESULTS).as_posix()
        if folder in configs.PROFILES:
            assert schema.load_table(path.stem).figure in kinds
        else:
            names = {path.stem, path.name, f"{folder}/{path.stem}", folder}
            assert names & set(pages), path


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Every picture as matplotlib's Figure, by its name."""
    found, path = {}, tmp_path_factory.mktemp("pages") / "page.png"
    with pytest.MonkeyPatch.context() as patch:
        for name, draw in drawn().items():

            def keep(page, part, name=name):
                part.touch()
                found[name] = page

            patch.setattr(style, "save", keep)
            draw(path)
    return found


def label(axes, page, which: str) -> str:
    """An axis' label: its own, that of one that shares it, or the page's."""
    own = getattr(axes, f"get_{which}label")()
    shared = getattr(axes, f"get_shared_{which}_axes")().get_siblings(axes)
    others = [getattr(one, f"get_{which}label")() for one in shared]
    whole = getattr(page, f"_sup{which}label", None)
    return own or next(filter(None, others), "") or (whole.get_text() if whole else "")


def test_every_axis_has_a_label_with_its_unit(pages):
    for name, page in pages.items():
        assert page.axes, name
        for axes in page.axes:
            for which in "xy":
                assert re.search(r"\S \([^()]+\)(, .*)?$", label(axes, page, which)), (
                    name,
                    which,
                    axes.get_title("left"),
                )


def test_no_axes_are_empty(pages):
    for name, page in pages.items():
        for axes in page.axes:
            assert axes.get_visible(), name
            curves = [line for line in axes.lines if len(line.get_xdata()) and line.get_transform() == axes.transData]
            assert curves or axes.patches or axes.collections or axes.child_axes, (name, axes.get_title("left"))


def test_nothing_hangs_over_the_edge(pages):
    for name, page in pages.items():
        page.draw_without_rendering()
        box = page.get_tightbbox()
        width, height = page.get_size_inches()
        assert box.x0 > -0.02 and box.y0 > -0.02 and box.x1 < width + 0.02 and box.y1 < height + 0.02, name


def test_a_column_without_a_curve_is_named_and_has_no_panel(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(style, "save", lambda page, path: found.append(page))
    make(tmp_path, "figure2_adding", "paper", lambda run: 0.2 if run.column == "T = 500" else None)
    figures.curves(judged.report("figure2_adding", "paper", tmp_path), tmp_path, tmp_path / "x.png")
    (page,) = found
    assert [axes.get_title("left") for axes in page.axes] == ["T = 500"]
    assert "No curve yet: T = 100, T = 1000, T = 5000." in page._supxlabel.get_text().replace("\n", " ")


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("≈ 0 by 2k updates", (2.0, 0.0)),
        ("≈ 0 by 5.5k updates", (5.5, 0.0)),
        ("≈ 0 by 5-10k updates", (7.5, 0.0)),
        ("plateau ≈ 0.035", (60.0, 0.035)),
        ("near 0.167", (60.0, 0.167)),
        ("0.167", (60.0, 0.167)),
        ("-", None),
        (1.0, None),
        (None, None),
    ],
)
def test_the_papers_words_are_places(words, place):
    assert figures.star(words, 60.0) == place


def test_a_page_of_several_models_has_their_colours_and_one_of_settings_has_not(pages):
    (axes,) = pages["milestones/own_series"].axes
    assert {axes.lines[0].get_color(), axes.lines[3].get_color()} == {MODELS["IndRNN"], MODELS["LSTM"]}
    (axes,) = pages["milestones/pmnist_196"].axes
    assert not {line.get_color() for line in axes.lines} & set(MODELS.values())


def test_small_networks_are_drawn_over_their_peak_rate(pages):
    (axes,) = pages["milestones/ptb_char_small"].axes
    lines = [line for line in axes.lines if len(line.get_xdata()) > 1]
    assert len(lines) == 4 and all(list(line.get_xdata()) == sorted(line.get_xdata()) for line in lines)
    ours = lines[0]
    assert list(ours.get_xdata()) == [1e-3, 2e-3, 4e-3, 8e-3] and ours.get_color() == MODELS["IndRNN"]
    assert ours.get_ydata()[-1] == pytest.approx(1.826, abs=1e-3)
