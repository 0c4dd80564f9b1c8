"""What a network answered to each test example: predictions.npz in a run's folder, and two of them compared.

Torch is not imported, so that a comparison starts fast.
"""

from pathlib import Path

import numpy as np

from indrnn import files, record
from indrnn.errors import UserError

LARGEST = 1_000_000  # bytes of all arrays; what is larger (texts) is not kept
NAME = "predictions.npz"


def write(folder: Path, found: dict[str, np.ndarray] | None) -> None:
    """Write predictions.npz, whole or not at all and with the same bytes for the same arrays; remove an older one where
    nothing is to be kept.

    Args:
        found: ``answer`` and either ``label`` (classes) or ``value`` (numbers), one entry for each test example; None,
            or more than ``LARGEST`` bytes, is not kept.
    """
    path = folder / NAME
    if found is not None:
        numbers = np.arange(len(found["answer"]))
        found = {name: narrow(array) for name, array in ({"example": numbers} | found).items()}
    if found is None or sum(array.nbytes for array in found.values()) > LARGEST:
        path.unlink(missing_ok=True)
        return

    def compressed(part: Path) -> None:
        with open(part, "wb") as file:  # by its name numpy would add .npz to it
            np.savez_compressed(file, **found)

    files.replace_whole(path, compressed)


def narrow(array: np.ndarray) -> np.ndarray:
    """Whole numbers in as few bytes as they need: MNIST's 10,000 examples then take 29 KB in all."""
    whole = array.size and array.dtype.kind in "iu" and array.min() >= 0
    return array.astype(np.min_scalar_type(array.max())) if whole else array


def read(folder: Path | str) -> dict[str, np.ndarray]:
    """``example``, its number in the test set; ``answer``, of the network; ``label`` or ``value``, what is right.

    Raises:
        UserError: the run is not finished, or keeps none.
    """
    folder = Path(folder)
    entry, path = record.read(folder), folder / NAME
    if not entry or entry["status"] != "finished" or not path.exists():
        raise UserError(f"{folder} is no finished run with {NAME}: make it, or make it again (a text keeps none).")
    try:
        with open(path, "rb") as file, np.load(file) as arrays:
            return dict(arrays)
    except Exception as error:  # whatever numpy and zipfile meet first in a damaged file
        kind = type(error).__name__
        raise UserError(f"{path} is damaged ({kind}): remove the folder and make the run again.") from None


def compare(a: Path | str, b: Path | str) -> dict[str, int | float]:
    """Two runs of one test set, example by example.

    Of classes: how many examples ``both`` runs get right, ``only_a``, ``only_b`` and ``neither``. Of values: how many
    ``only_a`` or ``only_b`` is nearer to, and ``both`` as near. ``p`` is of the exact test that neither is better: of
    the examples that tell the runs apart, each is as likely to be a's as b's (McNemar 1947; of values the sign test).

    Raises:
        UserError: as ``read``, or the test sets differ.
    """
    one, other = read(a), read(b)
    right = "label" if "label" in one else "value"
    if right not in other or not np.array_equal(one[right], other[right]):
        raise UserError(f"{a} and {b} were tested on different examples: compare runs of the same data.")
    if right == "label":
        hits = [found["answer"] == found["label"] for found in (one, other)]
        only_a, only_b = int((hits[0] & ~hits[1]).sum()), int((hits[1] & ~hits[0]).sum())
        counts = {"both": int((hits[0] & hits[1]).sum()), "only_a": only_a, "only_b": only_b}
        counts["neither"] = len(hits[0]) - sum(counts.values())
    else:
        away = [np.abs(found["answer"].astype(np.float64) - found["value"]) for found in (one, other)]
        only_a, only_b = int((away[0] < away[1]).sum()), int((away[1] < away[0]).sum())
        counts = {"both": int((away[0] == away[1]).sum()), "only_a": only_a, "only_b": only_b}
    return counts | {"p": exact(only_a, only_b)}


def exact(only_a: int, only_b: int) -> float:
    """The two-sided p of ``only_a`` of all n = only_a + only_b, where each is as likely as not; 1 where there is none.

    p = min(1, 2 sum_{k <= m} C(n, k) / 2^n) with m the smaller of the two: the exact form of the test of McNemar,
    "Note on the sampling error of the difference between correlated proportions", Psychometrika 12, 1947.
    """
    from scipy import stats  # takes half a second to import

    return float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def are_of_classes(folder: Path) -> bool:
    """Whether a run's folder keeps answers that are classes, hence right or wrong.

    Raises:
        UserError: as ``read``, but that there may be none.
    """
    return (folder / NAME).exists() and "label" in read(folder)
