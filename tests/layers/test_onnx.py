"""What torch.onnx.export writes, in onnxruntime, with other T and B. Shapes: T time, B batch, M input, N neurons."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from indrnn import IndRNN
from indrnn.recurrence import recurrence

pytest.importorskip("onnxscript", reason="torch.onnx.export needs it")
onnxruntime = pytest.importorskip("onnxruntime", reason="what is written is run with it")

# What torch and its exporter say of each other and of axes that share a name.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.:FutureWarning"),
    pytest.mark.filterwarnings("ignore:# The axis name. B will not be used:UserWarning"),
]
STEPS, SEQUENCES = torch.export.Dim("T"), torch.export.Dim("B")
T, B, M, N = 6, 2, 3, 4


def written(network: nn.Module, inputs: tuple[Tensor, ...], shapes: tuple) -> bytes:
    program = torch.onnx.export(network.eval(), inputs, dynamo=True, dynamic_shapes=shapes, verbose=False)
    return program.model_proto.SerializeToString()


def agree(network: nn.Module, model: bytes, *inputs: Tensor) -> None:
    session = onnxruntime.InferenceSession(model)
    given = {a.name: x.numpy() for a, x in zip(session.get_inputs(), inputs, strict=True)}
    expected = network(*inputs)
    for ours, theirs in zip(session.run(None, given), expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(ours), theirs, rtol=1e-6, atol=1e-6)


class Everywhere(nn.Module):
    """The recurrence with each activation, with and without a first state."""

    def forward(self, x: Tensor, u: Tensor, h0: Tensor) -> list[Tensor]:
        kinds = ("relu", h0), ("relu", None), ("leaky_relu", h0), ("tanh", h0), ("identity", h0)
        return [recurrence(x, u, first, name, 0.1) for name, first in kinds]


def test_each_activation_at_another_length_and_batch():
    def inputs(T, B):
        return torch.randn(T, B, N), torch.rand(N) * 2 - 1, torch.randn(B, N)

    model = written(Everywhere(), inputs(T, B), ({0: STEPS, 1: SEQUENCES}, {}, {0: SEQUENCES}))
    for size in (11, 5), (1, 1), (300, 2):
        agree(Everywhere(), model, *inputs(*size))


def trained(**options) -> IndRNN:
    """Batch norm with statistics, and u beyond its bound, which the exported program clips, too."""
    rnn = IndRNN(M, N, 2, **options)
    for module in rnn.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    with torch.no_grad():
        rnn.layers[0].u.mul_(3)
    return rnn.eval()


def test_the_layer_with_padding_backwards_and_batch_norm():
    rnn = trained(batch_first=True, bidirectional=True, batch_norm="after", activation="leaky_relu")

    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = rnn

        def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
            return self.rnn(x, lengths=lengths)

    shapes = ({0: SEQUENCES, 1: STEPS}, {0: SEQUENCES})
    model = written(Padded(), (torch.randn(B, T, M), torch.tensor([T, 2])), shapes)
    agree(Padded().eval(), model, torch.randn(5, 11, M), torch.tensor([11, 1, 0, 7, 11]))


def test_the_layer_with_a_state_needs_onnxruntime_alone(tmp_path):
    rnn = trained(seq_len=100)
    model = written(rnn, (torch.randn(T, B, M), torch.randn(2, B, N)), ({0: STEPS, 1: SEQUENCES}, {1: SEQUENCES}))
    agree(rnn, model, torch.randn(9, 3, M), torch.randn(2, 3, N))
    (tmp_path / "rnn.onnx").write_bytes(model)
    code = "import numpy as np, onnxruntime, sys; session = onnxruntime.InferenceSession('rnn.onnx')\n"
    code += "x, hx = np.ones((9, 3, 3), np.float32), np.zeros((2, 3, 4), np.float32)\n"
    code += "y, h_n = session.run(None, {'input': x, 'hx': hx})\n"
    code += "assert y.shape == (9, 3, 4) and h_n.shape == (2, 3, 4) and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
