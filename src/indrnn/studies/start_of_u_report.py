"""What ``indrnn.studies.start_of_u`` found as json, md and png. Same networks, same bytes."""

import json
import math
import statistics
from dataclasses import asdict
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from indrnn import configs, files, markdown_text, style
from indrnn.errors import UserError
from indrnn.studies import start_of_u, summary
from indrnn.studies.start_of_u import NEAR_ONE, STARTS, Network
from indrnn.studies.summary import where_from

LOSSES = (2, 9)  # bpc that are drawn: from U(0, 1) the first updates lie at 90
DRAWN = tuple(STARTS)[:3]  # the three ranges of u; the two remedies have rows of the tables


def publish(out: Path, widths: list[int], starts: list[str]) -> str:
    """Train those of the chosen networks that ``out`` lacks, a json each; write README.md and start_of_u.png of all.

    Raises:
        UserError: there is no such width or start.
    """
    for chosen, known in ((widths, start_of_u.WIDTHS), (starts, STARTS)):
        for name in chosen:
            if name not in known:
                raise UserError(f"There is no {name!r}; there are: {', '.join(map(str, known))}.")
    for width in widths:
        for start in starts:
            for seed in start_of_u.SEEDS[width]:
                path = out / f"{signature(start, width, seed)}.json"
                if not path.exists():
                    about = summary.about("make start-of-u")
                    network = start_of_u.train(start, width, seed)
                    files.write_whole(path, json.dumps(about | {"network": asdict(network)}) + "\n")
    return render_all(out)


def signature(start: str, width: int, seed: int) -> str:
    words = [*start_of_u.COMMON, *start_of_u.WIDTHS[width], *STARTS[start], f"seed={seed}"]
    return configs.signature(configs.signed(configs.build(words)))


def read(out: Path) -> tuple[dict[tuple[int, str], list[Network]], list[dict[str, Any]]]:
    """The networks that are there, by width and start, and where each was made."""
    found, abouts = {}, []
    for width in start_of_u.WIDTHS:
        for start in STARTS:
            paths = [out / f"{signature(start, width, seed)}.json" for seed in start_of_u.SEEDS[width]]
            there = [json.loads(files.content(path)) for path in paths if path.exists()]
            if there:
                found[width, start] = [Network(**about.pop("network")) for about in there]
                abouts += there
    return found, abouts


def render_all(out: Path) -> str:
    """Write README.md and start_of_u.png from the networks in ``out``; returns the text.

    Raises:
        UserError: there is none.
    """
    found, abouts = read(out)
    if not found:
        raise UserError(f"There is no network in {out}: run `make start-of-u` first.")
    text = markdown(found, abouts)
    files.write_whole(out / "README.md", text)
    files.replace_whole(out / "start_of_u.png", partial(draw, found))
    return text


def markdown(found: dict[tuple[int, str], list[Network]], abouts: list[dict[str, Any]]) -> str:
    """Per width: the losses, the states, what batch norm sees, and the gradients with and without a reset."""
    some = next(iter(found.values()))[0]
    lines = ["# Where u starts, and whether six wide layers learn characters", ""]
    lines += markdown_text.bullets(
        [
            "Penn Treebank by characters, IndRNN (6 layers), the recipe of the profile fast on one CPU core: "
            f"{' '.join(start_of_u.COMMON)}; layers of 256 neurons with W from N(0, 0.0442), as wide ones have theirs.",
            "The state is carried from batch to batch. A neuron with u near 1 adds up its input: in layer 1 a random "
            "walk, in the layers above, whose inputs then persist from step to step, a line. Batch norm per time step "
            "divides by the spread over columns, which such states come to own, and the characters go with it.",
            f"Loss: bpc of training, mean of the last {start_of_u.LAST} updates. Validation: bpc of the first 700 "
            f"steps of its 128 columns. Who knows how often each character stands in the training text has "
            f"{some.unigrams:.2f}. Nothing here looks at the test text.",
            f"u near 1: at least {NEAR_ONE}; per layer, at the first update and after the last one. Persistent: the "
            "share of the variance of z over columns that belongs to means over T = 50 steps, hence not to single "
            "characters. Where there are several seeds: means, and the largest of states.",
        ]
    )
    for width in start_of_u.WIDTHS:
        some = {start: networks for (size, start), networks in found.items() if size == width}
        if some:
            lines += ["", *of_width(width, some)]
    lines += ["", "## What it shows", "", "Counted over all networks above.", ""]
    lines += markdown_text.aligned(
        ["claim", "verdict", "networks"], list(map(judged, start_of_u.CLAIMS, repeat(found)))
    )
    return "\n".join([*lines, "", *where(abouts), "", "![States, u, gradients](start_of_u.png)"]) + "\n"


def judged(claim: str, found: dict[tuple[int, str], list[Network]]) -> list[str]:
    """A row of the claims: what it came to, and of how many networks it is true."""
    about, says = start_of_u.CLAIMS[claim]
    true = [says(network) for networks in found.values() for network in networks if about(network)]
    verdict = summary.verdict(true) if true else "undecided"
    return [claim, verdict, f"{sum(true)} of {len(true)}"]


def of_width(width: int, some: dict[str, list[Network]]) -> list[str]:
    updates, seeds = start_of_u.UPDATES[width], start_of_u.SEEDS[width]
    rows = []
    for start, networks in some.items():
        depth = range(len(networks[0].layers))

        def mean(what: str, layer: int, look: int = -1, networks: list[Network] = networks) -> float:
            return statistics.fmean(network.layers[layer][what][look] for network in networks)

        def largest(look: int | None, networks: list[Network] = networks) -> float:
            layers = [layer["largest"] for network in networks for layer in network.layers]
            return max(max(values) if look is None else values[look] for values in layers)

        first, last = ([mean("near_one", layer, look) for layer in depth] for look in (0, -1))
        gradient = [
            statistics.fmean(getattr(network, name)[0] for network in networks) for name in ("carried", "zeros")
        ]
        rows.append(
            [
                start,
                f"{statistics.fmean(network.loss for network in networks):.2f}",
                summary.plus_minus([network.validation for network in networks]),
                f"{shown(first)} -> {shown(last)}",
                f"{largest(0):.3g} -> {largest(-1):.3g} ({largest(None):.3g})",
                " ".join(f"{100 * mean('persistent', layer):.0f}" for layer in depth),
                f"{gradient[0]:.2g}, {gradient[1]:.2g}",
            ]
        )
    heads = ["u from", "loss", "validation", "u near 1, layers 1 to 6", "largest state: first -> last update (of all)"]
    heads += ["persistent at the end (%)", "norm of W's gradient in layer 1: carried state, from zeros"]
    title = f"## {width:,} neurons a layer, {updates:,} updates, {len(seeds)} seed{'s' * (len(seeds) > 1)}"
    return [title, "", *markdown_text.aligned(heads, rows)]


def shown(counts: list[float]) -> str:
    return " ".join(f"{count:.3g}" for count in counts)


def where(abouts: list[dict[str, Any]]) -> list[str]:
    """One section of provenance for all: where networks were made in different places, all of them."""
    merged = dict(abouts[0])
    for key in ("device", "commit", "source"):
        merged[key] = " or ".join(sorted({about[key] for about in abouts}))
    merged["dirty"] = any(about["dirty"] for about in abouts)
    return where_from(merged)


def draw(found: dict[tuple[int, str], list[Network]], path: Path) -> None:
    """Loss, largest state, persistent share, u near 1 and gradient over updates; a column of panels per width."""
    widths = [width for width in start_of_u.WIDTHS if any(size == width for size, _ in found)]
    panels = (
        (f"loss, cut above {LOSSES[1]} (bits per character)", None),
        ("largest state, layers 2 to 6 (no unit)", "largest"),
        ("persistent share of z, layers 2 to 6 (%)", "persistent"),
        (f"u of at least {NEAR_ONE}, all layers (number)", "near_one"),
        ("norm of W's gradient, layer 1 (nats)", "gradient"),
    )
    page = style.figure(5.2 * len(widths), 2.5 * len(panels), dpi=130)
    grid = page.subplots(len(panels), len(widths), squeeze=False, sharex="col", sharey="row")
    looks = dict(zip(DRAWN, reversed(style.steps(len(DRAWN))), strict=True))
    for column, width in enumerate(widths):
        for row, (label, what) in enumerate(panels):
            axes = grid[row][column]
            for start, look in looks.items():
                for network in found.get((width, start), []):
                    axes.plot(*course(network, what), **look.line(1.2 if what else 0.5))
            scale(axes, what, found, width)
            if not column:
                axes.set_ylabel(label, fontsize=8)
            if what is None:
                axes.set_ylim(*LOSSES)
        grid[0][column].set_title(f"{width:,} neurons a layer", fontsize=9)
        grid[-1][column].set_xlabel("updates (optimizer steps)")
    there = [start for start in DRAWN if any(begun == start for _, begun in found)]
    style.legend(page, {f"u from {start}": looks[start] for start in there}, markers=False)
    style.save(page, path)


def course(network: Network, what: str | None) -> tuple[list[int], list[float]]:
    """Over updates: the loss, or what was seen of the layers that the panel's label names."""
    if what is None:
        return list(range(len(network.losses))), network.losses
    layers = [layer[what] for layer in network.layers]
    by_look = zip(*layers, strict=True)
    if what == "largest":
        return network.looks, [max(values[1:]) for values in by_look]
    if what == "persistent":
        return network.looks, [100 * statistics.fmean(values[1:]) for values in by_look]
    if what == "near_one":
        return network.looks, [math.fsum(values) for values in by_look]
    return network.looks, layers[0]


def scale(axes: Axes, what: str | None, found: dict[tuple[int, str], list[Network]], width: int) -> None:
    style.grid(axes)
    if what in ("largest", "gradient"):
        axes.set_yscale("log")
    elif what == "near_one":
        axes.set_yscale("symlog", linthresh=10)
        axes.set_ylim(bottom=-1)
    elif what is None:
        level = next(networks[0].unigrams for (size, _), networks in found.items() if size == width)
        style.mark(axes, level, f"unigrams {level:.2f}")
