"""The picture of the benchmark: cuDNN's LSTM over IndRNN as P19 Figure 2 has it, and here. T: time steps."""

from pathlib import Path
from typing import Any

from indrnn import files, style
from indrnn.bench.gpu.layers import ADDING, PAPER, ratios

WIDTH = 0.27  # of a bar; three stand beside each other at every T
OURS = style.MODELS["IndRNN"].color
BARS = {
    "P19 Figure 2, P100": style.PAPER.color,
    "here, eager": style.lighter(OURS, 0.5),
    "here, in a graph": OURS,
}


def series(rows: list[dict[str, Any]]) -> dict[str, dict[int, float]]:
    """LSTM / IndRNN by T: the paper's, and in float32 at its setting ours as Python launches it and in a graph."""
    ours = [x for x in ratios(rows) if (x["setting"], x["precision"]) == (ADDING, "fp32")]
    by = {mode: {x["T"]: x["ratio"] for x in ours if x["mode"] == mode} for mode in ("eager", "graph")}
    return dict(zip(BARS, (PAPER, by["eager"], by["graph"]), strict=True))


def figure2(found: dict[str, Any], path: Path) -> bool:
    """Draw it into the png ``path``; False where nothing was measured."""
    drawn = series(found["measured"].get("layers", []))
    lengths = sorted({T for one in list(drawn.values())[1:] for T in one})
    if not lengths:
        return False
    page = style.figure(7.0, 4.4)
    axes = page.subplots()
    for place, (label, color) in enumerate(BARS.items()):
        there = [(i + (place - 1) * WIDTH, drawn[label][T]) for i, T in enumerate(lengths) if T in drawn[label]]
        columns = axes.bar(*zip(*there, strict=True), WIDTH * 0.94, color=color, label=label) if there else ()
        if columns:
            axes.bar_label(columns, fmt="%.1f", fontsize=8, padding=2)
    style.mark(axes, 1, "as fast")
    axes.set_xticks(range(len(lengths)), [f"{T:,}" for T in lengths])
    axes.set_xlabel("T (steps)")
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("time of cuDNN's LSTM (times that of IndRNN)")
    axes.margins(y=0.1)
    axes.spines[["top", "right"]].set_visible(False)
    page.legend(loc="outside upper center", ncols=len(BARS), frameon=False)
    gpu = found["gpu"]
    note = f"One layer of each, forward and backward, at the setting of P19 Figure 2, float32. {gpu['name']}, driver "
    note += f"{gpu['driver']}, CUDA {gpu['cuda']}, cuDNN {gpu['cudnn']}, torch {found['versions']['torch']}, "
    note += f"Triton {gpu['triton']}; commit {found['commit'][:7]}."
    style.note(page, note, 110)
    files.replace_whole(path, lambda part: style.save(page, part))
    return True
