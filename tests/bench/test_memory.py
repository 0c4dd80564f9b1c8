"""Memory of an update: counted by hand, on any device, and for real. Shapes: T time, B columns, N neurons."""

import sys

import pytest
import torch

from indrnn import configs
from indrnn.bench.cpu import memory
from indrnn.errors import UserError

T, B, N, V = 6, 4, 8, 5
TINY = ("experiment=ptb_char", "recipe.hidden_size=8", "data.output_size=5", f"data.seq_len={T}")


def tiny(*overrides: str, device: str = "meta"):
    return memory.build(configs.build([*TINY, f"data.batch_size={B}", *overrides]), device)


def test_what_a_plain_network_keeps_is_what_one_counts_by_hand():
    """What W reads, what batch norm reads and h; mean and deviation of every step; the dropout mask."""
    layer = 3 * T * B * N + 2 * T * N + B * N
    decoder = T * B * N + T * B * V + 1  # what it reads, log-softmax, the sum of the targets' weights
    floats = 2 * layer + decoder
    integers = 2 * T * B + 1  # tokens, targets, how many
    kept, peak = memory.count(tiny("model=indrnn", "model.num_layers=2"), T, B)
    assert kept == 4 * floats + 8 * integers
    assert peak > kept


@pytest.mark.parametrize(
    "model", [("model=indrnn",), ("model=res_indrnn", "model.num_layers=5"), ("model=dense_indrnn", "model.growth=4")]
)
def test_meta_counts_what_the_cpu_does_and_save_memory_saves(model):
    counts = []
    for save in (False, True):
        settings = (*model, f"machine.save_memory={save}")
        counts.append(memory.count(tiny(*settings), T, B))
        assert memory.count(tiny(*settings, device="cpu"), T, B) == counts[-1]
    (kept, peak), (kept_saving, peak_saving) = counts
    assert kept_saving < kept and peak_saving < peak


def test_a_carried_state_does_not_keep_the_steps_before_it():
    task = tiny("model=indrnn", device="cpu")
    memory.loss(task, T, B)
    for h, _ in task.carried:
        assert h.untyped_storage().nbytes() == 4 * B * N


def test_live_follows_births_and_deaths():
    with memory.Live(torch.nn.Linear(2, 2)) as live:
        a = torch.zeros(10)
        b = a[:5] + 1
        del a
        c = b.view(5, 1)
        del b
    assert (live.peak, live.now) == (60, 20) and c.numel() == 5


def test_all_in_all_it_fits_or_it_does_not(monkeypatch):
    cfg = configs.build([*TINY, f"data.batch_size={B}", "model=indrnn"])
    found = memory.needed(cfg)
    assert found["bytes"] == 16 * found["parameters"] + round(found["peak_per_token"] * T * B)
    monkeypatch.setattr(memory, "CARDS", {"large": found["bytes"], "small": found["bytes"] - 1})
    found = memory.needed(cfg)
    assert found["fits"] == {"large": True, "small": False}
    text = "\n".join(memory.markdown([found | {"network": "tiny", "T": T, "B": B, "save_memory": True}], []))
    assert "| fits " in text and "does not fit |" in text


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_real_update_tells_what_its_process_had(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["memory", *TINY, f"data.batch_size={B}"])
    threads = torch.get_num_threads()
    assert memory.main() == 0
    torch.set_num_threads(threads)
    assert int(capsys.readouterr().out) > 10**7


def test_an_update_that_fails_is_one_sentence(monkeypatch):
    monkeypatch.setattr(memory.sys, "executable", "false")  # a program that fails and says nothing
    with pytest.raises(UserError, match="could not be made: no output"):
        memory.resident(["experiment=ptb_char"])
