"""Examples on a device: batches are the same and are made there; what is drawn is all that travels.

A GPU's part is played by the meta device, which has no numbers but knows what comes from where, and by a CPU that is
treated as if it were another device.
"""

import os
import signal
import threading
from collections.abc import Callable

import pytest
import torch
from test_data import adding, digits
from test_ntu import place, skeletons  # noqa: F401, fixtures
from test_run import DIGITS, SMALL, Killed, kill_at, rows_of
from test_text import text
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from indrnn.data import TEST, VAL, Data, module
from indrnn.data.adding import Adding
from indrnn.data.ahead import Ahead
from indrnn.tasks import Task
from indrnn.training.run import train

META = torch.device("meta")
STREAM = {"offset": 3, "vary_length": True, "reset": 4}
KINDS = {  # how to make one, and how many bytes a batch sends
    "digits": (lambda _: digits(batch_size=32), lambda batch: 8 * 32),
    "adding": (lambda _: adding(), lambda batch: 4 * 64 * (20 + 1) + 8 * 64 * 2),
    "text": (lambda _: text(400, 10, 3), lambda batch: 8 * 3 * (1 if batch[2] is None else 2)),
    "text of many lengths": (
        lambda _: text(400, 10, 3, **STREAM),
        lambda batch: 8 * 3 * (1 if batch[2] is None else 2),
    ),
    "skeletons": (lambda make: make(), lambda batch: 8 * 8 * (20 + 1)),
    "skeletons that turn": (lambda make: make(rotation=40.0), lambda batch: 8 * 8 * (20 + 1 + 2)),
    "skeletons of many lengths": (
        lambda make: make(vary_length=True),
        lambda batch: 8 * 8 * (batch[0].shape[1] + 1),
    ),
}


@pytest.fixture(params=KINDS)
def kind(request, skeletons) -> tuple[Callable[[], Data], Callable[[tuple], int]]:  # noqa: F811
    make, sent = KINDS[request.param]
    return lambda: make(skeletons), sent


@pytest.fixture
def much_memory(monkeypatch):
    monkeypatch.setattr(module, "free_bytes", lambda device: 10**12)


def all_batches(data: Data) -> list[tuple]:
    """What a run sees of data, with updates in the order of a resumed run."""
    updates = [0, 1, 2, 40, 41, 3, 4]
    found = [data.train_batch(update) for update in updates]
    for loader in (data.val_dataloader(), data.test_dataloader()):
        found += [tuple(batch) for batch in loader]
    return found + list(data.calibration_batches(30))


def test_batches_are_the_same_bit_for_bit_where_the_examples_have_moved(kind):
    make, _ = kind
    here, moved = make(), make()
    moved.move()
    moved.ahead = Ahead(moved.draw) if isinstance(moved, Adding) else None
    for one, other in zip(all_batches(here), all_batches(moved), strict=True):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b) and a.dtype == b.dtype if isinstance(a, Tensor) else a is b
    moved.teardown()


class Travelled(TorchDispatchMode):
    """Bytes of CPU tensors that were copied to another device."""

    bytes = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        out = function(*arguments, **options or {})
        if any(isinstance(t, Tensor) and t.device == META for t in tree_leaves(out)):
            given = [t for t in tree_leaves((arguments, options or {})) if isinstance(t, Tensor)]
            self.bytes += sum(t.nbytes for t in given if t.device.type == "cpu")
        return out


def test_batches_are_made_on_the_device_and_only_what_is_drawn_travels(kind, much_memory):
    make, sent = kind
    data, plain = make(), make()
    data.lie_on(META)
    for update in (0, 1, 2, 39, 7):
        with Travelled() as travelled:
            batch = data.train_batch(update)
        expected = plain.train_batch(update)
        for a, b in zip(batch, expected, strict=True):
            assert (a.device, a.shape, a.dtype) == (META, b.shape, b.dtype) if isinstance(a, Tensor) else a is b
        assert travelled.bytes == sent(expected)
    tensors = [t for t in tree_leaves(all_batches(data)) if isinstance(t, Tensor)]
    assert all(t.device == META for t in tensors)


def test_fixed_examples_travel_once(much_memory):
    data = digits()
    with Travelled() as travelled:
        data.lie_on(META)
    assert travelled.bytes == data.nbytes == 5000 * (196 * 4 + 8)
    with Travelled() as travelled:
        data.lie_on(META)
        data.examples(VAL), data.examples(TEST), list(data.calibration_batches(2000)), list(data.val_dataloader())
    assert travelled.bytes == 0


def test_what_is_more_than_a_tenth_of_the_free_memory_stays_and_that_is_said_once(monkeypatch, caplog):
    asked = []
    for more, device in ((0, META), (-1, torch.device("cpu"))):
        data = digits()
        monkeypatch.setattr(module, "free_bytes", lambda d, n=10 * data.nbytes + more: asked.append(d) or n)
        for _ in range(3):
            data.lie_on(META)
        assert data.device == data.train_batch(0)[0].device == device
    assert asked == [META, META] and len(caplog.messages) == 1
    assert "stay in the CPU's memory (0.00 GB, where 0.04 GB are free): each batch is sent." in caplog.text


def test_on_a_cpu_nothing_moves_and_no_thread_starts(kind, monkeypatch):
    make, _ = kind
    monkeypatch.setattr(module, "free_bytes", None)
    data = make()
    monkeypatch.setattr(data, "move", None)
    monkeypatch.setattr(type(data), "slow_to_draw", True)
    data.lie_on(torch.device("cpu"))
    data.draw_ahead()
    assert data.ahead is None and data.device == torch.device("cpu")


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Runs move their examples and draw ahead, on a CPU."""
    started = []

    def draw_ahead(data: Data) -> None:
        if data.ahead is None:
            data.move()
            data.ahead = Ahead(data.draw)
            started.append(data)

    monkeypatch.setattr(Data, "draw_ahead", draw_ahead)
    return started


def test_numbers_are_drawn_ahead_from_so_many_on_and_on_a_gpu_alone(much_memory):
    for data, expected in ((adding(seq_len=157), True), (adding(seq_len=156), False), (digits(), False)):
        data.lie_on(META)
        data.draw_ahead()
        assert (data.ahead is not None) is expected
        data.teardown()
        assert data.ahead is None


def threads() -> int:
    return sum(thread.name.startswith("ahead") for thread in threading.enumerate())


@pytest.mark.parametrize("overrides", [SMALL, DIGITS], ids=["adding", "digits"])
def test_a_run_with_its_examples_there_ends_with_the_same_bits(config, tmp_path, monkeypatch, request, overrides):
    plain = config(*overrides, f"machine.runs={tmp_path / 'plain'}")
    expected = train(plain)
    started = request.getfixturevalue("as_on_a_gpu")
    cfg = config(*overrides, "machine.checkpoint_seconds=0")
    for method, update in (("training_step", 3), ("validation_step", 5), ("on_train_batch_end", 9)):
        kill_at(monkeypatch, method, update)
        with pytest.raises(Killed):
            train(cfg)
        assert not threads()
    done = train(cfg)
    assert done["metrics"] == expected["metrics"] and rows_of(cfg) == rows_of(plain)
    assert len(started) == 4 and not threads()


def test_no_thread_is_left_after_a_run_that_diverged_failed_or_was_stopped(config, as_on_a_gpu, monkeypatch):
    seen = []

    def failed(task, *arguments):
        seen.append(threads())
        raise ValueError("a mistake")

    def stopped(task, *arguments):
        seen.append(threads())
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    assert train(config(*SMALL, "recipe.learning_rate=1e30", "model=irnn", "trainer.clip=null"))["status"] == "diverged"
    assert not threads()
    for make_update, raised in ((failed, ValueError), (stopped, (SystemExit, KeyboardInterrupt))):
        monkeypatch.setattr(Task, "make_update", make_update)
        with pytest.raises(raised):
            train(config(*SMALL))
        assert not threads()
    assert seen == [1, 1] and len(as_on_a_gpu) == 3
