"""P19 Figure 5 and Table 1 as png: recurrent weights, and how long they remember."""

from pathlib import Path

import numpy as np
import torch

from indrnn import style
from indrnn.studies.memory_length import memory_length, weight_range
from indrnn.studies.neurons.weights import EPS, Weights, at_bound

OURS = style.MODELS["IndRNN"]
BINS = 40


def histograms(found: Weights, path: Path) -> None:
    """One panel a layer: u after training filled, before as an outline, the bound dashed."""
    rows = -(-len(found.end) // 3)
    page = style.figure(9.6, 2.6 * rows + 0.9)
    grid = [page.add_subplot(rows, 3, place + 1) for place in range(len(found.end))]
    bins = np.linspace(-found.bound, found.bound, BINS + 1) * (1 + 1e-6)  # a clipped u is the bound in float32
    for number, (axes, before, after) in enumerate(zip(grid, found.start, found.end, strict=True), 1):
        axes.hist(after, bins, weights=each(after), color=style.lighter(OURS.color, 0.5), label="after training")
        axes.hist(before, bins, weights=each(before), histtype="step", color="black", label="before")
        for sign in (-1, 1):
            label = "bound ±γ^(1/T)" if sign > 0 else None
            axes.axvline(sign * found.bound, color="black", linestyle="--", linewidth=1, label=label)
        words = f"{100 * at_bound(after, found.bound):.0f}% at the bound\n"
        words += f"{100 * sum(u < 0 for u in after) / len(after):.0f}% below 0"
        axes.text(0.09, 0.95, words, transform=axes.transAxes, va="top", fontsize=8)
        axes.set_title(f"layer {number}", fontsize=10)
        axes.margins(y=0.15)
    page.supxlabel("recurrent weight u (no unit)", fontsize=10)
    page.supylabel("share of the layer's neurons (%)", fontsize=10)
    handles, labels = grid[0].get_legend_handles_labels()
    page.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    style.save(page, path)


def each(u: list[float]) -> list[float]:
    return [100 / len(u)] * len(u)


def memory(found: Weights, path: Path) -> None:
    """Left: P19 Table 1, memory length over abs(u), and its regions. Right: how far the neurons of each layer reach."""
    page = style.figure(10.4, 4.7)
    left, right = page.subplots(1, 2)
    T = found.seq_len
    low, high = weight_range(T, EPS, found.gamma)
    sizes = np.concatenate([np.linspace(0.01, 0.9, 200), 1 - np.geomspace(0.1, 1e-5, 400)])
    left.plot(sizes, memory_length(torch.tensor(sizes), EPS), **OURS.line())
    left.set_yscale("log")
    left.set_ylim(0.5, 100 * T)
    left.axhline(T, color="black", linestyle=":", linewidth=1)
    left.annotate(f"T = {T}", (0.02, T), xytext=(0, 3), textcoords="offset points", fontsize=9)
    edge = high + 0.06
    for start, end, color, words in (
        (0, low, "#eeeeee", f"forgets: less than ε = {EPS:g} is left after T steps"),
        (low, high, "#b9cde0", "keeps its memory over T steps"),
        (high, edge, "#9a9a9a", "grows beyond γ in T steps: outside the bound"),
    ):
        left.axvspan(start, end, facecolor=color, zorder=0, linewidth=0, label=words)
    left.legend(loc="upper left", fontsize=8.5, framealpha=0.9)
    left.set_xlim(0, edge)
    left.set_xlabel("abs(u) (no unit)")
    left.set_ylabel(f"memory length, until less than {EPS:g} is left (steps)")
    left.set_title(f"ε^(1/T) = {low:.4f}, γ^(1/T) = {high:.4f} (γ = {found.gamma:g})", fontsize=10)
    reach(right, found)
    style.save(page, path)


def reach(axes, found: Weights) -> None:
    """Share of a layer's neurons over the steps that they remember at least; from abs(u) = 1 on without an end."""
    far = 100 * found.seq_len
    steps = np.geomspace(1, far, 300)
    looks = style.layers(len(found.end))
    for number, (u, look) in enumerate(zip(found.end, looks, strict=True), 1):
        lengths = memory_length(torch.tensor(u, dtype=torch.float64), EPS).numpy()
        reached = [100 * (lengths >= n).mean() for n in steps]
        axes.plot(steps, reached, **look.line(1.8), label=f"layer {number}")
    axes.axvline(found.seq_len, color="black", linestyle=":", linewidth=1)
    axes.annotate(f"T = {found.seq_len}", (found.seq_len, 101), xytext=(3, 0), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(1, far)
    axes.set_ylim(0, 106)
    axes.set_xlabel("n (steps)")
    axes.set_ylabel("neurons with a memory of at least n steps (%)")
    axes.set_title("the trained network", fontsize=10)
    axes.legend(loc="lower left", fontsize=8, handlelength=4, framealpha=0.9)
