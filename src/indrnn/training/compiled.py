"""The network's part of an update through torch.compile. Shapes: T time, B batch, M input, N neurons; time first.

Inductor fuses what it sees between the operators that it calls as they are: bias, batch norm, dropout masks and sums,
forward and backward. Such operators are the products with W, ``indrnn::recurrence`` and, on a CPU,
``indrnn::normed_recurrence``. CUDA graphs hold all of these, so that an update of many small kernels costs one launch
forward and one backward.
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

# Options of inductor. With random numbers of its own the dropout masks would be others than the eager ones.
MODES = {
    "default": {"fallback_random": True},
    "reduce-overhead": {"fallback_random": True, "triton.cudagraphs": True},
}
OF_TORCH = "eager: torch's own LSTM, GRU or RNN"

log = logging.getLogger(__name__)


def compile_(
    network: nn.Module,
    mode: str,
    keep_state: bool = False,
    seq_len: int | None = None,
    backend: str | Callable = "inductor",
    fullgraph: bool = False,
) -> None:
    """Let ``network.features`` be compiled where it trains, which is in training mode and with gradients.

    Validation, test and the recomputation of batch-norm statistics stay eager. The method is replaced and not the
    module, so that weights keep their names. The state after the last step comes back without its gradient, which no
    task reads and whose zeros the backward pass would go through. Networks with torch's own LSTM, GRU or RNN stay
    eager: those are operators that torch.compile does not enter. Where compiling fails there is one warning, and
    training goes on eagerly. ``how`` tells what became of it.

    With CUDA graphs and a state that is kept, only pieces of ``seq_len`` steps in full columns that go on from a state
    are in a graph; the first after a reset and the odd one at the end of an epoch are eager. Where pieces have many
    lengths (``data.vary_length``), nearly all would be eager, so all are compiled without graphs instead, as in
    ``default``, and a warning says so.

    Args:
        network: has ``features(x, state, lengths)``.
        mode: ``default``, or ``reduce-overhead`` with CUDA graphs; a CPU has none, but the same pieces are eager.
        keep_state: the state is read after the next update has begun, as language models do.
        seq_len: T of all pieces but odd ones, None where they have many; counts where ``keep_state`` does.
        backend, fullgraph: of ``torch.compile``, for tests.

    Raises:
        UserError: there is no such mode.
    """
    if mode not in MODES:
        raise UserError(f"machine.compile must be null, {' or '.join(MODES)}, not {mode!r}.")
    torch.compiler.reset()  # what earlier runs of this process compiled counts against torch's limits
    # The backward pass is compiled with the forward one: where it fails, nothing has been computed yet.
    torch._functorch.config.force_non_lazy_backward_lowering = True
    if any(isinstance(module, nn.RNNBase) for module in network.modules()):
        network.compiled = OF_TORCH
        return
    if mode == "reduce-overhead" and keep_state and seq_len is None:
        log.warning("machine.compile=default in place of %s: pieces of many lengths do not go into CUDA graphs.", mode)
        mode = "default"
    options = MODES[mode] if backend == "inductor" else None
    eager = network.features

    def features(x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        h, end = eager(x, state, lengths)
        return h, tree_map_only(Tensor, Tensor.detach, end)

    fast = torch.compile(features, backend=backend, fullgraph=fullgraph, options=options)
    network.features = Compiled(network, fast, mode, keep_state, seq_len)


def how(network: nn.Module) -> str | None:
    """What became of ``compile_``: the mode that trains, "eager: " and the reason, or None where it was not called."""
    return getattr(network, "compiled", None)


class Compiled:
    """``features`` of a network, compiled in training and eager otherwise; see ``compile_``.

    Args:
        network: its own ``features`` are taken as the eager ones; its ``compiled`` is what ``how`` returns.
        fast: the compiled ones. In reduce-overhead the next update may overwrite their outputs.
        mode, keep_state, seq_len: see ``compile_``.
    """

    def __init__(self, network: nn.Module, fast: Callable, mode: str, keep_state: bool, seq_len: int | None = None):
        self.network, self.eager, self.fast = network, network.features, fast
        self.mode, self.keep_state, self.seq_len, self.failed = mode, keep_state, seq_len, False
        self.graphs = "triton.cudagraphs" in MODES[mode]
        network.compiled = mode

    def __call__(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """x (T, B, M), state, lengths (B,) -> outputs (T, B, N), state, as ``Network.features``."""
        training = self.network.training and torch.is_grad_enabled()
        if self.failed or not training or not self.served(x, state, lengths):
            return self.eager(x, state, lengths)
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()
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
                "machine.compile=%s; its end and its record say so again.",
                text,
                self.mode,
            )
            set_random_states(before)
            return self.eager(x, state, lengths)
        if self.graphs and self.keep_state:
            end = tree_map_only(Tensor, Tensor.clone, end)
        return h, end if state is None else tree_map(moved, end, state)

    def served(self, x: Tensor, state: Any, lengths: Tensor | None) -> bool:
        """Whether the compiled features are for such a piece; in mode default they are for all.

        With every piece in a graph, a language model on a GPU went NaN right after the first odd piece, the first
        validation and the second reset (results/README.md). Which of them it was is unknown, so only the regular piece
        is in a graph.
        """
        if not (self.graphs and self.keep_state):
            return True
        return state is not None and lengths is None and len(x) == self.seq_len


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
