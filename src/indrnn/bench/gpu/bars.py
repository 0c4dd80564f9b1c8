"""What the benchmark judges itself against: the bars, and each with what was measured.

Shapes: T time; columns: neurons times sequences.
"""

from dataclasses import dataclass
from typing import Any

from indrnn.bench.gpu.layers import ADDING, WIDE, ratios
from indrnn.bench.gpu.training import against_replay
from indrnn.bench.gpu.update import against_parts

Rows = list[dict[str, Any]]

OF_COPY = (  # T, columns, dtype: a forward and a backward pass reach at least this share of a copy's bandwidth
    (784, 4096, "fp32", 0.65, 0.5),
    (5000, 4096, "fp32", 0.5, 0.5),
    (50, 256_000, "fp32", 0.9, 0.8),
    (50, 256_000, "bf16", 0.9, 0.8),
)
LSTM = (  # T: cuDNN's LSTM takes at least so many times as long as one layer, in a graph and eagerly
    (256, 6.0, 2.5),
    (512, 11.0, 4.5),
    (1024, 20.0, 8.0),
)
PARTS = (  # network, precision: an update in a graph takes at most so many times as long as its parts
    ("plain-6 MNIST", "fp32", 1.3),
    ("PTB characters", "bf16", 1.3),
)
TRAINING = (("plain-6 MNIST", "fp32", 1.15),)  # at most so many times as long as replays of the same update
VALIDATING = (("plain-6 MNIST", "fp32", 3000, 60.0),)  # images, which take at most so many updates


@dataclass(frozen=True)
class Judged:
    """A bar and what was measured, None where it was not."""

    what: str
    bar: float
    measured: float | None
    at_least: bool = True

    @property
    def reached(self) -> bool | None:
        """None where nothing was measured."""
        if self.measured is None:
            return None
        return self.measured >= self.bar if self.at_least else self.measured <= self.bar


def judged(measured: dict[str, Rows]) -> list[Judged]:
    """All bars, in the order of the tables above."""
    return [
        *of_copy(measured.get("recurrence", [])),
        *lstm(measured.get("layers", [])),
        *parts(measured.get("updates", []), measured.get("parts", [])),
        *training(measured.get("training", []), measured.get("updates", [])),
    ]


def of_copy(rows: Rows) -> list[Judged]:
    rows = [x | {"columns": x["B"] * x["N"]} for x in rows]
    lines = []
    for T, columns, dtype, forward, backward in OF_COPY:
        for what, bar in (("forward", forward), ("backward", backward)):
            share = value(rows, "of_copy", T=T, columns=columns, dtype=dtype, what=what)
            lines.append(Judged(f"({T}, {columns:,} columns) {dtype}, {what}: share of a copy", bar, share))
    return lines


def lstm(rows: Rows) -> list[Judged]:
    """In full float32, as on the paper's P100, which has no TF32."""
    found, lines = ratios(rows), []
    for setting, name in ((ADDING, "P19 Figure 2"), (WIDE, WIDE)):
        for T, in_graph, eager in LSTM:
            for mode, words, bar in (("graph", "in a graph", in_graph), ("eager", "eager", eager)):
                ratio = value(found, "ratio", setting=setting, precision="fp32", mode=mode, T=T)
                lines.append(Judged(f"cuDNN's LSTM / one layer, {name}, T = {T}, {words}", bar, ratio))
    return lines


def parts(updates: Rows, alone: Rows) -> list[Judged]:
    found, lines = against_parts(updates, alone), []
    for what, precision, bar in PARTS:
        ratio = value(found, "ratio", what=what, precision=precision, mode="graph")
        words = f"update of {what} in a graph, {precision} / its parts in graphs"
        lines.append(Judged(words, bar, ratio, at_least=False))
    return lines


def training(rows: Rows, updates: Rows) -> list[Judged]:
    found, lines = against_replay(rows, updates), []
    for what, precision, bar in TRAINING:
        ratio = value(found, "ratio", what=what, precision=precision)
        words = f"update of {what} in indrnn.train, {precision} / a replay of its graph"
        lines.append(Judged(words, bar, ratio, at_least=False))
    for what, precision, images, bar in VALIDATING:
        count = value(rows, "in_updates", what=what, precision=precision, images=images)
        words = f"recalibrating and validating {images:,} images, {precision}: updates of {what}"
        lines.append(Judged(words, bar, count, at_least=False))
    return lines


def value(rows: Rows, key: str, **where: Any) -> float | None:
    """The value of the first row with all that ``where`` says, None where there is none or it was not measured."""
    return next((row.get(key) for row in rows if where.items() <= row.items()), None)
