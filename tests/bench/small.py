"""The GPU's benchmark at sizes that a CPU measures in seconds, and rows that were not measured."""

from typing import Any

from indrnn.bench.gpu.layers import ADDING, FIRST, LSTM, WIDE
from indrnn.bench.gpu.sizes import Sizes

TINY = "recipe.hidden_size=8 data.batch_size=2"
SMALL = Sizes(
    rounds=1,
    shapes=({"experiments": ["adding"], "T": 6, "B": 2, "N": 8}, {"experiments": ["a", "b"], "T": 3, "B": 2, "N": 8}),
    lengths=(4, 6),
    calls=2,
    backends=("reference", "scan"),
    steps=(4, 8),
    columns=(128, 256),
    launched=((6, 256),),
    grid=((32, 64), (1,), (8,), (6,)),
    networks=(
        ("plain-6 MNIST", f"experiment=quick/smnist model=indrnn {TINY}", "fp32"),
        ("PTB characters", f"experiment=quick/ptb_char model=indrnn data.seq_len=6 {TINY}", "bf16 fp32"),
    ),
    trained=(
        "plain-6 MNIST",
        f"experiment=quick/smnist model=indrnn data.seq_len=16 data.counts=[16,8,8] {TINY}",
        (2, 4, 204),
        (100, 2),
    ),
)
HEADINGS = [  # of a report about everything
    "Bars",
    "Recurrence, against a copy of as many bytes on the device",
    "P19 Figure 2: cuDNN's LSTM / IndRNN, one layer of each, forward and backward",
    "Forward and backward of one layer",
    "A whole update",
    "Parts of an update, ms",
    "Training, against replays of the same update",
    "What an update costs the host",
    "Cost of a call: the recurrence at T = 1, B = 1, many calls in a row",
    "Walk (triton) or scan",
    "Launches of the triton kernels",
    "A whole update through torch.compile",
    "The plain loop, compiled",
    "Not measured here",
]


def layer(what: str, T: int, ms: float | None, setting: str = ADDING, mode: str = "graph") -> dict[str, Any]:
    row = {"what": what, "setting": setting, "precision": "fp32", "mode": mode, "T": T, "B": 2, "M": 2, "N": 8}
    return row | ({"skipped": "out of memory"} if ms is None else {"ms": ms})


def pairs(ratio: dict[int, float], setting: str = ADDING, mode: str = "graph") -> list[dict[str, Any]]:
    """IndRNN and LSTM by T, at these ratios."""
    return [row for T, r in ratio.items()
            for row in (layer(FIRST, T, 2.0, setting, mode), layer(LSTM, T, 2.0 * r, setting, mode))]  # fmt: skip


def share(T: int, columns: int, dtype: str, what: str, of_copy: float) -> dict[str, Any]:
    row = {"experiments": ["x"], "T": T, "B": 32, "N": columns // 32, "what": what, "dtype": dtype, "in_l2": False}
    return row | {"bytes": 1, "ms": 1.0, "copy_ms": of_copy, "of_copy": of_copy}


def update(what: str, precision: str, ms: float, mode: str = "graph") -> dict[str, Any]:
    return {"what": what, "precision": precision, "mode": mode, "T": 5, "B": 2, "N": 8, "ms": ms}


def part(what: str, precision: str, sum_ms: float) -> dict[str, Any]:
    return {"what": what, "precision": precision, "mode": "graph", "B": 2, "sum_ms": sum_ms}


# What reaches the first bar of each table, misses another one, and leaves the others open.
MEASURED = {
    "recurrence": [share(784, 4096, "fp32", "forward", 0.65), share(784, 4096, "fp32", "backward", 0.49)],
    "layers": [*pairs({256: 6.5, 512: 9.0}), layer(FIRST, 1024, 2.0), layer(LSTM, 1024, None),
               *pairs({256: 2.4}, WIDE, "eager")],
    "updates": [update("plain-6 MNIST", "fp32", 1.3), update("plain-6 MNIST", "fp32", 9.0, "eager"),
                update("PTB characters", "bf16", 3.0), update("PTB characters", "fp32", 1.0)],
    "parts": [part("plain-6 MNIST", "fp32", 1.0), part("PTB characters", "bf16", 2.0),
              part("PTB characters", "fp32", 2.0)],
    "training": [{"what": "plain-6 MNIST", "precision": "fp32", "updates": 9, "ms": 1.43, "graph": "true",
                  "validation_ms": 87.23, "in_updates": 61.0, "validations": 1234, "images": 3000,
                  "calibrating": 1900}],
}  # fmt: skip
