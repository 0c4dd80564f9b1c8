"""IndRNN in the place of ``nn.LSTM``. Shapes: T time, B batch, M input, N neurons, D directions (1 or 2), L layers."""

import math
import warnings

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from indrnn.eager import transforming
from indrnn.errors import UserError, positive
from indrnn.layers import IndRNNLayer, bound_of
from indrnn.layers.padding import reverse


class IndRNN(nn.Module):
    """L layers of h_t = σ(W x_t + u ⊙ h_{t-1} + b), P18 Eq. (2), with the arguments and shapes of ``nn.LSTM``.

    The first eight arguments are those of ``nn.LSTM`` in its order. Like ``nn.GRU`` it has one state and no cell state:
    write ``out, h = rnn(x)``, since ``out, (h, c) = rnn(x)`` unpacks h_n of two layers without a word.

    The bound on abs(u) holds without any call after ``optimizer.step()``: in training, forward first clips u in place,
    as the authors' code does, so that the optimizer goes on from the bound; otherwise, and so in an exported program,
    forward reads a clipped u and changes nothing. (A parametrization of torch would rename ``u`` and could not be
    pickled; a clipped u alone would get no gradient once its parameter is outside.)

    Exports in eval mode, T and B dynamic: with ``torch.export``, where the recurrence stays one node, so that whoever
    loads the program imports ``indrnn.recurrence`` first; with ``torch.onnx.export(dynamo=True)``, where it is a Scan.
    (TorchScript is not supported; torch has deprecated it.)

    A loop over ``parameters()`` that draws matrices anew and sets vectors to 0 silences every u, and so the memory:
    leave out the names that end in ``u``, or call ``reset_parameters`` instead.

    Args:
        input_size, hidden_size, num_layers: M, N, L.
        bias: without it, b = 0.
        batch_first: input and output are (B, T, ·); states stay (L·D, B, N).
        dropout: probability dropped of the outputs of all layers but the last; unlike ``nn.LSTM``, one mask for all
            steps of a sequence.
        bidirectional: each layer also runs backwards, within the length of each sequence.
        proj_size: 0; there are no projections.
        activation: relu, leaky_relu, tanh or identity.
        nonlinearity: the name of the same in ``nn.RNN``: relu or tanh.
        seq_len: T, to remember over so many steps: abs(u) is at most γ^(1/T).
        gamma: γ, the largest gain over T steps (2 in P18 Section 5.1).
        bound: the largest abs(u), in place of seq_len. With neither it is 1: no state grows without input, however
            long the sequence.
        last_layer_near_one: u of the last layer starts in [1/bound, bound], as P18 Section 5 has it where only the last
            step is read; otherwise, and in all other layers, in [0, bound].
        batch_norm: before or after the recurrence, or none; statistics over batch and time, padding left out.
        device, dtype: of the parameters.

    Raises:
        UserError: a size is no whole number above 0, bound and seq_len are both given or not above 0, ...
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        activation: str = "relu",
        nonlinearity: str | None = None,
        seq_len: int | None = None,
        gamma: float = 2.0,
        bound: float | None = None,
        last_layer_near_one: bool = False,
        batch_norm: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        positive(num_layers=num_layers)
        for name, value in {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}.items():
            if not isinstance(value, bool):
                raise UserError(f"{name} must be True or False, not {value!r}; the order is that of nn.LSTM.")
        if proj_size != 0:
            raise UserError(f"proj_size must be 0, not {proj_size!r}: an IndRNN has no projections.")
        if nonlinearity is not None:
            if nonlinearity not in ("relu", "tanh") or activation != "relu":
                raise UserError(f"nonlinearity must be relu or tanh, not {nonlinearity!r}, and leave activation out.")
            activation = nonlinearity
        if bound is not None and seq_len is not None:
            raise UserError("Give seq_len (the bound on abs(u) is then gamma^(1/seq_len)) or bound, not both.")
        if bound is None:
            bound = 1.0 if seq_len is None else bound_of(gamma, seq_len)
        if not 0 < bound < math.inf:
            raise UserError(f"bound must be a number above 0, not {bound}.")
        if dropout and num_layers == 1:
            warnings.warn("indrnn: dropout is between layers, and there is one layer only", stacklevel=2)
        self.input_size, self.hidden_size, self.num_layers, self.bias = input_size, hidden_size, num_layers, bias
        self.batch_first, self.dropout, self.bidirectional, self.bound = batch_first, dropout, bidirectional, bound
        self.proj_size = proj_size

        def layer(i: int) -> IndRNNLayer:
            last = i == num_layers - 1
            return _BoundedLayer(
                input_size if i == 0 else hidden_size * (1 + bidirectional),
                hidden_size,
                bound,
                (min(1 / bound, bound) if last and last_layer_near_one else 0.0, bound),
                activation,
                batch_norm,
                dropout=0.0 if last else dropout,
                bias=bias,
            )

        self.layers = nn.ModuleList(layer(i) for i in range(num_layers))
        self.layers_reverse = nn.ModuleList(layer(i) for i in range(num_layers) if bidirectional)
        self.to(device=device, dtype=dtype)

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """weight_ih, u and, if there is one, the bias of each layer and direction, in the order of the states."""
        return [
            [p for p in (layer.weight_ih, layer.u, layer.bias) if p is not None] for layer in self._in_order_of_states()
        ]

    def _in_order_of_states(self) -> list[IndRNNLayer]:
        pairs = zip(self.layers, self.layers_reverse, strict=True) if self.bidirectional else zip(self.layers)
        return [layer for pair in pairs for layer in pair]

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as at the construction: with the same seed the same ones."""
        for layer in [*self.layers, *self.layers_reverse]:
            layer.reset_parameters()

    def flatten_parameters(self) -> None:
        """Nothing: there is no cuDNN whose memory it would arrange. For code that calls it of any recurrent layer."""

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """Outputs of the last layer at every step, and the last state of every layer.

        Args:
            input: (T, B, M), with batch_first (B, T, M); (T, M) for one sequence alone; or a PackedSequence.
            hx: the first states, (L·D, B, N) or (L·D, N), in the order of ``nn.LSTM``; zeros if omitted.
            lengths: steps of each sequence of a padded batch, (B,), whole numbers on the device of the input. What the
                padding holds changes nothing; outputs there are 0.

        Returns:
            (T, B, D·N), batch first or packed as the input is, and h_n, (L·D, B, N): one tensor, where nn.LSTM has a
            pair. Backwards, the last state is the one at the first step.

        Raises:
            UserError: a shape or a kind that does not fit.
        """
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise UserError("A PackedSequence knows its lengths: leave lengths out.")
            return self._forward_packed(input, hx)
        x = input
        if not isinstance(x, Tensor):
            raise UserError(f"input must be a tensor or a PackedSequence, not a {type(x).__name__}.")
        if x.dim() not in (2, 3) or x.shape[-1] != self.input_size:
            shape = "(B, T, M)" if self.batch_first else "(T, B, M)"
            raise UserError(f"input must be {shape} or (T, M) with M = {self.input_size}, not {tuple(x.shape)}.")
        if x.dim() == 2:
            if lengths is not None:
                raise UserError("lengths belong to a batch, and the input (T, M) is one sequence.")
            self._check_state(hx, (), x)
            y, h = self._run(x[:, None], None if hx is None else hx[:, None], None)
            return y[:, 0], h[:, 0]
        x = x.transpose(0, 1) if self.batch_first else x
        self._check_state(hx, x.shape[1:2], x)
        y, h = self._run(x, hx, lengths)
        return y.transpose(0, 1) if self.batch_first else y, h

    def _forward_packed(self, packed: PackedSequence, hx: Tensor | None) -> tuple[PackedSequence, Tensor]:
        if packed.data.shape[-1] != self.input_size:
            raise UserError(f"input must hold steps of M = {self.input_size} numbers, not {packed.data.shape[-1]}.")
        self._check_state(hx, packed.batch_sizes[:1].tolist(), packed.data)
        # Within, sequences stay in the order in which they are packed, longest first.
        x, lengths = pad_packed_sequence(PackedSequence(packed.data, packed.batch_sizes))
        if hx is not None and packed.sorted_indices is not None:
            hx = hx[:, packed.sorted_indices]
        y, h = self._run(x, hx, lengths.to(x.device))
        if packed.unsorted_indices is not None:
            h = h[:, packed.unsorted_indices]
        data = pack_padded_sequence(y, lengths).data
        return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices), h

    def _check_state(self, hx: Tensor | None, batch: tuple[int, ...], x: Tensor) -> None:
        if hx is None:
            return
        if isinstance(hx, tuple):
            raise UserError("hx is one tensor, as for nn.GRU: an IndRNN has no cell state.")
        if not isinstance(hx, Tensor):
            raise UserError(f"hx must be a tensor, not a {type(hx).__name__}: torch.as_tensor makes one.")
        shape = (self.num_layers * (1 + self.bidirectional), *batch, self.hidden_size)
        if hx.shape != shape:
            raise UserError(f"hx must have the shape (layers x directions, B, N) = {shape}, not {tuple(hx.shape)}.")
        double = torch.float64  # does not mix; the narrower ones do, as under autocast
        if not hx.is_floating_point() or (hx.dtype == double) != (x.dtype == double):
            raise UserError(f"hx must be {x.dtype} as the input is, not {hx.dtype}.")
        if hx.device != x.device:
            raise UserError(f"hx must be on {x.device} as the input is, not on {hx.device}.")

    def _run(self, x: Tensor, hx: Tensor | None, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """x (T, B, M), hx (L·D, B, N) -> (T, B, D·N), (L·D, B, N)."""
        dtype, last = x.dtype, []

        def run(layer: IndRNNLayer, x: Tensor) -> Tensor:
            y, h = layer(x, None if hx is None else hx[len(last)], lengths)
            last.append(h.to(dtype))
            return y.to(dtype)  # the recurrence computes in float32 at least

        for i, layer in enumerate(self.layers):
            y = run(layer, x)
            if self.bidirectional:
                backward = run(self.layers_reverse[i], reverse(x, lengths))
                y = torch.cat([y, reverse(backward, lengths)], dim=2)
            x = y
        return x, torch.stack(last)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, bound={self.bound:.6g}"


class _BoundedLayer(IndRNNLayer):
    """A layer that keeps its bound by itself; see IndRNN."""

    def _used_u(self) -> Tensor:
        if not self.training:
            return self.u.clamp(-self.bound, self.bound)
        if not isinstance(self.u, nn.Parameter) or transforming():
            # functional_call's and torch.func's are not ours to change: the same numbers, and the same gradient
            return self.u.detach().clamp(-self.bound, self.bound) + (self.u - self.u.detach())
        self.constrain_()
        return self.u.clone()  # for autograd to keep: the next forward may come before backward, and clips in place
