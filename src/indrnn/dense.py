"""P19 Fig. 3c: densely connected IndRNN. Shapes: T time, B batch, M input, N neurons, K outputs; time first."""

import torch
from torch import Tensor, nn

from indrnn.errors import positive
from indrnn.layers import IndRNNLayer, bound_of
from indrnn.networks import Network


class DenseIndRNN(Network):
    """Blocks whose layers read the outputs of all layers before them, with a transition after each block.

    With growth rate k: a first layer of 6k neurons; a dense layer is a bottleneck of 4k and then k neurons, which are
    concatenated to its input; a transition halves the width. Every Linear is followed by recurrence and batch norm,
    so that blocks (8, 6, 4) have 1 + 2 x 18 + 3 = 40 recurrences.

    Args:
        growth: k, neurons that each dense layer adds.
        blocks: dense layers of each block.
        dropout_first, dropout_bottleneck, dropout_dense, dropout_transition: probability dropped after the first layer
            (the authors call it input dropout), within and after each dense layer, after each transition.
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
    ):
        positive(growth=growth)
        for layers in blocks:
            positive(blocks=layers)
        width, widths = 6 * growth, []  # of the features after each transition
        for layers in blocks:
            width = (width + layers * growth) // 2
            widths.append(width)
        super().__init__(width, output_size)
        bound = bound_of(gamma, seq_len)

        def layer(inputs: int, neurons: int, dropout: float, low: float = 0.0) -> IndRNNLayer:
            return IndRNNLayer(inputs, neurons, bound, (low, bound), activation, batch_norm, init_std, dropout)

        self.first = layer(input_size, 6 * growth, dropout_first)
        self.bottlenecks, self.denses, self.transitions = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for number, (layers, after) in enumerate(zip(blocks, widths, strict=True)):
            width = 6 * growth if number == 0 else widths[number - 1]
            for _ in range(layers):
                self.bottlenecks.append(layer(width, 4 * growth, dropout_bottleneck))
                self.denses.append(layer(4 * growth, growth, dropout_dense))
                width += growth
            last = last_layer_near_one and number == len(blocks) - 1
            self.transitions.append(layer(width, after, dropout_transition, min(1 / bound, bound) if last else 0.0))
        self.blocks = list(blocks)

    def features(self, x: Tensor, state: list | None = None, lengths: Tensor | None = None) -> tuple[Tensor, list]:
        """x (T, B, M), state one (B, neurons) a recurrence in the order of use -> outputs (T, B, N), state."""
        last = []

        def run(layer: IndRNNLayer, z: Tensor) -> Tensor:
            h, end = layer(z, None if state is None else state[len(last)], lengths)
            last.append(end)
            return h

        x = run(self.first, x)
        pairs = iter(zip(self.bottlenecks, self.denses, strict=True))
        for layers, transition in zip(self.blocks, self.transitions, strict=True):
            for _ in range(layers):
                bottleneck, dense = next(pairs)
                new = run(dense, run(bottleneck, x))
                x = torch.cat([x, new], dim=2)
            x = run(transition, x)
        return x, last
