"""Data modules and what they read. Shapes: T time, B batch, M input, K outputs; batch first here."""

from typing import TYPE_CHECKING, Any

from indrnn.splits import TEST, TRAIN, VAL

if TYPE_CHECKING:
    from indrnn.data.module import Data, as_float, noise_seed, shuffled


__all__ = ["TEST", "TRAIN", "VAL", "Data", "as_float", "noise_seed", "shuffled"]


def __getattr__(name: str) -> Any:
    """``from indrnn.data import Data`` imports Lightning, which takes seconds; processes that read files must not."""
    if name in __all__:
        from indrnn.data import module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
