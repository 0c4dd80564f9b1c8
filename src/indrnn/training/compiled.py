"""The network's part of an update through torch.compile. Shapes: T time, B batch, M input, N neurons; time first.

Inductor fuses what it sees between the operators that it calls as they are: bias, batch norm, dropout masks and sums,
forward and backward. Such operators are the products with W, ``indrnn::recurrence`` and, on a CPU,
``indrnn::normed_recurrence``.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
import torch._functorch.config
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException
from torch.utils._pytree import tree_map, tree_map_only

from indrnn.errors import UserError
from indrnn.out_of_memory import out_of_memory

OF_TORCH = "eager: torch's own LSTM, GRU or RNN"

log = logging.getLogger(__name__)


def compile_(network: nn.Module, mode: str, backend: str | Callable = "inductor", fullgraph: bool = False) -> None:
    """Let ``network.features`` be compiled where it trains, which is in training mode and with gradients.

    Validation, test and the recomputation of batch-norm statistics stay eager. The method is replaced and not the
    module, so that weights keep their names. The state after the last step comes back without its gradient, which no
    task reads and whose zeros the backward pass would go through. Networks with torch's own LSTM, GRU or RNN stay
    eager: those are operators that torch.compile does not enter. Where compiling fails there is one warning, and
    training goes on eagerly. ``how`` tells what became of it.

    Args:
        network: has ``features(x, state, lengths)``.
        mode: ``default``; CUDA graphs are another matter (``indrnn.training.graph``).
        backend, fullgraph: of ``torch.compile``, for tests.

    Raises:
        UserError: there is no such mode.
    """
    if mode != "default":
        raise UserError(f"machine.compile must be null or default, not {mode!r}.")
    torch.compiler.reset()  # what earlier runs of this process compiled counts against torch's limits
    # The backward pass is compiled with the forward one: where it fails, nothing has been computed yet.
    torch._functorch.config.force_non_lazy_backward_lowering = True
    if any(isinstance(module, nn.RNNBase) for module in network.modules()):
        network.compiled = OF_TORCH
        return
    eager = network.features

    def features(x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        h, end = eager(x, state, lengths)
        return h, tree_map_only(Tensor, Tensor.detach, end)

    # With random numbers of inductor's own the dropout masks would be others than the eager ones.
    options = {"fallback_random": True} if backend == "inductor" else None
    network.features = Compiled(network, torch.compile(features, backend=backend, fullgraph=fullgraph, options=options))


def how(network: nn.Module) -> str | None:
    """What became of ``compile_``: the mode that trains, "eager: " and the reason, or None where it was not called."""
    return getattr(network, "compiled", None)


class Compiled:
    """``features`` of a network, compiled in training and eager otherwise; see ``compile_``.

    Args:
        network: its own ``features`` are taken as the eager ones; its ``compiled`` is what ``how`` returns.
        fast: the compiled ones.
    """

    def __init__(self, network: nn.Module, fast: Callable):
        self.network, self.eager, self.fast, self.failed = network, network.features, fast, False
        network.compiled = "default"

    def __call__(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """x (T, B, M), state, lengths (B,) -> outputs (T, B, N), state, as ``Network.features``."""
        if self.failed or not (self.network.training and torch.is_grad_enabled()):
            return self.eager(x, state, lengths)
        before = random_states()
        try:
            # A position (FrameBatchNorm) decides nothing in training, and as a number it would be compiled in.
            h, end = self.fast(x, tree_map_only(int, lambda position: 0, state), lengths)
        except TorchDynamoException as error:
            if out_of_memory(error):
                raise
            reason = getattr(error, "inner_exception", error)
            text = f"{type(reason).__name__}: {str(reason).strip()}".splitlines()[0]
            self.failed, self.network.compiled = True, f"eager: {text}"
            log.warning(
                "The network could not be compiled (%s): the run goes on eagerly and is slower than with "
                "machine.compile=default; its end and its record say so again.",
                text,
            )
            set_random_states(before)
            return self.eager(x, state, lengths)
        return h, end if state is None else tree_map(moved, end, state)


def moved(end: Any, start: Any) -> Any:
    """A leaf of the state: a position goes on from where it was, all else is as it came."""
    return start + end if isinstance(end, int) else end


def random_states() -> list[Tensor]:
    """Of torch's generators on the CPU and, if it is in use, the current GPU: a failure may have drawn from them."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else states


def set_random_states(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state)
