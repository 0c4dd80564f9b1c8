"""Raw ``.skeleton`` files -> ``indrnn.data.ntu.store``: in parallel, in little memory, going on where it was stopped.

What is done stands in two files with ``.part`` in their names: the frames, and a line of JSON for each recording. A
kill leaves at most a piece of a recording, or of a line, that the next start cuts off; it ends with the same bytes. The
index comes last. Refused files are tried again at every start.
"""

import json
import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np

from indrnn import files
from indrnn.data.ntu.bodies import STEPS
from indrnn.data.ntu.names import Name, missing_skeletons
from indrnn.data.ntu.sources import ENDING, Source
from indrnn.data.ntu.store import FRAME_BYTES, FRAMES, INDEX, checksum
from indrnn.data.ntu.workers import Results, in_order
from indrnn.errors import UserError

SAVE_EVERY = 512  # files, of which a kill may lose the last
ALLOWED, ALLOWED_SHARE = 10, 0.01  # refused files that do not stop a build: so many, or this share of all

Progress = Callable[[Results, int, int], Iterable[np.ndarray | str]]


def silently(results: Results, done: int, total: int) -> Results:
    return results


def build(
    source: Source,
    folder: Path,
    about: str,
    steps: Iterable[str] = STEPS,
    jobs: int = 1,
    progress: Progress = silently,
    wait: bool = False,
) -> dict[str, Any]:
    """Make a store of all recordings of a source, but for those whose skeletons the authors list as missing.

    Args:
        source: of the raw files.
        folder: where the store goes; one that is complete and of the same files is left as it is.
        about: what the source is, in words.
        steps: of ``to_sequence`` that are taken.
        jobs: processes; 1 is this one.
        progress: wraps the results as they come, given how many there were and will be in all; a bar.
        wait: for another process that builds there.

    Returns:
        what the index says of all: source, steps, files, frames, ``refused`` (reasons), ``listed`` (how many of the
        authors' list were met), ``others`` (how many belong to NTU RGB+D 120).

    Raises:
        UserError: there are no files, too many are refused, or another process builds there.
    """
    unknown = set(steps) - set(STEPS)
    if unknown:
        raise UserError(f"There is no step {', '.join(sorted(unknown))}; there are: {', '.join(STEPS)}.")
    names = source.names()
    wanted, listed, others = sorted_out(names)
    if not wanted:
        raise UserError(f"There is no recording of NTU RGB+D in {about}: looked for S001C001P001R001A001{ENDING}, ...")
    plan = {"source": about, "steps": [step for step in STEPS if step in set(steps)], "files": len(names)}
    plan |= {"listed": listed, "others": others, "names": zlib.crc32("\n".join(wanted).encode())}
    busy = UserError(f"{folder} is being made by another process: wait for it, or stop it.")
    with files.lock(folder / "lock", lambda _: busy, wait):
        return _built(folder, plan) or _build(source, folder, plan, wanted, jobs, progress)


def sorted_out(names: list[str]) -> tuple[list[str], int, int]:
    """The names that are to be read, how many are on the authors' list, how many are of NTU RGB+D 120.

    A name that is none is kept, to be refused where the files are read.
    """
    wanted, listed, others = [], 0, 0
    for name in names:
        stem = name.removesuffix(ENDING)
        try:
            is_other = not Name.of(stem).of_60
        except UserError:
            is_other = False
        if stem in missing_skeletons():
            listed += 1
        elif is_other:
            others += 1
        else:
            wanted.append(name)
    return wanted, listed, others


def _built(folder: Path, plan: dict[str, Any]) -> dict[str, Any] | None:
    """What the index says, if it is of these files and all of them were taken."""
    try:
        found = json.loads(files.content(folder / INDEX))
        del found["recordings"]
        same = found == {**plan, "frames": found["frames"], "refused": []}
        whole = (folder / FRAMES).stat().st_size == found["frames"] * FRAME_BYTES
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if same and whole else None


def _build(
    source: Source, folder: Path, plan: dict[str, Any], wanted: list[str], jobs: int, progress: Progress
) -> dict[str, Any]:
    frames_part, rows_part = folder / f"{FRAMES}.part", folder / f"{INDEX}.part"
    rows = _resumed(rows_part, frames_part, plan)
    position = sum(row[2] for row in rows)
    refused: list[str] = []
    done = {row[0] for row in rows}
    rest = [name for name in wanted if name.removesuffix(ENDING) not in done]
    with open(frames_part, "ab") as frames, open(rows_part, "a", encoding="utf-8") as lines:
        results = in_order(source, plan["steps"], rest, jobs)
        for i, (name, result) in enumerate(zip(rest, progress(results, len(done), len(wanted)), strict=True)):
            if isinstance(result, str):
                refused.append(result)
                _stop_if_too_many(refused, len(wanted))
                continue
            content = np.ascontiguousarray(result, "<f4").tobytes()
            stem = name.removesuffix(ENDING)
            rows.append([stem, position, len(result), checksum(stem, content)])
            frames.write(content)
            position += len(result)
            print(json.dumps(rows[-1]), file=lines)
            if i % SAVE_EVERY == 0:
                _to_disk(frames)
                _to_disk(lines)
        _to_disk(frames)
    found = {**plan, "frames": position, "refused": refused}
    index_part = folder / f"{INDEX}.new.part"
    with open(index_part, "w", encoding="utf-8") as file:
        print(json.dumps({**found, "recordings": sorted(rows)}), file=file)
        _to_disk(file)
    (folder / INDEX).unlink(missing_ok=True)  # of other files: it must not stand beside the new frames
    os.replace(frames_part, folder / FRAMES)
    os.replace(index_part, folder / INDEX)
    rows_part.unlink()
    return found


def _resumed(rows_part: Path, frames_part: Path, plan: dict[str, Any]) -> list[list]:
    """What an earlier start has done of the same plan; both files are cut to it.

    A row that is not whole, or whose frames are not what its checksum says, ends what counts.
    """
    rows, position = [], 0
    frames_part.touch()
    files.refuse_irregular(frames_part)
    first, *lines = files.content(rows_part).decode("utf-8", "replace").split("\n") if rows_part.exists() else [""]
    if first == json.dumps(plan):
        with open(frames_part, "rb") as frames:
            for line in lines[:-1]:  # the last piece is empty, or half a line
                try:
                    name, start, length, crc = json.loads(line)
                    content = frames.read(length * FRAME_BYTES)
                    same = len(content) == length * FRAME_BYTES and checksum(name, content) == crc
                except (ValueError, TypeError, AttributeError, OverflowError, MemoryError):
                    break
                if start != position or not same:
                    break
                rows.append([name, start, length, crc])
                position += length
    os.truncate(frames_part, position * FRAME_BYTES)
    rows_part.write_text("".join(json.dumps(x) + "\n" for x in [plan, *rows]), encoding="utf-8")
    return rows


def _stop_if_too_many(refused: list[str], files: int) -> None:
    if len(refused) > max(ALLOWED, ALLOWED_SHARE * files):
        some = "\n  ".join(refused[:ALLOWED])
        raise UserError(
            f"{len(refused)} of {files} files are refused, too many to go on. The first ones:\n  {some}\n"
            "Fetch them again and start the same command: it goes on."
        )


def _to_disk(file: IO) -> None:
    file.flush()
    os.fsync(file.fileno())
