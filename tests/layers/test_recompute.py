"""Recomputed statistics have the bits of torch's plain average. Shapes: T time, B batch, M input, N neurons."""

import copy

import pytest
import torch
from torch import nn

from indrnn.layers import few_passes
from indrnn.layers.norm_dropout import FrameBatchNorm, batch_norms, recompute_batch_norm
from indrnn.layers.padding import blank, valid_steps
from indrnn.networks import PlainIndRNN, ResidualIndRNN

T, B, M, N = 7, 3, 4, 5
SIZES = {"input_size": M, "output_size": 2, "hidden_size": N, "seq_len": T, "gamma": 2.0, "dropout": 0.5}


class Apart(nn.Module):
    """A batch norm of torch, (B, N, T), between layers of ours."""

    def __init__(self):
        super().__init__()
        self.net, self.norm = PlainIndRNN(**SIZES, num_layers=1, batch_norm="before"), nn.BatchNorm1d(N)

    def features(self, x, state=None, lengths=None):
        h, end = self.net.features(x, state, lengths)
        return self.norm(h.permute(1, 2, 0)).permute(2, 0, 1), end


NETWORKS = {
    "after": lambda: PlainIndRNN(**SIZES, num_layers=3, batch_norm="after"),
    "before": lambda: PlainIndRNN(**SIZES, num_layers=3, batch_norm="before"),
    "frame-wise": lambda: PlainIndRNN(**SIZES, num_layers=2, batch_norm="before", frame_wise=True),
    "last transition": lambda: ResidualIndRNN(**SIZES, num_layers=3, batch_norm="after", last_size=3),
    "last transition, frame-wise": lambda: ResidualIndRNN(
        **SIZES, num_layers=3, batch_norm="before", last_size=3, frame_wise=True
    ),
    "torch's own": Apart,
}


def made(kind: str) -> tuple[nn.Module, list]:
    """A network whose statistics training has moved, and batches, the last of which is smaller."""
    torch.manual_seed(0)
    net, inputs = NETWORKS[kind]().train(), [torch.randn(T, size, M) for size in (B, B, B, B, B, B, 2)]
    net.features(3 * inputs[0])
    return net, inputs


def as_torch_averages(net: nn.Module, inputs: list, carry: bool) -> None:
    net.eval()
    for norm in batch_norms(net):
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    state = None
    with torch.no_grad():
        for batch in inputs:
            x, lengths = batch if isinstance(batch, tuple) else (batch, None)
            _, end = net.features(x, state, lengths)
            state = end if carry else None


def buffers(net: nn.Module) -> list[torch.Tensor]:
    return [buffer.clone() for buffer in net.buffers()]


def same(ones: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(ones, others, strict=True))


@pytest.mark.parametrize("way", ["few passes", "parts"])
@pytest.mark.parametrize("carry", [False, True], ids=["from zeros", "carried on"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_bits_are_those_of_torchs_average(monkeypatch, kind, carry, way):
    if way == "parts":
        monkeypatch.setattr(few_passes, "serve", lambda *_: False)
    net, inputs = made(kind)
    inputs, other = inputs[: 6 if carry else 7], copy.deepcopy(net)  # a state has as many columns as it had
    before = buffers(net)
    recompute_batch_norm(net, inputs, carry)
    as_torch_averages(other, inputs, carry)
    assert same(buffers(net), buffers(other)) and not same(buffers(net), before)
    assert {norm.momentum for norm in batch_norms(net)} == {0.1} and not any(m.training for m in net.modules())


def test_the_bits_of_padded_batches_are_too():
    net, inputs = made("before")
    pairs = [(blank(x, valid_steps(n, x)), n) for x in inputs[:4] for n in [torch.tensor([7, 2, 1])]]
    other = copy.deepcopy(net)
    recompute_batch_norm(net, pairs)
    as_torch_averages(other, pairs, False)
    assert same(buffers(net), buffers(other))


def test_the_same_average_in_another_order_has_other_bits():
    """The control of the tests above."""
    net, inputs = made("after")
    other = copy.deepcopy(net)
    recompute_batch_norm(net, inputs[1:] + inputs[:1])
    as_torch_averages(other, inputs, False)
    assert not same(buffers(net), buffers(other))


@pytest.mark.parametrize("kind", ["after", "frame-wise"])
def test_an_error_on_the_way_leaves_the_momenta_as_they_were(kind):
    net, inputs = made(kind)
    with pytest.raises(RuntimeError):
        recompute_batch_norm(net, [*inputs[:2], torch.randn(T, B, M + 1)])
    assert {norm.momentum for norm in batch_norms(net)} == {0.1} and not any(m.training for m in net.modules())


def test_a_network_without_batch_norm_reads_no_batch():
    def batches():
        yield pytest.fail("read")

    net = PlainIndRNN(**SIZES, num_layers=1).train()
    recompute_batch_norm(net, batches())
    assert not batch_norms(net) and not net.training


def test_all_kinds_of_batch_norm_are_found():
    kinds = [
        type(norm).__name__ for name in ("after", "frame-wise", "torch's own") for norm in batch_norms(made(name)[0])
    ]
    assert kinds == ["SequenceBatchNorm"] * 3 + ["FrameBatchNorm"] * 2 + ["SequenceBatchNorm", "BatchNorm1d"]
    assert isinstance(batch_norms(made("last transition, frame-wise")[0])[-1], FrameBatchNorm)
