"""Memory that is not there: wherever it runs out, the run says so with the size, and the next ones go on."""

import gc
import weakref

import pytest
import torch
from test_commands import TRAIN, call, records
from test_run import SMALL, folder
from test_sitting import interrupt

from indrnn import record
from indrnn.data.adding import Adding
from indrnn.errors import OutOfMemory
from indrnn.out_of_memory import asked_gib, out_of_memory, size
from indrnn.tasks import Task
from indrnn.training import run
from indrnn.training.run import train

CUDA = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 15.89 GiB."
CPU = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "4398046511104 bytes. Error code 12 (Cannot allocate memory)"
)
MESSAGES = [
    (torch.OutOfMemoryError(CUDA), 20.0, "20 GiB"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 512.00 MiB."), 0.5, "512 MiB"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 KiB."), 2**-19, "2 KiB"),
    (RuntimeError(CPU), 4096.0, "4 TiB"),
    (MemoryError("Unable to allocate 3.64 TiB for an array with shape (1000000000000,)"), 3.64 * 1024, "3.64 TiB"),
    (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be ..."), None, ""),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), None, ""),
]


@pytest.mark.parametrize("error, gib, words", MESSAGES, ids=lambda x: str(x)[:20])
def test_what_was_asked_for_is_read_from_every_kind_of_message(error, gib, words):
    assert out_of_memory(error) is error
    assert asked_gib(error) == (None if gib is None else pytest.approx(gib))
    assert gib is None or size(gib) == words
    outer = RuntimeError("backend='inductor' raised")
    outer.__cause__ = error
    assert out_of_memory(outer) is error


def test_other_errors_are_not_taken_for_it():
    assert out_of_memory(RuntimeError("shapes do not fit")) is None
    assert out_of_memory(ValueError("out of memory")) is None


def test_the_real_message_of_this_machine():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert asked_gib(out_of_memory(caught.value)) == 2**20


def full(*_, **__):
    raise torch.OutOfMemoryError(CUDA)


@pytest.mark.parametrize(
    "where", ["to", "training_step", "recalibrate", "validation_step", "on_validation_end", "test_step"]
)
def test_wherever_memory_runs_out_the_record_says_what_was_asked_and_the_next_start_goes_on(config, monkeypatch, where):
    cfg = config(*SMALL)
    freed = []
    with monkeypatch.context() as patch:
        patch.setattr(Task, where, full)
        patch.setattr("indrnn.training.run.free", lambda: freed.append(1))
        sentence = r"^Out of memory at update \d+ \(asked for 20 GiB\): machine.save_memory=true, .* tries again\.$"
        with pytest.raises(OutOfMemory, match=sentence):
            train(cfg)
    found = record.read(folder(cfg))
    assert found["status"] == "out_of_memory" and found["metrics"]["memory/asked_gib"] == 20.0 and freed == [1]
    assert not list(folder(cfg).glob("*.part"))
    done = train(cfg)
    assert done["status"] == "finished" and "memory/asked_gib" not in done["metrics"]


def test_data_that_do_not_fit_are_a_record_too_and_the_next_start_goes_on(config, monkeypatch):
    cfg = config(*SMALL, "trainer.max_time=0")
    assert train(cfg)["status"] == "interrupted"
    with monkeypatch.context() as patch:
        patch.setattr(Adding, "setup", full)
        with pytest.raises(OutOfMemory, match=r"^Out of memory with the data \(asked for 20 GiB\): .* tries again\.$"):
            train(cfg)
    found = record.read(folder(cfg))
    assert found["status"] == "out_of_memory" and found["metrics"]["memory/asked_gib"] == 20.0
    assert train(config(*SMALL))["status"] == "finished"


def test_a_network_that_does_not_fit_is_a_record_too_and_says_how_far_the_run_came(config, monkeypatch):
    """Parameters are counted without building them; the checkpoint of the sitting before stays."""
    cfg = config(*SMALL)
    interrupt(monkeypatch, cfg, 6)
    with monkeypatch.context() as patch:
        built = run.instantiate

        def too_large(node, **others):
            network = built(node, **others)
            if node is cfg.model and next(network.parameters()).device.type != "meta":
                full()
            return network

        patch.setattr(run, "instantiate", too_large)
        with pytest.raises(
            OutOfMemory, match=r"^Out of memory with the network \(asked for 20 GiB\): .* tries again\.$"
        ):
            train(cfg)
    found = record.read(folder(cfg))
    assert found["status"] == "out_of_memory" and found["metrics"]["memory/asked_gib"] == 20.0
    assert found["updates"] == 7 and found["metrics"]["best_update"] == 5
    done = train(cfg)
    assert done["status"] == "finished" and done["parameters"] == found["parameters"] > 0
    assert [sitting["updates"] for sitting in done["sittings"]] == [[0, 12]]


def test_a_message_without_a_size_leaves_none_in_the_record(config, monkeypatch):
    def failed(*_):
        raise RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setattr(Task, "training_step", failed)
    cfg = config(*SMALL)
    with pytest.raises(OutOfMemory, match=r"at update 0 \(CUDA error: out of memory\): "):
        train(cfg)
    assert record.read(folder(cfg))["metrics"] == {}


def test_any_other_error_is_still_one(config, monkeypatch):
    def failed(*_):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Task, "training_step", failed)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(config(*SMALL))


def test_what_the_run_held_is_given_back(config, monkeypatch):
    """Not even the error that was caught keeps the network alive."""
    seen = []

    def failed(task, *_):
        seen.append(weakref.ref(task.network))
        full()

    monkeypatch.setattr(Task, "training_step", failed)
    with pytest.raises(OutOfMemory):
        train(config(*SMALL))
    gc.collect()
    assert seen[0]() is None


def test_the_other_runs_of_a_sweep_go_on(tmp_path):
    """One of two asks for 4 TB for real: its exit code and one sentence say so."""
    sizes = ("model.num_layers=2", "model.hidden_size=1000000,8", f"machine.runs={tmp_path}", "logger=csv")
    done = call(*TRAIN, "-m", *SMALL[:-1], *sizes, "machine.progress=false", code=1)
    assert "Out of memory with the network (asked for 3.64 TiB)" in done.stderr
    assert sorted(entry["status"] for entry in records(tmp_path)) == ["finished", "out_of_memory"]
