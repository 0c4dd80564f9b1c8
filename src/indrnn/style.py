"""How every picture is drawn: one colour, dash and marker per model, one page, one way to save it.

The colours of models differ for a deuteranope and in grey, where each is lighter than the one before; dashes and
markers say the same again. What is no model, such as settings of one, goes from dark to light.
"""

import colorsys
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path as Path_
from matplotlib.ticker import NullLocator
from matplotlib.transforms import Transform

SMALL = 7.5  # points, of what stands beside a picture
Dash = str | tuple[float, tuple[float, ...]]


@dataclass(frozen=True)
class Look:
    """A colour, a dash and a marker, which is ``hollow`` for a variant of a model."""

    color: str
    dash: Dash
    marker: str
    hollow: bool = False

    def line(self, width: float = 2.0, **more: Any) -> dict[str, Any]:
        """For ``plot``, without markers."""
        return {"color": self.color, "linestyle": self.dash, "linewidth": width} | more

    def points(self, size: float = 5.5, **more: Any) -> dict[str, Any]:
        """For ``plot``, markers alone."""
        face = {"markerfacecolor": "white"} if self.hollow else {}
        return {"color": self.color, "linestyle": "", "marker": self.marker, "markersize": size} | face | more

    def both(self, width: float = 1.8, size: float = 5.5, **more: Any) -> dict[str, Any]:
        return self.points(size) | self.line(width) | more


MODELS = {
    "IndRNN": Look("#002f66", "-", "o"),
    "GRU": Look("#7b1f83", (0, (6, 1, 1, 1, 1, 1)), "v"),
    "LSTM": Look("#b8323e", "--", "s"),
    "res-IndRNN": Look("#2f7fbf", (0, (8, 2)), "D"),
    "RNN-tanh": Look("#909090", ":", "X"),
    "IRNN": Look("#dfa010", "-.", "^"),
    "dense-IndRNN": Look("#96d2f0", (0, (3, 1)), "P"),
}
PAPER = Look("#000000", (0, (1, 1.5)), "*")  # what a paper prints or the authors' log holds
QUIET = "#c4c4c4"  # what stands for the rest
_VARIANTS = ((0, (2, 1)), (0, (1, 1)), (0, (5, 1, 1, 1)))
_DASHES: tuple[Dash, ...] = ("-", "--", "-.", ":", (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))
_MARKERS = "osD^vXP*"
TICKS = (0, 20, 40, 50, 60, 70, 80, 85, 90, 93, 95, 97, 98, 99, 99.5, 99.8, 99.9)  # of accuracies
_LIGHTEST = 0.8  # of cividis (Nunez et al. 2018), which is one scale in grey and for a deuteranope


def model_of(label: str) -> str:
    """The model that a label names, such as IndRNN in ``plain, IndRNN (6 layers)``; empty where it names none."""
    named = (name for name in MODELS if re.search(rf"(?<![\w-]){name}(?![\w-])", label))
    return max(named, key=len, default="")


def looks(labels: Iterable[str]) -> list[Look]:
    """A look per label of one picture: that of the model it names. The same again is a lighter, hollow variant.

    Raises:
        KeyError: a label names no model.
    """
    seen: Counter[str] = Counter()
    found = []
    for label in labels:
        name = model_of(label)
        look, number = MODELS[name], seen[name]
        if number:
            look = replace(
                look, color=lighter(look.color, 0.25 * number), dash=_VARIANTS[(number - 1) % 3], hollow=True
            )
        seen[name] += 1
        found.append(look)
    return found


def lighter(color: str, share: float) -> str:
    """A colour mixed with this share of white, at most 0.5."""
    part = min(share, 0.5)
    return to_hex([value + part * (1 - value) for value in to_rgb(color)])


def on_dark(color: str) -> str:
    """The colour on a dark page: of its hue, half way to white, so that models keep their order; black is white."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*to_rgb(color))
    return "#ffffff" if color == PAPER.color else to_hex(colorsys.hls_to_rgb(hue, (1 + lightness) / 2, saturation))


def on_screen(look: Look, width: float = 2.0) -> dict[str, Any]:
    """A look for a page: its colour on white and on dark, dashes in pixels at a width, its marker as an SVG path.

    The marker lies between -5 and 5, y downwards.
    """
    pattern = look.dash
    if isinstance(pattern, str):
        name = {"--": "dashed", "-.": "dashdot", ":": "dotted"}.get(pattern)
        pattern = (0, tuple(matplotlib.rcParams[f"lines.{name}_pattern"]) if name else ())
    return {
        "color": look.color,
        "dark": on_dark(look.color),
        "dash": [round(width * part, 1) for part in pattern[1]],
        "marker": outline(look.marker),
        "hollow": look.hollow,
    }


def outline(marker: str) -> str:
    """A marker as an SVG path between -5 and 5."""
    drawn = MarkerStyle(marker)
    letters = {Path_.MOVETO: "M", Path_.LINETO: "L", Path_.CURVE3: "Q", Path_.CURVE4: "C", Path_.CLOSEPOLY: "Z"}
    words = []
    for points, code in drawn.get_path().transformed(drawn.get_transform()).iter_segments(simplify=False):
        numbers = [] if letters[code] == "Z" else (np.reshape(points, (-1, 2)) * (10, -10)).ravel()
        words.append(letters[code] + " ".join(f"{number + 0.0:.1f}" for number in numbers))
    return "".join(words).replace("-0.0", "0.0")


def steps(count: int) -> list[Look]:
    """Looks of what has an order or is no model, such as settings, from dark to light."""
    places = [_LIGHTEST * number / max(1, count - 1) for number in range(count)]
    colors = map(to_hex, map(matplotlib.colormaps["cividis"], places))
    return [Look(color, _DASHES[i % len(_DASHES)], _MARKERS[i % len(_MARKERS)]) for i, color in enumerate(colors)]


def layers(count: int) -> list[Look]:
    """Looks of layers from the first, the lightest, to the last."""
    return steps(count)[::-1]


def figure(width: float, height: float, dpi: int = 150) -> Figure:
    """An empty page, in inches."""
    return Figure(figsize=(width, height), dpi=dpi, layout="constrained")


def save(page: Figure, path: Path) -> None:
    """As png; the same picture is the same bytes."""
    page.savefig(path, format="png", metadata={"Software": None})


def grid(axes: Axes) -> None:
    axes.grid(alpha=0.3)


def legend(
    page: Figure, entries: Mapping[str, Look], columns: int = 0, markers: bool = True, below: bool = False
) -> None:
    """Above the picture or below it: names with their looks."""
    lines = [Line2D([], [], **(look.both() if markers else look.line())) for look in entries.values()]
    place = "outside lower center" if below else "outside upper center"
    size = {"fontsize": 8} if below else {}
    page.legend(lines, list(entries), loc=place, ncols=columns or len(entries), handlelength=3.5, frameon=False, **size)


def note(page: Figure, text: str, width: int = 120) -> None:
    """Small words below the picture, ``width`` characters a line."""
    page.supxlabel("\n".join(textwrap.wrap(text, width)), fontsize=SMALL, x=0.02, ha="left")


def mark(axes: Axes, level: float, words: str) -> None:
    """A horizontal line over the whole width, named beside its right end: inside, curves would cross the words."""
    axes.axhline(level, color="black", linewidth=0.7, zorder=1)
    outside(axes, words.replace(" ", "\n", 1), (1, level), axes.get_yaxis_transform(), 3, ha="left")


def outside(axes: Axes, words: str, place: tuple[float, float], transform: Transform, points: int, ha: str) -> None:
    """Small words ``points`` to the right of a place outside the axes."""
    beside = {"xytext": (points, 0), "textcoords": "offset points", "ha": ha, "va": "center", "fontsize": SMALL}
    axes.annotate(words, place, xycoords=transform, annotation_clip=False, **beside)


def accuracies(axes: Axes, shown: Sequence[float]) -> None:
    """Make the y axis one of accuracies in %, drawn by the logarithm of the error, which keeps 98 and 99 apart.

    Args:
        shown: all accuracies that are drawn, each below 100.
    """
    errors = [100 - value for value in shown]
    low, high = min(errors) / 1.15, min(max(errors) * 1.15, 100)
    axes.set_yscale("function", functions=(_of_accuracy, _to_accuracy))
    axes.set_ylim(100 - high, 100 - low)
    ticks = [tick for tick in TICKS if low <= 100 - tick <= high]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())


def _of_accuracy(accuracy: Any) -> Any:
    return -np.log10(np.maximum(100 - np.asarray(accuracy, dtype=float), 1e-3))


def _to_accuracy(height: Any) -> Any:
    return 100 - 10.0 ** -np.asarray(height, dtype=float)
