"""Where a run was made: checkpoints that go on on another device, and what the record says of every sitting."""

import os
import shutil
import signal
import subprocess

import pytest
import torch
from pytorch_lightning.accelerators import CUDAAccelerator
from test_run import PLATEAU, SMALL, folder, outcome

from indrnn import checksums, provenance, record
from indrnn.recurrence import choice, cpu
from indrnn.tasks import Task
from indrnn.training import run, sitting, tensors
from indrnn.training.run import train

LANGUAGE = (
    *("experiment=quick/ptb_char", "model.num_layers=2", "recipe.hidden_size=8", "data.batch_size=8"),
    *("trainer.max_updates=12", "trainer.val_every=6", "data.seq_len=20", "data.eval_columns=[400,400]"),
)


def interrupt(monkeypatch, cfg, update: int) -> None:
    """Train until the signal that comes at the end of this update."""
    original = Task.on_train_batch_end

    def signalled(task, *arguments):
        if task.update == update + 1:
            os.kill(os.getpid(), signal.SIGINT)
        return original(task, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Task, "on_train_batch_end", signalled)
        with pytest.raises(KeyboardInterrupt):
            train(cfg)


def as_of_a_gpu(path) -> None:
    """Write a file of tensors again as torch.save does on a GPU: it then names another place for every tensor."""
    content = torch.load(path, weights_only=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save(content, path)
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(path, weights_only=True)


@pytest.mark.parametrize("overrides", [SMALL, LANGUAGE], ids=["adding", "carried state"])
def test_a_checkpoint_of_a_gpu_goes_on_on_a_cpu_to_the_same_end(config, tmp_path, monkeypatch, caplog, overrides):
    undisturbed = config(*overrides, f"machine.runs={tmp_path / 'undisturbed'}")
    train(undisturbed)
    cfg = config(*overrides)
    interrupt(monkeypatch, cfg, 7)
    as_of_a_gpu(folder(cfg) / "last.ckpt")
    assert train(cfg)["status"] == "finished" and outcome(cfg) == outcome(undisturbed)
    assert "from the beginning" not in caplog.text


@pytest.mark.parametrize("overrides", [SMALL, PLATEAU, LANGUAGE], ids=["adding", "digits", "carried state"])
@pytest.mark.parametrize("at", ["first", "last"])
def test_a_stop_during_validation_saves_and_the_validation_is_made_again(config, tmp_path, monkeypatch, overrides, at):
    undisturbed = config(*overrides, f"machine.runs={tmp_path / 'undisturbed'}")
    train(undisturbed)
    cfg = config(*overrides, "machine.checkpoint_seconds=1000")
    update = cfg.trainer.val_every if at == "first" else cfg.trainer.max_updates
    original, heard = Task.on_validation_start, []

    def signalled(task, *arguments):
        if task.update == update and len(heard) < 2:  # the one that a sitting begins with is stopped, too
            heard.append(task.update)
            os.kill(os.getpid(), signal.SIGINT)
        return original(task, *arguments)

    monkeypatch.setattr(Task, "on_validation_start", signalled)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(cfg)
        stopped = record.read(folder(cfg))
        assert stopped["status"] == "interrupted" and stopped["updates"] == update
        assert tensors.load_tensors(folder(cfg) / "last.ckpt")["task"]["update"] == update
    assert train(cfg)["status"] == "finished" and heard == [update] * 2
    assert outcome(cfg) == outcome(undisturbed)


def test_tensors_are_written_as_those_of_a_cpu(tmp_path, monkeypatch):
    """Whatever torch would call their place: nothing is left that needs a GPU to be read."""
    moved = []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: moved.append(tensor) or tensor)
    state = {"a": torch.ones(2), "more": [{"b": torch.zeros(3)}, None, 7]}
    tensors.save_tensors(tmp_path / "file", state)
    assert [tensor.shape for tensor in moved] == [(2,), (3,)]
    read = tensors.load_tensors(tmp_path / "file")
    assert torch.equal(read["a"], state["a"]) and read["more"][1:] == [None, 7]


def test_what_is_set_aside_is_never_overwritten(tmp_path):
    names = []
    for content in ("first", "second", "third"):
        (tmp_path / "last.ckpt").write_text(content)
        names.append(tensors.set_aside(tmp_path / "last.ckpt"))
    assert [path.name for path in names] == [f"last.ckpt.unread{n}" for n in ("", 2, 3)]
    assert [path.read_text() for path in names] == ["first", "second", "third"]


def test_the_record_lists_the_sittings_with_their_devices(config, monkeypatch):
    cfg = config(*SMALL)
    for device, update in (("a GPU", 3), ("a GPU", 7), ("a CPU", None)):
        monkeypatch.setattr(sitting, "device_name", lambda *_, device=device: device)
        if update:
            interrupt(monkeypatch, cfg, update)
        else:
            done = train(cfg)
    first, last = done["sittings"]
    assert (first["device"], first["updates"]) == ("a GPU", [0, 8])  # two in a row on one device are one
    assert (last["device"], last["updates"]) == ("a CPU", [8, 12]) and done["device"] == "a CPU"
    assert first["seconds"] + last["seconds"] == pytest.approx(done["wall_seconds"], abs=0.1)
    assert first["examples_a_second"] == pytest.approx(8 * 8 / first["seconds"], rel=0.2)
    assert {"commit", "source", "versions"} <= set(first) and record.read(folder(cfg)) == done
    assert record.devices([done]) == ["a GPU", "a CPU"]


def test_other_versions_make_another_sitting(config, monkeypatch):
    cfg = config(*SMALL)
    interrupt(monkeypatch, cfg, 3)
    code = provenance.code()
    monkeypatch.setattr(provenance, "code", lambda: code | {"versions": {"torch": "9.9"}})
    done = train(cfg)
    assert [sitting["updates"] for sitting in done["sittings"]] == [[0, 4], [4, 12]]
    assert record.versions([done])["torch"] == sorted([code["versions"]["torch"], "9.9"])


def test_each_change_of_source_is_told_once(config, monkeypatch):
    cfg, code = config(*SMALL), provenance.code()
    for source, update in (("X", 2), ("Y", 6), ("Y", 8), ("X", None)):
        monkeypatch.setattr(provenance, "code", lambda source=source: code | {"source": source})
        if update:
            interrupt(monkeypatch, cfg, update)
        else:
            done = train(cfg)
    assert done["source"] == "X+Y+X" and [x["source"] for x in done["sittings"]] == ["X", "Y", "X"]


def test_a_checkpoint_of_an_earlier_version_says_what_it_knows(config, monkeypatch):
    cfg = config(*SMALL)
    interrupt(monkeypatch, cfg, 3)
    path = folder(cfg) / "last.ckpt"
    past = tensors.load_tensors(path)
    del past["sittings"]
    tensors.save_tensors(path, past)
    first, last = train(cfg)["sittings"]
    assert first["updates"] == [0, 4] and first["device"] == "a device that was not written down"
    assert last["updates"] == [4, 12]


def test_that_compiling_failed_is_said_at_the_end_and_in_the_record(config, monkeypatch, caplog):
    def eager(network, *_, **__):
        network.compiled = "eager: RuntimeError: no compiler"

    monkeypatch.setattr(run, "compile_", eager)
    done = train(config(*SMALL, "machine.compile=default"))
    assert done["sittings"][0]["compile"] == "eager: RuntimeError: no compiler"
    assert "trained without machine.compile=default (eager: RuntimeError: no compiler)" in caplog.records[-1].message


def test_a_finished_run_has_checksums_of_its_files_and_one_that_goes_on_has_none(config, monkeypatch):
    cfg = config(*SMALL)
    interrupt(monkeypatch, cfg, 3)
    assert not (folder(cfg) / "SHA256SUMS").exists()
    done = train(cfg)
    sums = checksums.read(folder(cfg) / "SHA256SUMS")
    assert set(sums) == {path.name for path in folder(cfg).iterdir()} - {"SHA256SUMS", "lock"}
    assert set(sums) >= {"curve.csv", "run.json", "weights.pt"} and not checksums.differing(folder(cfg), sums)
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "-c", "--status", "SHA256SUMS"], cwd=folder(cfg), check=True)
    record.write(folder(cfg), done | {"status": "interrupted"}, [])
    interrupt(monkeypatch, cfg, 1)  # anew: a killed process may have left the checksums of an earlier end
    assert not (folder(cfg) / "SHA256SUMS").exists()


@pytest.fixture
def forget_backends():
    """What failed is left alone for the rest of a process: forget it afterwards."""
    yield
    for names in (choice.failed, choice.replaced):
        names.clear()
    for remembered in (choice.choose, choice.warn_about):
        remembered.cache_clear()


def test_a_backend_that_fails_on_the_way_is_in_the_record(config, monkeypatch, forget_backends):
    forward, calls = cpu.forward, []

    def fails_late(*given):
        calls.append(given)
        if len(calls) > 20:
            raise RuntimeError("no more kernels")
        return forward(*given)

    monkeypatch.setattr(cpu, "forward", fails_late)
    with pytest.warns(RuntimeWarning, match="'cpu' cannot run here .*no more kernels"):
        done = train(config(*SMALL, "model.activation=tanh"))
    assert done["status"] == "finished" and done["sittings"][0]["replaced"] == ["cpu"]


def test_on_a_cpu_beside_a_gpu_lightning_does_not_advise_its_own_trainer(config, monkeypatch):
    """Its warning would be an error here."""
    monkeypatch.setattr(CUDAAccelerator, "is_available", staticmethod(lambda: True))
    assert train(config(*SMALL, "trainer.max_updates=1"))["status"] == "finished"
