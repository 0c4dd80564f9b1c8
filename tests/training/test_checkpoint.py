"""Checkpoints that torch can read: those of this run are gone on with, all others are set aside by name."""

import copy
import math
import os
import re
import signal

import pytest
import torch
from test_run import PLATEAU, SMALL, folder, rows_of
from test_sitting import LANGUAGE

from indrnn import configs, files
from indrnn.errors import OutOfMemory
from indrnn.tables import milestones
from indrnn.tasks import Task
from indrnn.training import checkpoint, sitting
from indrnn.training.run import build, train
from indrnn.training.tensors import load_tensors, save_tensors

FRAMES = (*LANGUAGE, "recipe.batch_norm=before", "recipe.frame_wise=true")
KINDS = {"adding": SMALL, "plateau": PLATEAU, "language": LANGUAGE, "frames": FRAMES}


def stopped(runs, overrides, update=7) -> "configs.DictConfig":
    """A config whose run was stopped after an update."""
    cfg = configs.build([f"machine.runs={runs}", "machine.progress=false", "logger=csv", *overrides])
    original = Task.training_step

    def signalled(task, *arguments):
        if task.update == update:
            os.kill(os.getpid(), signal.SIGINT)
        return original(task, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Task, "training_step", signalled)
        with pytest.raises(KeyboardInterrupt):
            train(cfg)
    return cfg


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """begun(kind) -> such a run's checkpoint after 8 updates, the curve of one that was not stopped, the config."""
    made = {}

    def of(kind: str):
        if kind not in made:
            runs, undisturbed = (tmp_path_factory.mktemp(kind) for _ in range(2))
            cfg = stopped(runs, KINDS[kind])
            whole = configs.build([f"machine.runs={undisturbed}", "machine.progress=false", "logger=csv", *KINDS[kind]])
            train(whole)
            made[kind] = load_tensors(folder(cfg) / "last.ckpt"), rows_of(whole), cfg
        return copy.deepcopy(made[kind])

    return of


def at(past, path: str):
    """The place of an entry: what holds it, and its key there."""
    *way, last = (int(word) if word.isdigit() else word for word in path.split(" "))
    for word in way:
        past = past[word]
    return past, last


def put(path: str, value):
    """Change or add an entry: a value, or a function of the one that is there."""

    def change(past):
        node, key = at(past, path)
        node[key] = value(node[key]) if callable(value) else value
        return past

    return change


def drop(path: str):
    def change(past):
        node, key = at(past, path)
        del node[key]
        return past

    return change


def renamed(state):
    return {f"module.{name}": tensor for name, tensor in state.items()}


WEIGHT, MOMENT = "task task network.head.weight", "task optimizer state 0 exp_avg"
ROW = {"update": 6, "learning_rate": 0.1, "train/loss": 1.0, "val/loss": 1.0, "val/mse": 1.0}
MALFORMED = {
    # the file as a whole
    "a list": lambda past: [past],
    "a tensor": lambda past: torch.zeros(3),
    "nothing": lambda past: {},
    "the weights alone": lambda past: past["task"]["task"],
    "of another run": put("signature", "0" * 12),
    "signature of another type": put("signature", 7),
    "another key": put("more", 1),
    "no start": drop("started"),
    "start of another type": put("started", 5),
    "start that is no time": put("started", "yesterday"),
    "seconds NaN": put("wall_seconds", math.nan),
    "seconds negative": put("wall_seconds", -1.0),
    "seconds a word": put("wall_seconds", "long"),
    "code missing": drop("code"),
    "code a word": put("code", "abc"),
    "code without source": drop("code source"),
    "commit a number": put("code commit", 3),
    "dirty a word": put("code dirty", "no"),
    "versions a list": put("code versions", ["2.13"]),
    # sittings
    "sittings a word": put("sittings", "two"),
    "no sitting": put("sittings", []),
    "a sitting of nothing": put("sittings 0", {}),
    "a sitting without seconds": drop("sittings 0 seconds"),
    "a sitting of no device": put("sittings 0 device", None),
    "a sitting that ends elsewhere": put("sittings 0 updates", [0, 3]),
    "a sitting backwards": put("sittings 0 updates", [8, 0]),
    "a sitting with one end": put("sittings 0 updates", [8]),
    "a sitting with a tensor": put("sittings 0 more", torch.zeros(2)),
    # the task
    "no task": drop("task"),
    "task a list": put("task", [1, 2]),
    "a key too many": put("task more", 0),
    "no update": drop("task update"),
    "update negative": put("task update", -1),
    "update too large": put("task update", 13),
    "update far too large": put("task update", 10**30),
    "update a fraction": put("task update", 7.5),
    "update a tensor": put("task update", torch.tensor(8)),
    "update true": put("task update", True),
    "update of another moment": put("task update", 11),
    "stopped a word": put("task stopped", "no"),
    "stopped by nobody": put("task stopped", True),
    # weights
    "a weight missing": drop(WEIGHT),
    "a weight too many": put("task task network.more", torch.zeros(3)),
    "weights renamed": put("task task", renamed),
    "a weight of another shape": put(WEIGHT, lambda w: w.t().contiguous()),
    "a weight of another dtype": put(WEIGHT, lambda w: w.half()),
    "a weight that is sparse": put(WEIGHT, lambda w: w.to_sparse()),
    "a weight that is a list": put(WEIGHT, lambda w: w.tolist()),
    # the optimizer
    "no optimizer": drop("task optimizer"),
    "optimizer None": put("task optimizer", None),
    "optimizer without state": drop("task optimizer state"),
    "optimizer forgotten": put("task optimizer state", {}),
    "a moment missing": drop("task optimizer state 0 exp_avg_sq"),
    "a parameter without moments": drop("task optimizer state 1"),
    "moments of no parameter": put("task optimizer state 99", {}),
    "a moment of another shape": put(MOMENT, torch.zeros(2, 2)),
    "a moment of another dtype": put(MOMENT, lambda m: m.double()),
    "a moment that is a number": put(MOMENT, 0.0),
    "a step too many": put("task optimizer state 0 step", torch.tensor(99.0)),
    "a step NaN": put("task optimizer state 0 step", torch.tensor(math.nan)),
    "a step that is a number": put("task optimizer state 0 step", 8),
    "one group": put("task optimizer param_groups", lambda groups: groups[:1]),
    "groups of words": put("task optimizer param_groups", ["a", "b"]),
    "parameters in another order": put("task optimizer param_groups 0 params", lambda params: params[::-1] + [9]),
    # validations
    "no curve": drop("task curve"),
    "curve a word": put("task curve", "steep"),
    "curve forgotten": put("task curve", []),
    "a row that is a list": put("task curve 0", [5, 1.0]),
    "a row without a metric": put("task curve 0", {"update": 5}),
    "a row with a word": put("task curve 0 val/loss", "low"),
    "a row too many": put("task curve", lambda curve: [*curve, ROW]),
    "a row at no validation": put("task curve 0 update", 4),
    "no best": drop("task best"),
    "best forgotten": put("task best", None),
    "best a list": put("task best", [1]),
    "best without weights": drop("task best network"),
    "best of no validation": put("task best update", 4),
    "best better than it was": put("task best value", -1.0),
    "best NaN": put("task best value", math.nan),
    "best a word": put("task best value", "low"),
    "best of another shape": put("task best network head.weight", torch.zeros(3, 3)),
    "best with more": put("task best more", 1),
    # schedules
    "no schedule": drop("task schedule"),
    "a schedule that remembers more": put("task schedule", {"drops": 1}),
    "plateau: memory lost": put("task schedule", {}),
    "plateau: memory of another type": put("task schedule", [1, 2, 3]),
    "plateau: drops negative": put("task schedule drops", -3),
    "plateau: drops beyond all validations": put("task schedule drops", 10**9),
    "plateau: waited a fraction": put("task schedule waited", 0.5),
    "plateau: best NaN": put("task schedule best", math.nan),
    "plateau: best a word": put("task schedule best", "low"),
    "plateau: no optimizer of the best": drop("task best optimizer"),
    "plateau: a best moment of another shape": put("task best optimizer state 0 exp_avg", torch.zeros(2)),
    "plateau: steps after the best": put("task best optimizer state 0 step", torch.tensor(8.0)),
    # what a language model carries
    "language: nothing carried": put("task carried", None),
    "language: no key": drop("task carried"),
    "language: fewer layers": put("task carried", lambda carried: carried[:-1]),
    "language: other columns": put("task carried 0", lambda h: h[:3]),
    "frames: no position": put("task carried 0", lambda pair: pair[:1]),
    "frames: a position that is a word": put("task carried 0", lambda pair: [pair[0], "third"]),
    "frames: a position before all": put("task carried 0", lambda pair: [pair[0], -1]),
    "language: a state of whole numbers": put("task carried 0", lambda h: h.long()),
    "language: vocabulary a number": put("task vocabulary", 5),
    "language: vocabulary forgotten": put("task vocabulary", None),
}


ONE_OF_EACH = (
    *("the weights alone", "update too large", "a sitting of nothing", "weights renamed", "optimizer forgotten"),
    *("a moment missing", "a row with a word", "best without weights", "stopped by nobody", "language: other columns"),
    *("frames: no position", "plateau: drops beyond all validations", "plateau: no optimizer of the best"),
)


def laid(begun, tmp_path, name):
    """A run with a malformed checkpoint: its config, the path, and the curve that it has from the beginning."""
    kind = name.partition(":")[0] if ":" in name else "adding"
    past, rows, cfg = begun(kind)
    cfg.machine.runs = str(tmp_path)
    save_tensors(folder(cfg) / "last.ckpt", MALFORMED[name](past))
    return cfg, folder(cfg) / "last.ckpt", rows


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_not_ours_is_set_aside_by_name(begun, tmp_path, caplog, name):
    cfg, path, _ = laid(begun, tmp_path, name)
    written = path.read_bytes()
    made = sitting.Sitting(cfg, *build(cfg))
    assert made.task.update == 0 and made.before == [] and made.wall_seconds == 0.0
    assert re.search(rf"{path} (was written by other code .*|belongs to another run): it is kept as", caplog.text)
    assert "the run starts from the beginning" in caplog.text
    assert path.with_name("last.ckpt.unread").read_bytes() == written and not path.exists()


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_and_the_run_is_that_from_the_beginning(begun, tmp_path, caplog, name):
    cfg, path, rows = laid(begun, tmp_path, name)
    assert train(cfg)["status"] == "finished" and rows_of(cfg) == rows
    assert "from the beginning" in caplog.text and path.with_name("last.ckpt.unread").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_it_tells_without_changing_the_task(begun, kind, tmp_path):
    """Neither its weights nor its optimizer, and the checkpoint of this run does not look malformed to it."""
    past, _, cfg = begun(kind)
    cfg.machine.runs = str(tmp_path)
    data, task = build(cfg)
    before = copy.deepcopy(task.state_dict())
    assert checkpoint.problem(past, past["signature"], None, task, data.batch_size) == ""
    weights = next(name for name in past["task"]["task"] if name.endswith("head.weight"))
    past["task"]["task"][weights] = torch.zeros(7)
    problem = checkpoint.problem(past, past["signature"], None, task, data.batch_size)
    assert problem == f"was written by other code or changed since (task.{weights} does not fit)"
    assert task.update == 0 and task.curve == [] and task._adam is None and task.network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_every_checkpoint_of_a_run_fits_it(config, kind, monkeypatch):
    """Between any two updates, after reloads, while a validation is owed, and at the end."""
    cfg, looks = config(*KINDS[kind], "machine.checkpoint_seconds=0"), []
    data, task = build(cfg)
    original = sitting.Sitting.save

    def looked_at(self):
        original(self)
        past = load_tensors(self.path)
        looks.append(checkpoint.problem(past, self.signature, None, task, data.batch_size))

    monkeypatch.setattr(sitting.Sitting, "save", looked_at)
    train(cfg)
    assert looks == [""] * 13


def test_a_run_that_is_diverging_goes_on_to_its_end(config, begun):
    """Weights that are NaN may have been trained: the run ends as it would have ended."""
    past, _, _ = begun("adding")
    for tensor in past["task"]["task"].values():
        tensor.fill_(math.nan)
    cfg = config(*SMALL)
    save_tensors(folder(cfg) / "last.ckpt", past)
    done = train(cfg)
    assert done["status"] == "diverged" and done["sittings"][0]["updates"][1] > 8


def test_the_rates_and_betas_of_a_checkpoint_are_not_read(config, begun):
    past, rows, _ = begun("adding")
    for group in past["task"]["optimizer"]["param_groups"]:
        group |= {"betas": (0.0, 0.0), "eps": "small", "weight_decay": 3.0, "amsgrad": True}
    cfg = config(*SMALL)
    save_tensors(folder(cfg) / "last.ckpt", past)
    assert train(cfg)["status"] == "finished" and rows_of(cfg) == rows


def test_memory_that_runs_out_while_it_is_read_does_not_cost_the_checkpoint(config, begun, monkeypatch):
    past, rows, _ = begun("adding")
    cfg = config(*SMALL)
    path = folder(cfg) / "last.ckpt"
    save_tensors(path, past)
    with monkeypatch.context() as patch:
        patch.setattr(sitting, "load_tensors", lambda path: bytearray(2**62))
        with pytest.raises(OutOfMemory, match=f"^Out of memory with the checkpoint {path}: "):
            train(cfg)
    assert path.exists()
    done = train(cfg)
    assert done["sittings"][0]["updates"] == [0, 12] and rows_of(cfg) == rows and not list(path.parent.glob("*.unread"))


@pytest.mark.parametrize("path", sorted((files.ROOT / "results" / "resume").glob("*.ckpt")), ids=lambda path: path.stem)
def test_a_published_checkpoint_fits_the_run_that_it_is_of(path):
    runs = [run.overrides for name in milestones.names() for run in milestones.load(name).runs]
    configurations = {configs.signature(configs.signed(cfg)): cfg for cfg in map(configs.build, runs)}
    data, task = build(configurations[path.stem])
    past = load_tensors(path)
    assert checkpoint.problem(past, path.stem, None, task, data.batch_size) == "" and past["task"]["update"] > 500
