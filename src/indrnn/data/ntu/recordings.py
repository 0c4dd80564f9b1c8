"""NTU RGB+D for training, P18 Section 5.4. Shapes: B batch, K crops, T time, M input.

An input step is 2 bodies x 25 joints x 3 raw coordinates in metres, without centring or turning, body after body.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, from_numpy
from torch.utils.data import DataLoader, Dataset

from indrnn.data import TEST, TRAIN, VAL, Data, as_float, shuffled
from indrnn.data.ntu.bodies import SLOTS
from indrnn.data.ntu.crops import fixed_draws, frame_numbers
from indrnn.data.ntu.geometry import DISTANCES, rotated, turns
from indrnn.data.ntu.names import COUNTS, PROTOCOLS
from indrnn.data.ntu.skeleton import JOINTS
from indrnn.data.ntu.stand_in_store import stand_in_store
from indrnn.data.ntu.store import AGAIN, HOW, Store
from indrnn.errors import NoData, UserError, positive
from indrnn.files import data_folder

COORDINATES = SLOTS * JOINTS * 3
SHORTEST, LONGEST, DEVIATION = 5, 40, 5  # steps, of the random lengths in the authors' code
NOISE, STATISTICS = 3, 4  # streams of random numbers beside those of TRAIN, VAL, TEST
PIECE = 100_000  # frames that move to a device at once: 60 MB


class Skeletons(Data):
    """Recordings of people as sequences of T frames of their joints; the label is the action, from 0.

    A batch is (x, y): in training x is (B, T, M), one random crop a recording; in validation and test (B, K, T, M), the
    same K crops at every look.

    Args:
        seq_len: T.
        source: ``ntu``, or ``stand_in``: recordings of an articulated body that are made on the spot.
        protocol: ``cs`` tests other performers, ``cv`` another camera.
        val_share: of the training recordings, drawn with ``split_seed``, validates.
        crops: K in validation and test.
        geometry: the network reads P19's distances from joints to lines, too, 897 a body; a batch has coordinates only,
            and ``indrnn.tasks.recognition`` computes them where the network is.
        vary_length: T of a training batch is drawn from N(seq_len, 5), as in P19, within 5 and 40. (The authors also
            drew it in validation and test; here it is seq_len.)
        rotation: training recordings are turned about the vertical by up to so many degrees; none if null.
        bodies_by: by what the store has to tell people from ghosts (``indrnn.data.ntu.bodies``); anything if null.
    """

    def __init__(
        self,
        seq_len: int,
        batch_size: int,
        seed: int,
        source: str,
        protocol: str,
        val_share: float,
        crops: list[int],
        geometry: bool = False,
        vary_length: bool = False,
        rotation: float | None = None,
        split_seed: int = 0,
        input_size: int = COORDINATES,
        output_size: int = 60,
        bodies_by: str | None = None,
    ):
        super().__init__(seq_len, batch_size, seed, input_size, output_size)
        size = COORDINATES + geometry * SLOTS * DISTANCES
        if input_size != size:
            raise UserError(f"data.input_size is {size} with data.geometry={str(geometry).lower()}, not {input_size}.")
        if source not in ("ntu", "stand_in"):
            raise UserError(f"data.source must be ntu or stand_in, not {source}.")
        if protocol not in PROTOCOLS:
            raise UserError(f"data.protocol must be cs (cross-subject) or cv (cross-view), not {protocol}.")
        if not 0 < val_share < 1:
            raise UserError(f"data.val_share must be between 0 and 1, not {val_share}.")
        if len(crops) != 2:
            raise UserError(f"data.crops must name those of validation and of test, not {list(crops)}.")
        for K in crops:
            positive(crops=K)
        if rotation is not None and not 0 < rotation <= 180:
            raise UserError(f"data.rotation must be degrees above 0 and up to 180, or null, not {rotation}.")
        self.source, self.protocol, self.val_share, self.split_seed = source, protocol, val_share, split_seed
        self.crops, self.vary_length, self.rotation, self.bodies_by = list(crops), vary_length, rotation, bodies_by
        self.store: Store | None = None
        self._frames: Tensor | None = None  # (F + 1, M) on the device, if they lie there; the last one is the empty one

    def setup(self, stage: str | None = None) -> None:
        """Open the store and split its recordings.

        Raises:
            NoData: the recordings are not there.
            UserError: a file is damaged, a split is empty, an action has no output, or bodies were chosen otherwise.
        """
        if self.store is not None:
            return
        store = stand_in_store() if self.source == "stand_in" else Store(data_folder() / "ntu", HOW, AGAIN)
        if self.bodies_by not in (None, found := store.about.get("bodies_by", "motion")):  # motion: before it was said
            words = f"bodies chosen by {found}, not by {self.bodies_by} as data.bodies_by says"
            raise UserError(f"{store.folder} has {words}: {store.again}, or say data.bodies_by={found}.")
        self.labels = torch.tensor([name.action - 1 for name in store.names], dtype=torch.int64)
        if len(self.labels) and self.labels.max() >= self.output_size:
            raise UserError(f"data.output_size must be at least {self.labels.max() + 1}, not {self.output_size}.")
        trains = np.array([name.trains(self.protocol) for name in store.names], bool)
        order = np.random.RandomState(self.split_seed).permutation(np.flatnonzero(trains))
        count = round(self.val_share * len(order))
        self.splits = {TRAIN: order[count:], VAL: np.sort(order[:count]), TEST: np.flatnonzero(~trains)}
        if not all(map(len, self.splits.values())):
            raise UserError(f"{store.folder} has too few recordings: {self._counts()} for training, validation, test.")
        self.store = store

    def draw(self, update: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Rows (B, T) among all frames, see ``_rows``; recordings (B,); their ``turns``, if any."""
        train = self.splits[TRAIN]
        pick = train[shuffled(len(train), update, self.batch_size, self.seed)]
        noise = np.random.default_rng([NOISE, self.seed, update])
        T = self._length(noise) if self.vary_length else self.seq_len
        rows = self._rows(pick, T, noise.random((len(pick), T + 2)))
        if not self.rotation:
            return rows, from_numpy(pick), None
        return rows, from_numpy(pick), turns(np.deg2rad(noise.uniform(-self.rotation, self.rotation, len(pick))))

    def look_up(self, rows: Tensor, pick: Tensor, turn: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self._inputs(rows)
        if turn is not None:
            x = rotated(x.unflatten(-1, (-1, 3)), turn).flatten(-2)
        return x, self.labels.index_select(0, pick)

    @property
    def nbytes(self) -> int:
        return self.store.frames.nbytes

    def move(self) -> None:
        """Take all frames to the device, each recording compared with its checksum."""
        self.store.check(np.arange(len(self.store.names)))
        F = len(self.store.frames)
        frames = torch.zeros(F + 1, COORDINATES, device=self.device)
        for start in range(0, F, PIECE):
            piece = np.array(self.store.frames[start : start + PIECE]).reshape(-1, COORDINATES)
            frames[start : start + len(piece)] = from_numpy(piece)
        self._frames, self.labels = frames, self.labels.to(self.device)

    def examples(self, split: int, count: int | None = None) -> tuple[Tensor, Tensor]:
        return self._with_crops(self.splits[split][:count], 1 if split == TRAIN else self.crops[split - VAL])

    def calibration_batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """One random crop, always the same, of each of ``count`` training recordings."""
        noise, picks = np.random.default_rng(STATISTICS), self.splits[TRAIN][:count]
        for start in range(0, len(picks), self.batch_size):
            pick = picks[start : start + self.batch_size]
            rows = self._rows(pick, self.seq_len, noise.random((len(pick), self.seq_len + 2)))
            yield self.look_up(*self.here((rows, from_numpy(pick))))

    def digest(self) -> str | None:
        """Of the store that lies there by now, with every recording compared with its checksum.

        Raises:
            UserError: a file is damaged.
        """
        if self.store is None:
            return None
        try:
            found = Store(self.store.folder, self.store.again)
        except NoData:
            return None
        found.check(np.arange(len(found.names)))
        return found.sha256

    def describe(self) -> dict:
        found = {"name": "NTU RGB+D", "stand_in": False, "protocol": self.protocol}
        if self.source == "stand_in":
            found["name"] = "made-up skeletons"
            found["stand_in"] = "made-up recordings of an articulated body stand in for NTU RGB+D"
        if self.store is None:
            return found
        found |= {"counts": self._counts(), "steps": self.store.about["steps"], "sha256": self.store.sha256}
        n, k = sum(COUNTS[self.protocol]), len(self.labels)
        if self.source == "ntu" and k < n:
            found["stand_in"] = f"{k:,} of the {n:,} recordings of NTU RGB+D stand in for all"
        return found

    def _counts(self) -> list[int]:
        return [len(self.splits[split]) for split in (TRAIN, VAL, TEST)]

    def _length(self, noise: np.random.Generator) -> int:
        for _ in range(2):
            if SHORTEST <= (T := int(noise.normal(self.seq_len, DEVIATION))) <= LONGEST:
                return T
        return self.seq_len

    def _with_crops(self, pick: np.ndarray, K: int) -> tuple[Tensor, Tensor]:
        draws = np.tile(fixed_draws(self.seq_len, K), (len(pick), 1))
        rows = self._rows(np.repeat(pick, K), self.seq_len, draws)
        x, y = self.look_up(*self.here((rows, from_numpy(pick))))
        return x.unflatten(0, (len(pick), K)), y

    def _rows(self, pick: np.ndarray, T: int, draws: np.ndarray) -> Tensor:
        """(n,) recordings -> (n, T), which of all frames each step shows; F, after the last one, where it is empty."""
        self.store.check(np.unique(pick))
        numbers = frame_numbers(self.store.lengths[pick], T, draws)
        return from_numpy(np.where(numbers < 0, len(self.store.frames), self.store.starts[pick, None] + numbers))

    def _inputs(self, rows: Tensor) -> Tensor:
        """(n, T) -> (n, T, M), zeros in empty steps."""
        if self._frames is not None:
            return self._frames.index_select(0, rows.flatten()).view(*rows.shape, COORDINATES)
        frames, rows = self.store.frames, rows.numpy()
        x = frames[np.minimum(rows, len(frames) - 1)]
        x[rows == len(frames)] = 0
        return as_float(x.reshape(*rows.shape, COORDINATES))

    def _fixed(self, split: int) -> DataLoader:
        return DataLoader(_Batches(self, split), batch_size=None)


class _Batches(Dataset):
    """The batches of a split one by one: all crops of all recordings at once would fill the memory."""

    def __init__(self, data: Skeletons, split: int):
        self.data, self.split = data, split

    def __len__(self) -> int:
        return math.ceil(len(self.data.splits[self.split]) / self.data.eval_size)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        start = number * self.data.eval_size
        pick = self.data.splits[self.split][start : start + self.data.eval_size]
        return self.data._with_crops(pick, self.data.crops[self.split - VAL])
