"""How many raw skeleton files are read in a second on one CPU core, against reading their bytes alone.

The files are made-up ones (``indrnn.data.stand_in``), which have the format, the length and the width of real lines.
"""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from indrnn import markdown_text
from indrnn.bench.cpu.layers import best
from indrnn.data.ntu import read_skeleton
from indrnn.data.ntu.bodies import STEPS
from indrnn.data.ntu.names import RECORDINGS
from indrnn.data.ntu.sources import Folder
from indrnn.data.ntu.workers import convert
from indrnn.data.stand_in.recordings import Recordings

FILES = 36  # three of every action
BYTES, PARSED, CONVERTED = "reading the bytes", "read_skeleton", "as in make data: read_skeleton, to_sequence"


def times(rounds: int) -> list[dict[str, Any]]:
    """The three of them over the same files, which lie in the page cache."""
    maker = Recordings()
    names = maker.names()
    names = names[:: max(1, len(names) // FILES)][:FILES]
    with tempfile.TemporaryDirectory(prefix="indrnn-bench-") as place:
        folder = Path(place)
        for name in names:
            (folder / name).write_bytes(maker.read(name))
        paths, source = [folder / name for name in names], Folder(folder)
        source.names()  # lists the folder once
        size = sum(path.stat().st_size for path in paths)
        frames = sum(len(next(iter(read_skeleton(path).values()))) for path in paths)
        calls = {
            BYTES: lambda: [path.read_bytes() for path in paths],
            PARSED: lambda: [read_skeleton(path) for path in paths],
            CONVERTED: partial(convert_all, source, names),
        }
        found = best(calls, rounds, warm_up=1)
    return [
        {"what": what, "files": len(names), "megabytes": size / 1e6, "frames": frames, "ms": ms}
        | {"files_per_second": 1e3 * len(names) / ms, "ratio": ms / found[BYTES]}
        for what, ms in found.items()
    ]


def convert_all(source: Folder, names: list[str]) -> None:
    for name in names:
        convert(source, list(STEPS), name)


def markdown(rows: list[dict[str, Any]]) -> list[str]:
    """The section of ``make bench``."""
    some = rows[0]
    lines = ["", "## Raw skeleton files of NTU RGB+D (made-up ones)", ""]
    cells = [
        [x["what"], f"{x['files_per_second']:,.0f}", f"{some['megabytes'] * 1e3 / x['ms']:,.0f}", f"{x['ratio']:.0f}"]
        + [f"{RECORDINGS / x['files_per_second'] / 60:.1f}"]
        for x in rows
    ]
    lines += markdown_text.aligned(["what", "files/s", "MB/s", "ratio", f"minutes for {RECORDINGS:,} files"], cells)
    mean = some["megabytes"] * 1e3 / some["files"], some["frames"] / some["files"]
    lines += ["", f"{some['files']} files of {mean[0]:.0f} KB and {mean[1]:.0f} frames in the mean, in the page cache."]
    return [*lines, "`make data` shares the files among all cores."]
