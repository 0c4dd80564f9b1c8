"""Independently recurrent neural networks (IndRNN): layers, networks, and the papers' experiments."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indrnn.layers.drop_in import IndRNN
    from indrnn.load import load

__all__ = ["IndRNN", "load"]


def __getattr__(name: str) -> Any:
    """``from indrnn import IndRNN`` imports torch; ``import indrnn.record``, which tables and plans do, must not."""
    if name == "IndRNN":
        from indrnn.layers.drop_in import IndRNN

        return IndRNN
    if name == "load":
        return importlib.import_module("indrnn.load")  # which can be called
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
