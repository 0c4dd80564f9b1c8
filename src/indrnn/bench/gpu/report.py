"""The report of ``make bench`` on a GPU as Markdown. Shapes: T time, B batch, M input, N neurons."""

from typing import Any

from indrnn import markdown_text, provenance
from indrnn.bench.gpu.constants import SETTINGS, best_launches
from indrnn.bench.gpu.report_networks import compiled, compiled_loop, host, layers, parts, training, updates
from indrnn.bench.gpu.report_words import NONE, Rows, brief, grouped, number, of, told


def markdown(found: dict[str, Any]) -> str:
    """What ``bench.gpu.parts.measure`` found: the bars, a section per question, what was not measured and why."""
    measured, gpu = found["measured"], found["gpu"]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(found["versions"].items()))
    lines = [f"# Speed on {found['device']}", ""]
    lines += markdown_text.bullets(
        [
            f"{gpu['name']}: {gpu['memory_bytes'] / 2**30:.1f} GiB of memory, {gpu['l2_bytes'] / 2**20:.1f} MiB of L2 "
            f"cache, {gpu['processors']} processors, compute capability {gpu['capability']}; driver {gpu['driver']}, "
            f"CUDA {gpu['cuda']}, cuDNN {gpu['cudnn']}, triton {gpu['triton']}; {versions}.",
            f"Backends of the recurrence that run here: {', '.join(found['backends'])}.",
            f"Commit {provenance.words(found)}, {found['date'][:10]}. Written by `make bench MACHINE=gpu`; every time "
            f"of this card is in [{found['rows']}]({found['rows']}).",
            f"Times are medians of {found['rounds']} calls between two CUDA events. Recurrences are called with a cold "
            "L2 cache, and the time that Python takes to launch them is hidden; layers and updates follow each other "
            "as in training, and gaps between their kernels count.",
            f"Seconds it took: {', '.join(f'{name} {seconds}' for name, seconds in found['seconds'].items())}.",
        ]
    )
    lines += bars(found["judged"])
    for name, section in SECTIONS.items():
        if name in measured:
            lines += section(measured, found)
    lines += ["", "## Not measured here", "", *markdown_text.bullets(not_measured(found))]
    return "\n".join(lines) + "\n"


def bars(judged: Rows) -> list[str]:
    """The lines that the benchmark judges itself against."""
    counts = [sum(line["reached"] is verdict for line in judged) for verdict in (True, False, None)]
    lines = ["", "## Bars", "", "Reached: {}; missed: {}; not measured: {}.".format(*counts), ""]
    rows = [
        [x["what"], f"at {'least' if x['at_least'] else 'most'} {x['bar']:g}", number(x["measured"], ".3f")]
        + [told(x["reached"])]
        for x in judged
    ]
    return lines + markdown_text.aligned(["what", "bar", "measured", "reached"], rows)


def recurrence(measured: dict[str, Rows], found: dict[str, Any]) -> list[str]:
    lines = ["", "## Recurrence, against a copy of as many bytes on the device", ""]
    lines += markdown_text.bullets(
        [
            "Forward has to read x and write h; backward has to read dh and h and write dx (and u, h0, du, dh0, which "
            "are small). x and dx are of the dtype given, h and dh float32 always. The copy reads and writes as many "
            "bytes in all.",
            "In L2: the cache holds all the bytes that the pass moves. It is overwritten before every call.",
        ]
    )
    heads = ["experiments", "pass", "dtype", "T x B x N", "MB", "ms", "copy ms", "GB/s", "of copy", "in L2", "remarks"]
    rows = []
    for x in measured["recurrence"]:
        row = [", ".join(x["experiments"]), x["what"], x["dtype"], f"{x['T']} x {x['B']} x {x['N']}"]
        if "skipped" in x:
            rows.append([*row, *[NONE] * 6, brief(x)])
            continue
        row += [f"{x['bytes'] / 1e6:.1f}", f"{x['ms']:.3f}", f"{x['copy_ms']:.3f}", f"{x['bytes'] / x['ms'] / 1e6:.0f}"]
        rows.append([*row, f"{x['of_copy']:.0%}", told(x["in_l2"]), ""])
    return [*lines, "", *markdown_text.aligned(heads, rows)]


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


SECTIONS = {
    "recurrence": recurrence,
    "layers": layers,
    "updates": updates,
    "parts": parts,
    "training": training,
    "host": host,
    "calls": calls,
    "backends": backends,
    "launches": launches,
    "compiled": compiled,
    "compiled_loop": compiled_loop,
}
TOLD = {"what": "", "setting": "", "dtype": "", "precision": "", "mode": "", "backend": "", "T": "T = ", "B": "B = ",
        "columns": "columns: "}  # of a row, where it has them: what stands before it  # fmt: skip


def not_measured(found: dict[str, Any]) -> list[str]:
    """One sentence for every part that was left out and for every reason in a part, with the rows it holds for."""
    sentences = [f"{name}: left out by --only." for name in found["parts_left_out"]]
    sentences += [f"{name}: stopped before it." for name in found["planned"] if name not in found["measured"]]
    sentences += [f"{found['at']}: stopped within it."] * (found["at"] in found["measured"])
    for name, rows in found["measured"].items():
        for (reason,), group in grouped([x for x in rows if "skipped" in x], "skipped").items():
            which = "all of them" if len(group) == len(rows) > 1 else "; ".join(map(about, group[:3]))
            more = f" and {len(group) - 3} more" if len(group) > 3 and len(group) < len(rows) else ""
            sentences.append(f"{name}: {which}{more}: {reason.rstrip('.')}.")
    return sentences or ["Everything was measured."]


def about(row: dict[str, Any]) -> str:
    return ", ".join(f"{before}{row[key]}" for key, before in TOLD.items() if key in row)
