"""Features -> head. Shapes: T time, B batch, M input, N neurons, K outputs; time first.

A network maps (T, B, M) and a state to the outputs of every step (T, B, K) and the state after the last. Where
sequences are padded, ``lengths`` (B,) says how many steps each has: the padding changes nothing, whatever it holds
(indrnn.layers.padding); features and outputs there are 0, and the state is the one after the last valid step.
``hydra.utils.instantiate(cfg.model)`` builds one of this wing, or calls a function of ``baseline``.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from indrnn.errors import positive
from indrnn.layers import IndRNNUnit
from indrnn.layers.padding import blank, valid_steps
from indrnn.products import Linear


class Network(nn.Module):
    """A linear head over the features that a subclass computes.

    The head starts with weights from N(0, 2 / N) (Kaiming) and zero bias, as in the authors' code.

    Args:
        hidden_size: N, width of the features.
        output_size: K.

    ``save_memory``, set from outside, computes what a part of the network keeps for the backward pass anew in there:
    the same numbers, a third more time, and memory for the inputs of the parts and the insides of one.
    """

    save_memory = False

    def __init__(self, hidden_size: int, output_size: int):
        super().__init__()
        positive(hidden_size=hidden_size, output_size=output_size)
        self.head = Linear(hidden_size, output_size)
        nn.init.kaiming_normal_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def features(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """x (T, B, M) -> what the head reads, (T, B, N), and the state; a task that wants one step saves the rest."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """x (T, B, M), lengths (B,) -> outputs of every step (T, B, K), state."""
        h, state = self.features(x, state, lengths)
        y = self.head(h)
        return y if lengths is None else blank(y, valid_steps(lengths, x)), state

    def part(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """``function(*inputs)``, a part of the network in the sense of ``save_memory``."""
        if self.save_memory and torch.is_grad_enabled():
            return checkpoint(function, *inputs, use_reentrant=False)
        return function(*inputs)

    def constrain_(self) -> None:
        """Bring every u back into its bound; to be called after every update."""
        for module in self.modules():
            if isinstance(module, IndRNNUnit):
                module.constrain_()
