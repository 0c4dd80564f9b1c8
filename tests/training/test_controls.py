"""The controls of every comparison of a resumed run with one that was not stopped.

Where a seed, the order of batches, the noise or any part of the checkpoint is another, the bits have to differ: else
the comparison compares nothing, or the part is not worth its place in the checkpoint.
"""

import copy

import pytest
from test_checkpoint import FRAMES, stopped
from test_run import DIGITS, PLATEAU, SMALL, folder, outcome
from test_sitting import LANGUAGE

from indrnn.data import noise_seed
from indrnn.data.module import Data
from indrnn.networks import Network
from indrnn.tasks import Task, updating
from indrnn.tasks.language import LanguageModel
from indrnn.training.run import train
from indrnn.training.sitting import Sitting

KINDS = {
    "adding": SMALL,
    "gru": (*SMALL, "model=gru"),
    "digits": (*DIGITS, "recipe.dropout=0.2"),
    "plateau": PLATEAU,
    "language": LANGUAGE,
    "frames": (*FRAMES, "recipe.dropout=0.2"),
}
DROPS, CARRIES = ("digits", "frames"), ("language", "frames")


@pytest.fixture(scope="module")
def halfway(tmp_path_factory):
    """halfway(kind) -> config of a run that was stopped in its middle, its checkpoint, what it has to come to."""
    made = {}

    def of(kind):
        if kind not in made:
            runs, undisturbed = (tmp_path_factory.mktemp(kind) for _ in range(2))
            cfg = stopped(runs, KINDS[kind], 8 if kind == "plateau" else 7)  # then the best is in the checkpoint
            whole = copy.deepcopy(cfg)
            whole.machine.runs = str(undisturbed)
            train(whole)
            made[kind] = cfg, (folder(cfg) / "last.ckpt").read_bytes(), outcome(whole)
        return copy.deepcopy(made[kind])

    return of


def gone_on(halfway, kind, tmp_path):
    """What the run comes to from its checkpoint, and what it has to."""
    cfg, content, expected = halfway(kind)
    cfg.machine.runs = str(tmp_path)
    folder(cfg).mkdir(parents=True)
    (folder(cfg) / "last.ckpt").write_bytes(content)
    assert train(cfg)["status"] == "finished"
    return outcome(cfg), expected


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_left_out(halfway, tmp_path, kind):
    found, expected = gone_on(halfway, kind, tmp_path)
    assert found == expected


def left_out(part):
    """``load_state`` with a part as a task has it at its start."""
    original = Task.load_state

    def load(task, state):
        fresh = {"task": copy.deepcopy(task.state_dict()), "schedule": copy.deepcopy(task.schedule.state_dict())}
        fresh |= {"update": 0, "best": None, "curve": [], "optimizer": {"state": {}, "param_groups": []}}
        kept = {**state, part: fresh[part]} if part in fresh else copy.deepcopy(state)
        if part == "train_sum":
            kept["task"][part].zero_()
        elif part in ("weights", "buffers"):
            names = {name for name, _ in getattr(task, {"weights": "named_parameters"}.get(part, "named_buffers"))()}
            kept["task"] |= {name: fresh["task"][name] for name in names if name != "train_sum"}
        elif part == "the optimizer of the best":
            kept["best"]["optimizer"] = copy.deepcopy(state["optimizer"])
        original(task, kept)

    return load


PARTS = [(kind, part) for kind in KINDS for part in ("weights", "optimizer", "train_sum", "update", "curve")]
PARTS += [("digits", "best")]  # the others get better until their last update
PARTS += [("plateau", part) for part in ("schedule", "best", "the optimizer of the best")]  # it goes back to its best


@pytest.mark.parametrize("kind, part", PARTS)
def test_a_part_of_the_state_that_is_left_out_is_found_out(halfway, tmp_path, monkeypatch, kind, part):
    halfway(kind)  # made before anything is patched
    monkeypatch.setattr(Task, "load_state", left_out(part))
    found, expected = gone_on(halfway, kind, tmp_path)
    assert found != expected


@pytest.mark.parametrize("kind", CARRIES)
def test_a_state_that_is_not_carried_on_is_found_out(halfway, tmp_path, monkeypatch, kind):
    halfway(kind)  # made before anything is patched
    original = LanguageModel.load_state
    monkeypatch.setattr(LanguageModel, "load_state", lambda task, state: original(task, state | {"carried": None}))
    found, expected = gone_on(halfway, kind, tmp_path)
    assert found != expected


@pytest.mark.parametrize("kind", DROPS)
def test_noise_that_does_not_follow_from_the_update_is_found_out(halfway, tmp_path, monkeypatch, kind):
    """What a generator that was not put right would draw."""
    halfway(kind)  # made before anything is patched
    monkeypatch.setattr(updating, "noise_seed", lambda seed, update, rank: noise_seed(seed, update + 1, rank))
    found, expected = gone_on(halfway, kind, tmp_path)
    assert found != expected


@pytest.mark.parametrize("kind", KINDS)
def test_another_order_of_batches_is_found_out(halfway, tmp_path, monkeypatch, kind):
    """As of a loader that begins anew with the sitting."""
    halfway(kind)  # made before anything is patched
    original = Data.drawn_here
    monkeypatch.setattr(Data, "drawn_here", lambda data, update: original(data, update - 8))
    found, expected = gone_on(halfway, kind, tmp_path)
    assert found != expected


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_is_found_out(halfway, tmp_path, monkeypatch, kind):
    """Of the second half alone, from the checkpoint of the first."""
    halfway(kind)  # made before anything is patched
    original = Sitting._load

    def load(self):
        self.data.seed = self.task.seed = 1
        return original(self)

    monkeypatch.setattr(Sitting, "_load", load)
    found, expected = gone_on(halfway, kind, tmp_path)
    assert found != expected


@pytest.mark.parametrize("kind", ["digits", "frames"])
def test_batch_norm_statistics_are_made_anew_and_an_evaluation_without_is_found_out(
    halfway, tmp_path, monkeypatch, kind
):
    """They stand in the checkpoint and nothing depends on it: without those of the checkpoint the bits are the same."""
    halfway(kind)  # made before anything is patched
    with monkeypatch.context() as patch:
        patch.setattr(Task, "load_state", left_out("buffers"))
        found, expected = gone_on(halfway, kind, tmp_path / "left out")
        assert found == expected
    monkeypatch.setattr(Task, "recalibrate", lambda task: None)
    found, expected = gone_on(halfway, kind, tmp_path / "not made")
    assert found != expected


def test_the_bound_left_out_is_found_out(halfway, tmp_path, monkeypatch):
    """It is no part of the state, but a part of every update."""
    halfway("adding")  # made before anything is patched
    monkeypatch.setattr(Network, "constrain_", lambda network: [m.u.data.mul_(1.01) for m in network.layers])
    found, expected = gone_on(halfway, "adding", tmp_path)
    assert found != expected
