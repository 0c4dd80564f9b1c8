"""The report of ``make bench`` on a GPU as Markdown. Shapes: T time, B batch, M input, N neurons."""

from typing import Any

from indrnn import markdown_text, provenance
from indrnn.bench.gpu.constants import SETTINGS, best_launches
from indrnn.bench.gpu.kernels import GOAL
from indrnn.bench.gpu.layers import FIRST, ratios
from indrnn.bench.gpu.update import against_parts

Rows = list[dict[str, Any]]
NONE = "-"


def markdown(found: dict[str, Any]) -> str:
    """What ``bench.gpu.parts.measure`` found: a section per question, and at the end what was not measured and why."""
    measured, gpu = found["measured"], found["gpu"]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(found["versions"].items()))
    lines = [f"# Speed on {found['device']}", ""]
    lines += markdown_text.bullets(
        [
            f"{gpu['name']}: {gpu['memory_bytes'] / 2**30:.1f} GiB of memory, {gpu['l2_bytes'] / 2**20:.1f} MiB of L2 "
            f"cache, {gpu['processors']} processors; CUDA {gpu['cuda']}, cuDNN {gpu['cudnn']}; {versions}.",
            f"Backends of the recurrence that run here: {', '.join(found['backends'])}.",
            f"Commit {provenance.words(found)}, {found['date'][:10]}. Written by `make bench MACHINE=gpu`.",
            f"Times are medians of {found['rounds']} calls between two CUDA events. Recurrences are called with a cold "
            "L2 cache, and the time that Python takes to launch them is hidden; layers and updates follow each other "
            "as in training, and gaps between their kernels count.",
            f"Seconds it took: {', '.join(f'{name} {seconds}' for name, seconds in found['seconds'].items())}.",
        ]
    )
    for name, section in SECTIONS.items():
        if name in measured:
            lines += section(measured, found)
    lines += ["", "## Not measured here", "", *markdown_text.bullets(not_measured(found))]
    return "\n".join(lines) + "\n"


def recurrence(measured: dict[str, Rows], found: dict[str, Any]) -> list[str]:
    lines = ["", "## Recurrence, against a copy of as many bytes on the device", ""]
    lines += markdown_text.bullets(
        [
            "Forward has to read x and write h; backward has to read dh and h and write dx (and u, h0, du, dh0, which "
            "are small). x and dx are of the dtype given, h and dh float32 always. The copy reads and writes as many "
            "bytes in all.",
            f"Goal: {GOAL:.0%} of the copy's bandwidth where a pass moves more bytes than the L2 cache holds.",
        ]
    )
    heads = ["experiments", "pass", "dtype", "T x B x N", "MB", "ms", "copy ms", "GB/s", "of copy", "goal", "reached"]
    rows = []
    for x in measured["recurrence"]:
        row = [", ".join(x["experiments"]), x["what"], x["dtype"], f"{x['T']} x {x['B']} x {x['N']}"]
        if "skipped" in x:
            rows.append([*row, *[NONE] * 6, brief(x)])
            continue
        row += [f"{x['bytes'] / 1e6:.1f}", f"{x['ms']:.3f}", f"{x['copy_ms']:.3f}", f"{x['bytes'] / x['ms'] / 1e6:.0f}"]
        goal = [NONE, "fits into L2"] if x["goal"] is None else [f"{x['goal']:.0%}", yes(x["of_copy"] >= x["goal"])]
        rows.append([*row, f"{x['of_copy']:.0%}", *goal])
    return [*lines, "", *markdown_text.aligned(heads, rows)]


def layers(measured: dict[str, Rows], found: dict[str, Any]) -> list[str]:
    lines = ["", "## Forward and backward of one layer", ""]
    lines += ["In brackets: how many times the time of the first row."]
    for (setting, precision), group in grouped(measured["layers"], "setting", "precision").items():
        some = group[0]
        title = f"{setting}: M = {some['M']}, B = {some['B']}, N = {some['N']}, {precision}"
        lengths = of(group, "T")
        by = {(x["what"], x["T"]): x for x in group}
        rows = [[name, *(versus(by[name, T], by[FIRST, T]) for T in lengths)] for name in of(group, "what")]
        lines += ["", f"### {title}", "", *markdown_text.aligned(["network", *(f"T = {T}" for T in lengths)], rows)]
    heads = ["setting", "products", "T", "LSTM / IndRNN", "P19 Figure 2, P100", "goal", "reached"]
    rows = [
        [x["setting"], x["precision"], str(x["T"]), f"{x['ratio']:.1f}", number(x["paper"], ".1f")]
        + [number(x["goal"], ".0f"), NONE if x["goal"] is None else yes(x["ratio"] >= x["goal"])]
        for x in ratios(measured["layers"])
    ]
    return [*lines, "", "### cuDNN's LSTM against IndRNN, one layer of each", "", *markdown_text.aligned(heads, rows)]


def compiled_loop(measured: dict[str, Rows], found: dict[str, Any]) -> list[str]:
    lines = ["", "## The plain loop, compiled", ""]
    lines += markdown_text.bullets(
        [
            "The same layer, M = N, fp32, as a loop over time that torch.compile unrolls; first: seconds of the first "
            "step, which compiles; ratio: how many times the time of the layer above."
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
    return row["what"] == FIRST and (row["setting"], row["precision"]) == (loop["setting"], loop["precision"])


def calls(measured: dict[str, Rows], found: dict[str, Any]) -> list[str]:
    lines = ["", "## Cost of a call: the recurrence at T = 1, B = 1, many calls in a row", ""]
    rows = [[x["what"], number(x.get("us"), ".1f"), brief(x)] for x in measured["calls"]]
    return lines + markdown_text.aligned(["call", "µs", "remarks"], rows)


def backends(measured: dict[str, Rows], found: dict[str, Any]) -> list[str]:
    scan = found["constants"]["scan"]
    lines = ["", "## Walk (triton) or scan", ""]
    lines += markdown_text.bullets(
        [
            'Time of the walk / time of the scan: above 1 the scan is faster. A star: "auto" scans there today '
            f"(from T = {scan['from_steps']:,}, up to {scan['up_to_columns']:,} columns)."
        ]
    )
    times = {(x["what"], x["T"], x["columns"], x["backend"]): x.get("ms") for x in measured["backends"]}
    lengths, columns = of(measured["backends"], "T"), of(measured["backends"], "columns")
    for what in of(measured["backends"], "what"):
        rows = []
        for T in lengths:
            pairs = [[times.get((what, T, c, backend)) for backend in ("triton", "scan")] for c in columns]
            stars = ["*" * (T >= scan["from_steps"] and c <= scan["up_to_columns"]) for c in columns]
            cells = [f"{walk / scan:.2f}" if walk and scan else NONE for walk, scan in pairs]
            rows.append([str(T), *map("".join, zip(cells, stars, strict=True))])
        lines += ["", f"### {what}", "", *markdown_text.aligned(["T", *(f"{c:,} columns" for c in columns)], rows)]
    return lines


def launches(measured: dict[str, Rows], found: dict[str, Any]) -> list[str]:
    lines = ["", "## Launches of the triton kernels", ""]
    lines += markdown_text.bullets(
        [
            "Now: with the settings of indrnn.recurrence.launches. All are in the json. The last row is the setting "
            "that is closest to the best at all shapes; its times are geometric means of time / best time of the shape."
        ]
    )
    rows = [
        [x["what"], number(x["T"], "d"), number(x["columns"], ",d"), number(x["now_ms"], ".3f"), f"{x['ms']:.3f}"]
        + [NONE if x["now_ms"] is None else f"{x['now_ms'] / x['ms']:.2f}", *(str(x[key]) for key in SETTINGS)]
        for x in best_launches(measured["launches"])
    ]
    return [
        *lines,
        "",
        *markdown_text.aligned(["pass", "T", "columns", "ms now", "ms best", "now / best", *SETTINGS], rows),
    ]


def updates(measured: dict[str, Rows], found: dict[str, Any]) -> list[str]:
    lines = ["", "## A whole update", ""]
    lines += markdown_text.bullets(
        [
            "Forward, backward, clipping, Adam, bound, as train makes it, without Lightning. default is a mode of "
            "torch.compile; graph: all of it is one CUDA graph; bf16 is autocast. First: seconds of the first three "
            "updates, which compile. Peak: the most memory that tensors took.",
            "Parts: matrix products of all layers, all recurrences, clipping with Adam and bound, each measured alone. "
            "Batch norm, dropout, embedding, head and loss are in no part.",
        ]
    )
    heads = ["network", "B", "precision", "mode", "ms", "parts ms", "ratio", "peak GB", "first s", "remarks"]
    rows = []
    for x in against_parts(measured["updates"], measured.get("parts", [])):
        peak = x.get("peak_bytes")
        times = [number(x.get("ms"), ".2f"), number(x["sum_ms"], ".2f"), number(x["ratio"], ".2f")]
        row = [x["what"], str(x["B"]), x["precision"], x["mode"], *times, number(peak and peak / 1e9, ".2f")]
        rows.append([*row, number(x.get("first_seconds"), ".0f"), brief(x)])
    return [*lines, "", *markdown_text.aligned(heads, rows)]


def parts(measured: dict[str, Rows], found: dict[str, Any]) -> list[str]:
    lines = ["", "## Parts of an update, ms", ""]
    keys = ("products_ms", "recurrences_ms", "finish_ms", "sum_ms")
    heads = ["network", "B", "precision", "products", "recurrences", "clipping, Adam, bound", "sum", "remarks"]
    rows = [
        [x["what"], str(x["B"]), x["precision"], *(number(x.get(key), ".2f") for key in keys), brief(x)]
        for x in measured["parts"]
    ]
    return lines + markdown_text.aligned(heads, rows)


SECTIONS = {
    "recurrence": recurrence,
    "layers": layers,
    "compiled_loop": compiled_loop,
    "updates": updates,
    "parts": parts,
    "calls": calls,
    "backends": backends,
    "launches": launches,
}
TOLD = {"what": "", "setting": "", "dtype": "", "precision": "", "mode": "", "backend": "", "T": "T = ", "B": "B = ",
        "columns": "columns: "}  # of a row, where it has them: what stands before it  # fmt: skip


def not_measured(found: dict[str, Any]) -> list[str]:
    """One sentence for every part that was left out and for every reason in a part, with the rows it holds for."""
    sentences = [f"{name}: left out by --only." for name in found["parts_left_out"]]
    sentences += [f"{name}: stopped before it." for name in found["planned"] if name not in found["measured"]]
    for name, rows in found["measured"].items():
        for (reason,), group in grouped([x for x in rows if "skipped" in x], "skipped").items():
            which = "all of them" if len(group) == len(rows) > 1 else "; ".join(map(told, group[:3]))
            more = f" and {len(group) - 3} more" if len(group) > 3 and len(group) < len(rows) else ""
            sentences.append(f"{name}: {which}{more}: {reason.rstrip('.')}.")
    return sentences or ["Everything was measured."]


def told(row: dict[str, Any]) -> str:
    return ", ".join(f"{before}{row[key]}" for key, before in TOLD.items() if key in row)


def grouped(rows: Rows, *keys: str) -> dict[tuple, Rows]:
    found: dict[tuple, Rows] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def of(rows: Rows, key: str) -> list[Any]:
    """The values of a key, each once."""
    return list(dict.fromkeys(row[key] for row in rows))


def versus(row: dict[str, Any], first: dict[str, Any]) -> str:
    if "ms" not in row:
        return brief(row)
    return f"{row['ms']:.2f} ms" + (f" ({row['ms'] / first['ms']:.1f})" if "ms" in first else "")


def brief(row: dict[str, Any]) -> str:
    """Why a row was not measured, short enough for a table; the whole reason stands at the end of the report."""
    return row.get("skipped", "").partition(":")[0]


def number(value: float | None, form: str) -> str:
    return NONE if value is None else f"{value:{form}}"


def yes(value: bool) -> str:
    return "yes" if value else "no"
