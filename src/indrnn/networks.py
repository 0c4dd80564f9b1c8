"""Features -> head. Shapes: T time, B batch, M input, N neurons, K outputs; time first.

A network maps (T, B, M) and a state to the outputs of every step (T, B, K) and the state after the last. Where
sequences are padded, ``lengths`` (B,) says how many steps each has: the padding changes nothing, whatever it holds
(indrnn.padding); features and outputs there are 0, and the state is the one after the last valid step.
``hydra.utils.instantiate(cfg.model)`` builds PlainIndRNN or calls one of the functions at the end of this file.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

from indrnn import baselines
from indrnn.errors import UserError, positive
from indrnn.layers import IndRNNLayer, IndRNNUnit, bound_of, init_weight_
from indrnn.padding import blank, valid_steps
from indrnn.transition import LastTransition


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
        self.head = nn.Linear(hidden_size, output_size)
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


class PlainIndRNN(Network):
    """P18 Fig. 1a: layers of W, recurrence, batch norm (before or after), dropout.

    Args:
        input_size, output_size, hidden_size, num_layers: M, K, N, number of recurrent layers.
        seq_len: T, in the bound γ^(1/T) and the initial values of u.
        gamma: γ, the largest gain over T steps.
        activation: relu, leaky_relu (``negative_slope``, 0.01 if none), tanh or identity.
        last_layer_near_one: u of the last layer starts in [γ^(-1/T), γ^(1/T)], as P18 asks for where only the last
            output counts; otherwise, and in all other layers, in [0, γ^(1/T)].
        batch_norm: before, after or none.
        dropout: probability dropped, one mask for all steps.
        init_std: see IndRNNLayer.
        kernel_size: k, steps that W reads; above 1 the state of a layer is a pair, see IndRNNLayer.
        bound: instead of γ^(1/T); ``unbounded`` leaves u alone after updates, but it starts within the bound.
        frame_wise: batch norm with statistics of their own for 2 T time steps, see IndRNNUnit.
        dropout_last: of the last layer, if it differs.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        hidden_size: int,
        num_layers: int,
        seq_len: int,
        gamma: float,
        activation: str = "relu",
        last_layer_near_one: bool = True,
        batch_norm: str | None = None,
        dropout: float = 0.0,
        init_std: float | None = None,
        kernel_size: int = 1,
        bound: float | None = None,
        frame_wise: bool | None = None,
        dropout_last: float | None = None,
        negative_slope: float | None = None,
        unbounded: bool | None = None,
    ):
        super().__init__(hidden_size, output_size)
        positive(num_layers=num_layers)
        bound = bound_of(gamma, seq_len) if bound is None else bound
        slope = 0.01 if negative_slope is None else negative_slope
        self.layers = nn.ModuleList()
        for i in range(num_layers):
            near_one = last_layer_near_one and i == num_layers - 1
            u_range = (min(1 / bound, bound) if near_one else 0.0, bound)
            drop = dropout_last if dropout_last is not None and i == num_layers - 1 else dropout
            positions = 2 * seq_len if frame_wise else None
            sizes = (input_size if i == 0 else hidden_size, hidden_size)
            settings = (math.inf if unbounded else bound, u_range, activation, batch_norm, init_std, drop)
            others = {"kernel_size": kernel_size, "positions": positions, "negative_slope": slope}
            self.layers.append(IndRNNLayer(*sizes, *settings, **others))

    def features(self, x: Tensor, state: list | None = None, lengths: Tensor | None = None) -> tuple[Tensor, list]:
        """x (T, B, M), state one (B, N) a layer, lengths (B,) -> outputs (T, B, N), state."""
        last = []
        for i, layer in enumerate(self.layers):
            x, h = self.part(layer, x, None if state is None else state[i], lengths)
            last.append(h)
        return x, last


class ResidualIndRNN(Network):
    """P18 Fig. 1b, pre-activation: x + W2 unit(W1 unit(x)), where a unit is recurrence, batch norm, dropout.

    An input Linear, blocks of two recurrent layers each, a final unit: ``num_layers`` = 2 x blocks + 1. (P19 calls the
    network of 5 blocks, 11 recurrent layers, "12 layers".)

    Args:
        num_layers: recurrent layers, odd and at least 3.
        last_size: if given, the network ends in a LastTransition of so many neurons, a recurrent layer more.
        dropout_output: of that.
        others: as for PlainIndRNN; ``dropout_last`` is of the final unit.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        hidden_size: int,
        num_layers: int,
        seq_len: int,
        gamma: float,
        activation: str = "relu",
        last_layer_near_one: bool = True,
        batch_norm: str | None = None,
        dropout: float = 0.0,
        init_std: float | None = None,
        bound: float | None = None,
        frame_wise: bool | None = None,
        dropout_last: float | None = None,
        last_size: int | None = None,
        dropout_output: float | None = None,
    ):
        super().__init__(last_size or hidden_size, output_size)
        positive(num_layers=num_layers)
        if num_layers < 3 or num_layers % 2 == 0:
            raise UserError(f"num_layers of a residual network is 2 x blocks + 1, at least 3, not {num_layers}.")
        bound = bound_of(gamma, seq_len) if bound is None else bound
        positions = 2 * seq_len if frame_wise else None
        low = min(1 / bound, bound) if last_layer_near_one else 0.0
        self.input = linear(input_size, hidden_size, init_std)
        self.units, self.linears = nn.ModuleList(), nn.ModuleList()
        for i in range(num_layers):
            final = i == num_layers - 1
            u_range = (low if final and not last_size else 0.0, bound)
            drop = dropout_last if final and dropout_last is not None else dropout
            unit = IndRNNUnit(hidden_size, bound, u_range, activation, batch_norm, drop, positions=positions)
            self.units.append(unit)
        for _ in range(num_layers - 1):
            self.linears.append(linear(hidden_size, hidden_size, init_std))
        self.last = None
        if last_size:
            self.last = LastTransition(
                hidden_size,
                last_size,
                bound,
                (low, bound),
                activation,
                batch_norm,
                init_std,
                dropout_output or 0.0,
                positions,
            )

    def features(self, x: Tensor, state: list | None = None, lengths: Tensor | None = None) -> tuple[Tensor, list]:
        """x (T, B, M), state one a recurrent layer, lengths (B,) -> outputs (T, B, N), state."""
        states = [None] * (len(self.units) + 1) if state is None else state
        last = []
        x = self.input(x if lengths is None else blank(x, valid_steps(lengths, x)))
        for i in range(0, len(self.linears), 2):
            x, *ends = self.part(self._block, i, x, states[i], states[i + 1], lengths)
            last += ends
        x, end = self.part(self.units[-1], x, states[len(last)], lengths)
        last.append(end)
        if self.last is not None:
            x, end = self.part(self.last, x, states[len(last)], lengths)
            last.append(end)
        return x, last

    def _block(self, i: int, x: Tensor, first: Any, second: Any, lengths: Tensor | None) -> tuple[Tensor, Any, Any]:
        """The block whose first recurrent layer is number i; ``first`` and ``second`` are states."""
        h, first = self.units[i](x, first, lengths)
        h, second = self.units[i + 1](self.linears[i](h), second, lengths)
        return x + self.linears[i + 1](h), first, second


class Baseline(Network):
    """A torch recurrent network of ``indrnn.baselines`` under the same head."""

    def __init__(self, cell: nn.RNNBase, output_size: int):
        super().__init__(cell.hidden_size, output_size)
        self.cell = cell

    def features(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """x (T, B, M), state of torch's cell, lengths (B,) -> outputs (T, B, N), state.

        Raises:
            UserError: a length is 0, which torch's own networks do not take.
        """
        if lengths is None:
            return self.cell(x, state)
        if not valid_steps(lengths, x).any(0).all():
            raise UserError("torch's recurrent networks take no sequence of length 0: leave it out of the batch.")
        packed, state = self.cell(pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False), state)
        return pad_packed_sequence(packed, total_length=len(x))[0], state


def rnn_tanh(input_size: int, output_size: int, hidden_size: int, num_layers: int) -> Network:
    return Baseline(baselines.rnn_tanh(input_size, hidden_size, num_layers), output_size)


def irnn(input_size: int, output_size: int, hidden_size: int, num_layers: int) -> Network:
    return Baseline(baselines.irnn(input_size, hidden_size, num_layers), output_size)


def lstm(input_size: int, output_size: int, hidden_size: int, num_layers: int) -> Network:
    return Baseline(baselines.lstm(input_size, hidden_size, num_layers), output_size)


def gru(input_size: int, output_size: int, hidden_size: int, num_layers: int) -> Network:
    return Baseline(baselines.gru(input_size, hidden_size, num_layers), output_size)


def linear(input_size: int, output_size: int, init_std: float | None) -> nn.Linear:
    """A Linear that starts as the input weights of an IndRNNLayer do."""
    layer = nn.Linear(input_size, output_size)
    init_weight_(layer.weight, init_std)
    nn.init.zeros_(layer.bias)
    return layer
