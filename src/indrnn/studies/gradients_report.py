"""What ``indrnn.studies.gradients`` found as json, md and png. Same runs, same bytes."""

import json
import statistics
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from indrnn import files, markdown_text, style
from indrnn.studies import gradients, summary
from indrnn.studies.gradients import Trained
from indrnn.studies.summary import geometric, plus_minus, where_from


def publish(out: Path) -> str:
    """Train all, write ptb_char.json, .md and .png into a folder; returns the text of the second."""
    runs = {model: [gradients.train(model, seed) for seed in gradients.SEEDS] for model in gradients.MODELS}
    about = summary.about("make gradients") | {"overrides": gradients.COMMON}
    about |= {"models": gradients.MODELS, "marks": gradients.MARKS}
    about |= {"clipped": [gradients.clipped(model) for model in gradients.MODELS]}
    found = about | {"runs": [asdict(run) for some in runs.values() for run in some]}
    text = markdown(runs, about)
    files.write_whole(out / "ptb_char.json", json.dumps(found, indent=1) + "\n")
    files.write_whole(out / "ptb_char.md", text)
    files.replace_whole(out / "ptb_char.png", partial(draw, runs))
    return text


def redraw(out: Path) -> None:
    """Draw ptb_char.png again from ptb_char.json, which holds all that it shows."""
    files.replace_whole(out / "ptb_char.png", partial(draw, read(out)))


def read(out: Path) -> dict[str, list[Trained]]:
    """The networks of ptb_char.json by model."""
    runs: dict[str, list[Trained]] = {}
    for run in json.loads(files.content(out / "ptb_char.json"))["runs"]:
        runs.setdefault(run["model"], []).append(Trained(**run))
    return runs


def markdown(runs: dict[str, list[Trained]], about: dict[str, Any]) -> str:
    """Losses, ratios, claims, provenance."""
    some = next(iter(runs.values()))
    depth, marks = len(some[0].norms[0]), gradients.MARKS
    lines = [f"# Networks of {depth} layers on characters: do they train, and what becomes of the gradient?", ""]
    lines += markdown_text.bullets(
        [
            "Stand-in data: an English text (kjv), not Penn Treebank. The paper's networks made small: "
            f"{' '.join(about['overrides'])}. One recipe for all, but for the clipping of gradients of weights "
            f"({', '.join(about['clipped'])}) and the range of LSTM's embedding (conf/tuned).",
            "u starts from N(0.4, 0.2), as in P18's word model, where a line says nothing else.",
            f"Loss in bpc: before update 1, else the mean of {gradients.LAST} updates up to the one named; mean ± "
            f"sample standard deviation ({len(some)} seeds).",
            "Tokens' frequencies: the loss of who knows how often each token is a target in these batches, and no "
            f"more: {plus_minus([run.frequencies for run in some])}.",
            "Gradient: norm of that of the loss with respect to a recurrent layer's outputs of all steps; geometric "
            "means over seeds.",
        ]
    )
    rows = [
        [model, f"{found[0].parameters:,}", *(plus_minus([run.loss(mark) for run in found]) for mark in marks)]
        for model, found in runs.items()
    ]
    lines += ["", "## Loss", ""]
    lines += markdown_text.aligned(["model", "parameters", *(f"update {mark}" for mark in marks)], rows)
    lines += ["", "## Gradient norms: first layer by last layer (largest of all layers by smallest)", ""]
    rows = [[model, *(evenness(found, mark) for mark in marks)] for model, found in runs.items()]
    heads = ["model", *(f"update {mark}" for mark in marks)]
    lines += [*markdown_text.aligned(heads, rows), "", "## Claims", ""]
    verdicts = {
        claim: {model: gradients.judge(claim, found) for model, found in runs.items()} for claim in gradients.CLAIMS
    }
    contrast = f"{gradients.OURS}, not {gradients.THEIRS}"
    lines += markdown_text.aligned(
        ["claim", *runs, contrast],
        [[claim, *found.values(), f"**{gradients.contrast(found)}**"] for claim, found in verdicts.items()],
    )
    lines += ["", "A claim is decided when every seed is on one side; the last column says whether one does what the"]
    lines += ["other does not."]
    lines += ["", *where_from(about)]
    return "\n".join([*lines, "", "![Losses and gradient norms](ptb_char.png)"]) + "\n"


def evenness(runs: list[Trained], mark: int) -> str:
    """Gradient norm of the first layer by that of the last, and the largest by the smallest."""
    ratio, spread = (geometric([of(run, mark) for run in runs]) for of in (Trained.ratio, Trained.spread))
    return f"{ratio:.2g} ({spread:.2g})"


def draw(runs: dict[str, list[Trained]], path: Path) -> None:
    """Losses over updates; gradient norms over layers at the first mark (thin) and the second (thick)."""
    page = style.figure(10.0, 4.4)
    left, right = page.subplots(1, 2)
    looks = dict(zip(runs, style.looks(runs), strict=True))
    for model, found in runs.items():
        updates = range(1, len(found[0].losses) + 1)
        for run in found:
            left.plot(updates, run.losses, **looks[model].line(0.5, linestyle="-", alpha=0.4))
        means = [statistics.fmean(losses) for losses in zip(*(run.losses for run in found), strict=True)]
        left.plot(updates, means, **looks[model].line())
        for place, width in ((0, 0.8), (1, 2)):
            norms = [geometric(list(seeds)) for seeds in zip(*(run.norms[place] for run in found), strict=True)]
            right.plot(range(1, len(norms) + 1), norms, **looks[model].line(width))
    level = statistics.fmean(run.frequencies for some in runs.values() for run in some)
    style.mark(left, level, "tokens' frequencies")
    left.set_xlabel("updates (optimizer steps)")
    left.set_ylabel("loss (bits per character)")
    right.set_yscale("log")
    right.set_xticks(range(1, len(found[0].norms[0]) + 1, 4))
    right.set_xlabel("recurrent layer (number, 1 reads the text)")
    right.set_ylabel("norm of the gradient of its outputs (nats)")
    right.set_title(f"thin: update {gradients.MARKS[0]}, thick: update {gradients.MARKS[1]}", fontsize=9)
    left.set_title("seeds thin, means thick", fontsize=9)
    for axes in (left, right):
        style.grid(axes)
    style.legend(page, looks, markers=False)
    style.save(page, path)
