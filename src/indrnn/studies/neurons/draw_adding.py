"""P18 Figures 3 and 4 as png: what single neurons do on the adding problem."""

import statistics
from pathlib import Path

from indrnn import style
from indrnn.adding_numbers import SOLVED
from indrnn.studies.neurons.activations import Activations
from indrnn.studies.neurons.integrator import KINDS, Cut

OURS = style.MODELS["IndRNN"]
QUIET = {"color": style.QUIET, "linewidth": 0.5}


def activations(seen: Activations, path: Path) -> None:
    """Values and marks; layer 1, whose neurons spike at the marks; layer 2, where one neuron adds up."""
    page = style.figure(9.0, 7.2)
    inputs, first, second = page.subplots(3, 1, sharex=True, height_ratios=(1, 1.6, 1.9))
    steps = range(1, len(seen.values) + 1)
    inputs.plot(steps, seen.values, color="#909090", linewidth=0.7, label="value of a step")
    marks = [mark + 1 for mark in seen.marks]
    marked = [seen.values[mark] for mark in seen.marks]
    inputs.plot(marks, marked, color="black", linestyle="", marker="o", label="marked")
    for place, value in zip(marks, marked, strict=True):
        words = {"xytext": (7, 0), "textcoords": "offset points", "va": "center"}
        inputs.annotate(f"{value:.2f}", (place, value), bbox={"color": "white", "pad": 1}, **words)
    inputs.set_ylabel("input (units)")
    inputs.set_ylim(-0.05, 1.6)
    inputs.set_title(f"Input: the marked values add up to {seen.target:.2f}", fontsize=10)

    first.plot(steps, seen.first, **QUIET)
    for number, look in zip(seen.spiking, style.steps(len(seen.spiking)), strict=True):
        first.plot(steps, seen.first[:, number], **look.line(1.8), label=f"neuron {number}")
    first.set_ylabel("state h of layer 1 (no unit)")
    first.set_ylim(top=1.3 * float(seen.first.max()) or None)
    first.set_title("Layer 1: some neurons answer to marks alone", fontsize=10)

    second.plot(steps, seen.second, **QUIET)
    line = seen.second[:, seen.integrator]
    second.plot(steps, line, **OURS.line(2.2), label=f"neuron {seen.integrator}, the integrator")
    words = f"state that answers {seen.target:.2f}"
    second.axhline(seen.state(seen.target), color="black", linestyle="--", linewidth=1, label=words)
    second.set_ylabel("state h of layer 2 (no unit)")
    second.set_ylim(*room([*line.tolist(), seen.state(seen.target)]))
    second.secondary_yaxis("right", functions=(seen.answer, seen.state)).set_ylabel("answer a h + c (units)")
    second.set_title("Layer 2: one neuron moves at the marks and keeps the sum of both moves", fontsize=10)
    second.set_xlabel("time t (steps)")
    for axes in (inputs, first, second):
        for place in marks:
            axes.axvline(place, color="black", linewidth=0.6, alpha=0.5, zorder=0)
        axes.legend(loc="upper left", fontsize=8, framealpha=0.9, handlelength=3, ncols=3)
    second.set_xlim(0, len(seen.values) + 1)
    note = f"Thin grey: all other neurons. Two layers of IndRNN after {seen.updates:,} updates, T = {len(seen.values)}"
    style.note(page, f"{note}, one sequence that no update has seen.", 160)
    style.save(page, path)


def room(heights: list[float]) -> tuple[float, float]:
    """Limits around the integrator and below the legend; the others may leave the picture."""
    low, high = min(heights), max(heights)
    return low - 0.08 * (high - low), high + 0.3 * (high - low)


def one_neuron(cuts: dict[int, list[Cut]], chance: float, path: Path) -> None:
    """Test mse of the full network and of single neurons, one panel per budget; seeds as dots, means as lines.

    Args:
        chance: mse of the best constant answer on the test set.
    """
    page = style.figure(3.0 * len(cuts) + 1.2, 4.6)
    panels = page.subplots(1, len(cuts), squeeze=False, sharey=True)[0]
    for axes, (budget, found) in zip(panels, cuts.items(), strict=True):
        columns = {"all": [cut.full for cut in found]}
        columns |= {kind: [cut.neuron(kind).after for cut in found] for kind in KINDS}
        for place, values in enumerate(columns.values()):
            color = OURS.color if place < 2 else "#909090"
            axes.plot(beside(place, values), values, linestyle="", marker="o", markersize=6, color=color)
            mean = statistics.fmean(values)
            axes.plot([place - 0.3, place + 0.3], [mean, mean], color=color, linewidth=1.5)
        for place, kind in enumerate(KINDS, 1):
            values = [cut.neuron(kind).before for cut in found]
            axes.plot(beside(place, values), values, linestyle="", marker="x", markersize=5, color="black")
        for level, words, dash in ((SOLVED, f"{SOLVED:g}: solved", "--"), (chance, f"chance {chance:#.3g}", ":")):
            axes.axhline(level, color="black", linestyle=dash, linewidth=1)
            edge = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
            axes.annotate(words, (0.01, level), xytext=(0, 2), va="bottom", fontsize=7.5, **edge)
        axes.set_yscale("log")
        axes.set_xticks(range(len(columns)), list(columns))
        axes.set_title(f"after {budget:,} updates", fontsize=10)
    panels[0].set_ylabel("test mse (squared units)")
    page.supxlabel("what is left of layer 2 (all neurons, or one)", fontsize=10)
    words = "Dots: seeds, output unit found again for the neuron; lines: means; crosses: seeds, output unit as trained"
    page.suptitle(words, fontsize=9)
    style.save(page, path)


def beside(place: float, values: list[float]) -> list[float]:
    """Places of seeds side by side."""
    return [place + 0.12 * (i - (len(values) - 1) / 2) for i in range(len(values))]
