"""Sections of the report on a GPU about layers, updates and training. Shapes: T time, B batch, M input, N neurons."""

from typing import Any

from indrnn import markdown_text
from indrnn.bench.gpu.layers import ADDING, FIRST, LOOP, PAPER, ratios
from indrnn.bench.gpu.report_words import NONE, Rows, brief, grouped, number, of
from indrnn.bench.gpu.training import against_replay
from indrnn.bench.gpu.update import against_parts
from indrnn.tasks.task import CALIBRATION_EXAMPLES


def layers(measured: dict[str, Rows], found: dict[str, Any]) -> list[str]:
    lines = figure2(measured, found)
    lines += ["", "## Forward and backward of one layer", ""]
    lines += markdown_text.bullets(
        [
            "Eager: as Python launches it; graph: forward and backward are one CUDA graph, so that gaps between "
            "launches do not count. In brackets: how many times the time of the first row.",
            f"{LOOP}, is measured in fp32 and eagerly alone.",
        ]
    )
    for (setting, precision, mode), group in grouped(measured["layers"], "setting", "precision", "mode").items():
        some = group[0]
        title = f"{setting}: M = {some['M']}, B = {some['B']}, N = {some['N']}, {precision}, {mode}"
        lengths = of(group, "T")
        by = {(x["what"], x["T"]): x for x in group}
        rows = [[name, *(versus(by.get((name, T)), by[FIRST, T]) for T in lengths)] for name in of(group, "what")]
        lines += ["", f"### {title}", "", *markdown_text.aligned(["network", *(f"T = {T}" for T in lengths)], rows)]
    return lines


def figure2(measured: dict[str, Rows], found: dict[str, Any]) -> list[str]:
    """The paper's ratios beside ours, which are of both settings and precisions, and the picture."""
    lines = ["", "## P19 Figure 2: cuDNN's LSTM / IndRNN, one layer of each, forward and backward", ""]
    if found["picture"]:
        lines += [f"![the paper's ratios and ours, eager and in a graph]({found['picture']})", ""]
    by = {(x["setting"], x["precision"], x["mode"], x["T"]): x["ratio"] for x in ratios(measured["layers"])}
    lengths = of(measured["layers"], "T")
    rows = [["the paper, P100", "fp32", ADDING, *(number(PAPER.get(T), ".1f") for T in lengths)]]
    for setting, precision, mode in grouped(measured["layers"], "setting", "precision", "mode"):
        cells = [number(by.get((setting, precision, mode, T)), ".1f") for T in lengths]
        rows.append([f"{found['device']}, {mode}", precision, setting, *cells])
    return lines + markdown_text.aligned(["where", "products", "setting", *(f"T = {T}" for T in lengths)], rows)


def versus(row: dict[str, Any] | None, first: dict[str, Any]) -> str:
    if row is None:
        return NONE
    if "ms" not in row:
        return brief(row)
    return f"{row['ms']:.2f} ms" + (f" ({row['ms'] / first['ms']:.1f})" if "ms" in first else "")


def compiled_loop(measured: dict[str, Rows], found: dict[str, Any]) -> list[str]:
    lines = ["", "## The plain loop, compiled", ""]
    lines += markdown_text.bullets(
        [
            "The same layer, M = N, fp32, as a loop over time that torch.compile unrolls; first: seconds of the first "
            "step, which compiles; ratio: how many times the time of the layer above, eager."
        ]
    )
    layer = {x["T"]: x.get("ms") for x in measured.get("layers", []) if like(x, measured["compiled_loop"][0])}
    rows = []
    for x in measured["compiled_loop"]:
        ratio = x["ms"] / layer[x["T"]] if "ms" in x and layer.get(x["T"]) else None
        cells = [number(x.get("ms"), ".2f"), number(ratio, ".1f"), number(x.get("first_seconds"), ".0f")]
        rows.append([str(x["T"]), *cells, brief(x)])
    return [*lines, "", *markdown_text.aligned(["T", "ms", "ratio", "first s", "remarks"], rows)]


def like(row: dict[str, Any], loop: dict[str, Any]) -> bool:
    """Whether a row is about the layer that the compiled loop computes."""
    return row["what"] == FIRST and all(row[key] == loop[key] for key in ("setting", "precision", "mode"))


def updates(measured: dict[str, Rows], found: dict[str, Any]) -> list[str]:
    lines = ["", "## A whole update", ""]
    lines += markdown_text.bullets(
        [
            "Forward, backward, clipping, Adam, bound, as train makes it, without Lightning. graph: all of it is one "
            "CUDA graph; bf16 is autocast. First: seconds of the first updates, which record or compile. Peak: the "
            "most memory that tensors took.",
            "Parts: matrix products of all layers, all recurrences, clipping with Adam and bound, each alone in a "
            "graph of its own. Batch norm, dropout, embedding, head and loss are in no part.",
        ]
    )
    return [*lines, "", *update_rows(measured["updates"], measured)]


def compiled(measured: dict[str, Rows], found: dict[str, Any]) -> list[str]:
    lines = ["", "## A whole update through torch.compile", "", "default is a mode of torch.compile.", ""]
    return lines + update_rows(measured["compiled"], measured)


def update_rows(made: Rows, measured: dict[str, Rows]) -> list[str]:
    heads = ["network", "B", "precision", "mode", "ms", "parts ms", "ratio", "peak GB", "first s", "remarks"]
    rows = []
    for x in against_parts(made, measured.get("parts", [])):
        peak = x.get("peak_bytes")
        times = [number(x.get("ms"), ".2f"), number(x["sum_ms"], ".2f"), number(x["ratio"], ".2f")]
        row = [x["what"], str(x["B"]), x["precision"], x["mode"], *times, number(peak and peak / 1e9, ".2f")]
        rows.append([*row, number(x.get("first_seconds"), ".0f"), brief(x)])
    return markdown_text.aligned(heads, rows)


def parts(measured: dict[str, Rows], found: dict[str, Any]) -> list[str]:
    lines = ["", "## Parts of an update, ms", ""]
    keys = ("products_ms", "recurrences_ms", "finish_ms", "sum_ms")
    heads = ["network", "B", "precision", "products", "recurrences", "clipping, Adam, bound", "sum", "remarks"]
    rows = [
        [x["what"], str(x["B"]), x["precision"], *(number(x.get(key), ".2f") for key in keys), brief(x)]
        for x in measured["parts"]
    ]
    return lines + markdown_text.aligned(heads, rows)


def training(measured: dict[str, Rows], found: dict[str, Any]) -> list[str]:
    lines = ["", "## Training, against replays of the same update", ""]
    lines += markdown_text.bullets(
        [
            "ms an update of `python -m indrnn.train`, and a validation with the statistics of batch norm before it: "
            "from runs of one process, short and long, that validate seldom and often. graph: what the record says of "
            "the updates.",
            f"Statistics from: images of training, of which a run that has them takes {CALIBRATION_EXAMPLES:,}.",
        ]
    )
    rows = [
        [x["what"], x["precision"], f"{x['updates']:,}", number(x.get("ms"), ".3f"), number(x["replay_ms"], ".3f")]
        + [number(x["ratio"], ".2f"), x.get("graph") or NONE, brief(x)]
        for x in against_replay(measured["training"], measured.get("updates", []))
    ]
    heads = ["network", "precision", "updates", "ms", "replay ms", "ratio", "graph", "remarks"]
    lines += ["", *markdown_text.aligned(heads, rows), ""]
    rows = [
        [x["what"], x["precision"]]
        + [number(x.get(key), ",d") for key in ("validations", "images", "calibrating")]
        + [number(x.get("validation_ms"), ".1f"), number(x.get("in_updates"), ".1f"), brief(x)]
        for x in measured["training"]
    ]
    heads = ["network", "precision", "validations", "images", "statistics from", "ms", "in updates", "remarks"]
    return lines + markdown_text.aligned(heads, rows)


def host(measured: dict[str, Rows], found: dict[str, Any]) -> list[str]:
    lines = ["", "## What an update costs the host", ""]
    lines += markdown_text.bullets(
        [
            "Launches: calls that ask the device for work, kernels, copies and graphs; on the device: what it was "
            "asked to do in them; host ms: until Python is done with an update that finds the device idle."
        ]
    )
    rows = [
        [x["what"], x["precision"], x["mode"], number(x.get("launches"), ",d"), number(x.get("kernels"), ",d")]
        + [number(x.get("host_ms"), ".3f"), brief(x)]
        for x in measured["host"]
    ]
    heads = ["network", "precision", "mode", "launches", "on the device", "host ms", "remarks"]
    return [*lines, "", *markdown_text.aligned(heads, rows)]
