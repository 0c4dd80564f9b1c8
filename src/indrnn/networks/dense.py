"""P19 Fig. 3c: densely connected IndRNN. Shapes: T time, B batch, M input, N neurons, K outputs; time first."""

from typing import Any

import torch
from torch import Tensor, nn

from indrnn.errors import UserError, positive
from indrnn.networks.indrnn_network import IndRNNNetwork


class DenseIndRNN(IndRNNNetwork):
    """Blocks whose layers read the outputs of all layers before them, with a transition after each block.

    With growth rate k: a first layer of 6k neurons; a dense layer is a bottleneck of 4k and then k neurons, which are
    concatenated to its input; a transition halves the width. Every Linear is followed by recurrence and batch norm,
    so that blocks (8, 6, 4) have 1 + 2 x 18 + 3 = 40 recurrences.

    Args:
        growth: k, neurons that each dense layer adds.
        blocks: dense layers of each block.
        dropout_first, dropout_bottleneck, dropout_dense, dropout_transition: probability dropped after the first layer
            (the authors call it input dropout), within and after each dense layer, after each transition.
        first_layer: without it, the first block reads the input itself.
        last_size: if given, the transition after the last block is a LastTransition of so many neurons.
        dropout_output: of that.
        time_difference: every layer and the head read x_t and x_t - x_{t-1}, with x_{-1} = 0 (P19 Section 5.4). Such a
            network starts from no state but zeros.
        others: as for PlainIndRNN.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        growth: int,
        blocks: list[int],
        seq_len: int,
        gamma: float,
        activation: str = "relu",
        last_layer_near_one: bool = True,
        batch_norm: str | None = None,
        dropout_first: float = 0.0,
        dropout_bottleneck: float = 0.0,
        dropout_dense: float = 0.0,
        dropout_transition: float = 0.0,
        init_std: float | None = None,
        bound: float | None = None,
        frame_wise: bool | None = None,
        first_layer: bool = True,
        last_size: int | None = None,
        dropout_output: float | None = None,
        time_difference: bool | None = None,
    ):
        positive(growth=growth)
        if not blocks:
            raise UserError("blocks must name the dense layers of each block, such as [8, 6, 4].")
        for layers in blocks:
            positive(blocks=layers)
        width = start = 6 * growth if first_layer else input_size
        widths = []  # of the features after each transition
        for layers in blocks:
            width = (width + layers * growth) // 2
            widths.append(width)
        read = 2 if time_difference else 1  # features that are read for each one that is computed
        common = (activation, last_layer_near_one, batch_norm, init_std, bound, frame_wise)
        super().__init__(read * (last_size or width), output_size, seq_len, gamma, *common)
        self.time_difference = bool(time_difference)
        self.first = self.layer(read * input_size, 6 * growth, dropout_first) if first_layer else None
        self.bottlenecks, self.denses, self.transitions = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for number, (layers, after) in enumerate(zip(blocks, widths, strict=True)):
            width = start if number == 0 else widths[number - 1]
            for _ in range(layers):
                self.bottlenecks.append(self.layer(read * width, 4 * growth, dropout_bottleneck))
                self.denses.append(self.layer(read * 4 * growth, growth, dropout_dense))
                width += growth
            last = number == len(blocks) - 1
            if last and last_size:
                transition = self.last_transition(read * width, last_size, dropout_output)
            else:
                transition = self.layer(read * width, after, dropout_transition, last)
            self.transitions.append(transition)
        self.blocks = list(blocks)

    def features(self, x: Tensor, state: list | None = None, lengths: Tensor | None = None) -> tuple[Tensor, list]:
        """x (T, B, M), state one a recurrence in the order of use -> outputs (T, B, N), state.

        With time_difference, outputs are (T, B, 2 N).

        Raises:
            UserError: there is a state, and time_difference.
        """
        if self.time_difference and state is not None:
            raise UserError("A network with time_difference starts from zeros: it does not keep the last inputs.")
        x = self._read(x)
        states = iter([None] * (2 * len(self.denses) + len(self.transitions) + 1) if state is None else state)
        last = []
        if self.first is not None:
            x, end = self.part(self.first, x, next(states), lengths)
            x = self._read(x)
            last.append(end)
        numbers = iter(range(len(self.denses)))
        for layers, transition in zip(self.blocks, self.transitions, strict=True):
            parts = [x]  # one by one into each part of the network, which looks at them again in the backward pass
            for _ in range(layers):
                new, *ends = self.part(self._layer, next(numbers), next(states), next(states), lengths, *parts)
                parts.append(self._read(new))
                last += ends
            x, end = self.part(self._transition, transition, next(states), lengths, *parts)
            x = self._read(x)
            last.append(end)
        return x, last

    def _read(self, x: Tensor) -> Tensor:
        """x (T, B, N), as the next layer reads it: itself or, with time_difference, (T, B, 2 N)."""
        return torch.cat([x, x - torch.cat([torch.zeros_like(x[:1]), x[:-1]])], dim=2) if self.time_difference else x

    def _layer(
        self, number: int, first: Any, second: Any, lengths: Tensor | None, *parts: Tensor
    ) -> tuple[Tensor, Any, Any]:
        """Dense layer ``number`` of all, on what its block has so far; ``first`` and ``second`` are states."""
        h, first = self.bottlenecks[number](torch.cat(parts, dim=2), first, lengths)
        h, second = self.denses[number](self._read(h), second, lengths)
        return h, first, second

    def _transition(
        self, transition: nn.Module, state: Any, lengths: Tensor | None, *parts: Tensor
    ) -> tuple[Tensor, Any]:
        """The transition after a block, on all that the block has."""
        return transition(torch.cat(parts, dim=2), state, lengths)
