"""Independently recurrent neural networks (IndRNN): layers, networks, and the papers' experiments."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indrnn.layers.drop_in import IndRNN

__all__ = ["IndRNN"]


def __getattr__(name: str) -> Any:
    """``from indrnn import IndRNN`` imports torch; ``import indrnn.record``, which tables and plans do, must not."""
    if name == "IndRNN":
        from indrnn.layers.drop_in import IndRNN

        return IndRNN
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
