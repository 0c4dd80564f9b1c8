"""NTU RGB+D in training: crops, splits, batches, what a user gets wrong. Shapes: B batch, K crops, T time, M input."""

import json
import math

import numpy as np
import pytest
import skeleton_files as made
import torch
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ntu_build import built
from test_run import folder
from test_text import CALM

from indrnn import digests, record
from indrnn.data import TEST, TRAIN, VAL
from indrnn.data.ntu import stand_in_store
from indrnn.data.ntu.crops import fixed_draws, frame_numbers
from indrnn.data.ntu.geometry import joint_line_distances
from indrnn.data.ntu.names import CS_TRAINING
from indrnn.data.ntu.recordings import Skeletons
from indrnn.errors import NoData, UserError
from indrnn.training.run import train

NAMES = made.names(performers=range(1, 8), actions=range(1, 5))  # 84, of 4 performers in training, 3 in the test
LENGTHS = [1 + 7 * i % 61 for i in range(len(NAMES))]  # frames, 1 to 61
KNOWN = 0.25  # what is 0 nowhere: z of joint 0


# Frames


def by_hand(length: int, T: int, draws: list[float]) -> list[int]:
    """Numbers of the frames that are taken, by the words of the paper's code."""
    if length >= 2 * T:
        size = length // T
        ends = [size * (t + 1) for t in range(T - 1)] + [length]
        return [size * t + math.floor(draws[t] * (ends[t] - size * t)) for t in range(T)]
    if length > T:
        start = math.floor(draws[T] * (length - T + 1))
        return list(range(start, start + T))
    start = math.floor(draws[T] * max(T - length, T // 4, 1))
    over = max(0, start + length - T)
    front = math.floor(draws[T + 1] * (over + 1))
    there = list(range(front, length - over + front))
    return [-1] * start + there + [-1] * (T - start - len(there))


SIZES = [(1, 1), (2, 1), (7, 1), (1, 2), (1, 20), (15, 20), (19, 20), (20, 20), (21, 20), (39, 20), (40, 20), (61, 20)]


@settings(CALM, max_examples=300)
@given(st.sampled_from(SIZES) | st.tuples(st.integers(1, 130), st.integers(1, 40)), st.integers(0, 10**9))
def test_frames_are_taken_as_the_authors_take_them(sizes, seed):
    length, T = sizes
    rng = np.random.default_rng(seed)
    draws = np.stack([rng.random(T + 2), np.zeros(T + 2), np.full(T + 2, 1 - 2**-53)])
    found = frame_numbers(np.array([length] * 3), T, draws)
    assert found.dtype == np.int64 and found.tolist() == [by_hand(length, T, row.tolist()) for row in draws]
    for numbers in found:
        there = numbers[numbers >= 0]
        assert len(there) and there.max() < length and (np.diff(there) > 0).all()
        place = np.flatnonzero(numbers >= 0)
        assert (np.diff(place) == 1).all(), "an empty step between frames"


def test_recordings_of_all_lengths_at_once():
    lengths, rng = np.arange(1, 90), np.random.default_rng(0)
    draws = rng.random((89, 22))
    found = frame_numbers(lengths, 20, draws).tolist()
    assert found == [by_hand(int(n), 20, row.tolist()) for n, row in zip(lengths, draws, strict=True)]


def test_every_frame_and_every_place_is_drawn():
    rng = np.random.default_rng(0)
    for length, T, count in ((10, 4, 10), (7, 4, 7), (4, 4, 4), (2, 4, 2), (20, 20, 20)):
        found = frame_numbers(np.full(2000, length), T, rng.random((2000, T + 2)))
        assert set(found[found >= 0]) == set(range(count))
    starts = (frame_numbers(np.full(2000, 20), 20, rng.random((2000, 22))) < 0).sum(1)
    assert set(starts) == set(range(5))


def test_fixed_crops_are_spread_evenly():
    numbers = frame_numbers(np.full(5, 100), 10, fixed_draws(10, 5))
    assert (numbers - 10 * np.arange(10) == np.array([[1], [3], [5], [7], [9]])).all()
    windows = frame_numbers(np.full(4, 17), 10, fixed_draws(10, 4))
    assert windows[:, 0].tolist() == [1, 3, 5, 7]


# The data module


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A data folder with recordings whose joint 0 says which one, which frame, and ``KNOWN``."""
    place = tmp_path_factory.mktemp("ntu")
    files = {}
    for i, (name, F) in enumerate(zip(NAMES, LENGTHS, strict=True)):
        track = made.body(F, seed=i)
        track[:, 0] = np.stack([np.full(F, i), np.arange(F), np.full(F, KNOWN)], axis=1)
        files[name] = made.text({1: track, 2: made.body(F, 3, sway=0.01)} if i % 2 else {1: track})
    built(made.folder(place / "raw", NAMES, **files), place / "ntu", steps=[])
    return place


@pytest.fixture
def skeletons(place, monkeypatch):
    """skeletons(seed=..., ...) -> a data module that has read them."""
    monkeypatch.setenv("INDRNN_DATA", str(place))

    def build(**changes) -> Skeletons:
        data = Skeletons(**SETTINGS | changes)
        data.setup()
        return data

    return build


SETTINGS = {"seq_len": 20, "batch_size": 8, "seed": 0, "source": "ntu", "protocol": "cs", "val_share": 0.05}
SETTINGS |= {"crops": [2, 3]}


def seen(x) -> tuple[np.ndarray, np.ndarray]:
    """Which recordings and which frames (-1: an empty step) inputs (..., T, M) show."""
    x = np.asarray(x)[..., -150:]
    there = x[..., 2] == KNOWN
    assert not x[~there].any(), "an empty step that is not zero"
    recording = np.where(there, x[..., 0], -1).max(-1)
    assert (np.where(there, x[..., 0], recording[..., None]) == recording[..., None]).all()
    return recording.astype(int), np.where(there, x[..., 1], -1).astype(int)


@pytest.mark.parametrize("protocol", ["cs", "cv"])
def test_splits_are_disjoint_and_by_protocol(skeletons, protocol):
    data = skeletons(protocol=protocol)
    found = [set(seen(data.examples(split)[0])[0].flat) for split in (TRAIN, VAL, TEST)]
    assert set.union(*found) == set(range(84)) and sum(map(len, found)) == 84
    for i, name in enumerate(NAMES):
        trains = int(name[9:12]) in CS_TRAINING if protocol == "cs" else name[7] in "23"
        assert (i in found[2]) != trains
    assert len(found[1]) == round(0.05 * (84 - len(found[2]))) > 1
    again, other = skeletons(protocol=protocol, seed=5), skeletons(protocol=protocol, split_seed=1)
    assert (again.splits[VAL] == data.splits[VAL]).all() and (other.splits[VAL] != data.splits[VAL]).any()


def test_inputs_are_raw_metres_body_after_body(skeletons, place):
    data = skeletons()
    x, y = data.train_batch(0)
    assert x.shape == (8, 20, 150) and x.dtype == torch.float32 and y.dtype == torch.int64
    recordings, frames = seen(x)
    for b, i in enumerate(recordings):
        assert y[b] == int(NAMES[i][-3:]) - 1
        for t, frame in enumerate(frames[b]):
            expected = data.store.frames[data.store.starts[i] + frame] if frame >= 0 else np.zeros((2, 25, 3))
            assert np.array_equal(x[b, t], expected.ravel())
    assert x[recordings % 2 == 0, :, 75:].abs().max() == 0 < x[recordings % 2 == 1, :, 75:].abs().max()


def test_a_training_batch_is_a_function_of_seed_and_update(skeletons):
    one, other = skeletons(), skeletons()
    late = other.train_batch(30)
    batches = [one.train_batch(i) for i in range(31)]
    for i, (x, y) in ((30, late), (0, other.train_batch(0)), (17, other.train_batch(17))):
        assert torch.equal(batches[i][0], x) and torch.equal(batches[i][1], y)
    assert not torch.equal(skeletons(seed=1).train_batch(30)[0], late[0])


def test_training_sees_every_recording_equally_often_in_random_crops(skeletons):
    data = skeletons()
    n = len(data.splits[TRAIN])
    shown = [seen(data.train_batch(i)[0]) for i in range(n)]  # 8 epochs
    recordings = np.concatenate([r for r, _ in shown])
    frames = np.concatenate([f for _, f in shown])
    assert (np.unique(recordings, return_counts=True)[1] == 8).all() and set(recordings) == set(data.splits[TRAIN])
    for i in set(recordings):
        crops = {tuple(row) for row in frames[recordings == i].tolist()}
        assert len(crops) > 1 and max(map(max, crops)) < LENGTHS[i]


@pytest.mark.parametrize("split, K", [(VAL, 2), (TEST, 3)])
def test_crops_in_validation_and_test_are_fixed(skeletons, split, K):
    data, other = skeletons(), skeletons(seed=9)
    x, y = data.examples(split)
    assert x.shape == (len(data.splits[split]), K, 20, 150)
    loaders = [d.val_dataloader() if split == VAL else d.test_dataloader() for d in (data, other, data)]
    for loader in loaders:
        batches = list(loader)
        assert [len(b[0]) for b in batches] == [8] * (len(x) // 8) + [len(x) % 8] * (len(x) % 8 > 0)
        assert torch.equal(torch.cat([b[0] for b in batches]), x) and torch.equal(torch.cat([b[1] for b in batches]), y)
    recordings, frames = seen(x)
    for i, crops in zip(recordings, frames, strict=True):
        assert len(set(i)) == 1
        assert crops.tolist() == [by_hand(LENGTHS[i[0]], 20, [(k + 0.5) / K] * 22) for k in range(K)]


def test_batch_norm_statistics_see_fixed_training_crops(skeletons):
    data = skeletons()
    found = [torch.cat([x for x, _ in d.calibration_batches(30)]) for d in (data, data, skeletons(seed=4))]
    assert found[0].shape == (30, 20, 150) and all(torch.equal(found[0], x) for x in found[1:])
    assert set(seen(found[0])[0]) <= set(data.splits[TRAIN]) and len(set(seen(found[0])[0])) == 30
    assert sum(len(x) for x, _ in data.calibration_batches(2000)) == len(data.splits[TRAIN])


def test_random_lengths_are_within_5_and_40_in_training_alone(skeletons):
    data = skeletons(vary_length=True)
    lengths = np.array([data.train_batch(i)[0].shape[1] for i in range(300)])
    assert lengths.min() >= 5 and lengths.max() <= 40 and len(set(lengths)) > 15
    assert abs(lengths.mean() - 19.5) < 1 and abs(lengths.std() - 5) < 1
    for i in range(30):
        seen(data.train_batch(i)[0])
    assert torch.equal(data.train_batch(7)[0], skeletons(vary_length=True).train_batch(7)[0])
    assert data.examples(TEST)[0].shape[2] == 20 == next(data.calibration_batches(8))[0].shape[1]
    short = skeletons(vary_length=True, seq_len=3)
    assert {short.train_batch(i)[0].shape[1] for i in range(99)} - {3} <= set(range(5, 41))


def test_rotation_turns_training_recordings_alone(skeletons):
    data, plain = skeletons(rotation=90.0), skeletons()
    angles = []
    for i in range(6):
        x, before = (d.train_batch(i)[0].unflatten(2, (50, 3)) for d in (data, plain))
        torch.testing.assert_close(x.norm(dim=-1), before.norm(dim=-1))
        assert (
            torch.equal(x[..., 1], before[..., 1])
            and torch.equal(x.any(-1), before.any(-1))
            and x.dtype == torch.float32
        )
        turned, was = (torch.atan2(v[..., 0], v[..., 2]) for v in (x, before))
        turn = (turned - was + torch.pi) % (2 * torch.pi) - torch.pi
        there = before.abs().sum(-1) > 0
        angles += [each[mask].mean().item() for each, mask in zip(turn, there, strict=True)]
        assert all(each[mask].std() < 1e-4 for each, mask in zip(turn, there, strict=True))
    assert len(np.unique(np.round(angles, 3))) > 40 and np.abs(angles).max() <= np.pi / 2 < 2 * np.abs(angles).max()
    assert torch.equal(data.examples(TEST)[0], plain.examples(TEST)[0])


def test_distances_stand_before_the_coordinates_of_every_step(skeletons, config):
    data, plain = skeletons(geometry=True, input_size=1944), skeletons()
    x = data.train_batch(0)[0]
    assert torch.equal(x, plain.train_batch(0)[0])
    cfg = config("experiment=ntu_cs", "data.geometry=true", "data.input_size=1944", "recipe.hidden_size=8")
    network = instantiate(cfg.model)
    read = instantiate(cfg.task, network=network).time_first(x)
    assert read.shape == (20, len(x), 1944) and torch.equal(read[..., 1794:], x.transpose(0, 1))
    bodies = read[..., 1794:].unflatten(-1, (2, 25, 3))
    torch.testing.assert_close(read[..., 897:1794], joint_line_distances(bodies[:, :, 1]))
    torch.testing.assert_close(read[..., :897], joint_line_distances(bodies[:, :, 0]))
    assert network.features(read)[0].shape == (20, len(x), 8)
    plainly = instantiate(config("experiment=ntu_cs").task, network=network).time_first(x)
    assert torch.equal(plainly, x.transpose(0, 1))


def test_what_the_data_are_is_said(skeletons):
    found = skeletons(protocol="cv").describe()
    assert found["stand_in"] == "84 of the 56,578 recordings of NTU RGB+D stand in for all"
    assert found["counts"] == [53, 3, 28] and found["steps"] == []
    assert found["sha256"] == skeletons().describe()["sha256"]
    assert Skeletons(**SETTINGS).describe() == {"name": "NTU RGB+D", "stand_in": False, "protocol": "cs"}


def test_bodies_have_to_be_chosen_as_the_config_says(skeletons, place, monkeypatch):
    assert len(skeletons(bodies_by="size").store.names) == len(skeletons(bodies_by=None).store.names) == 84
    index = json.loads((place / "ntu" / "index.json").read_text())
    words = r"ntu has bodies chosen by {}, not by {} as data.bodies_by says: run `make data NTU=<.*>`, or say data.bod"
    with pytest.raises(UserError, match=words.format("size", "motion")):
        skeletons(bodies_by="motion")
    monkeypatch.setattr(json, "loads", lambda _: {key: value for key, value in index.items() if key != "bodies_by"})
    assert len(skeletons(bodies_by="motion").store.names) == 84
    with pytest.raises(UserError, match=words.format("motion", "size")):
        skeletons(bodies_by="size")


# What a user gets wrong


@pytest.mark.parametrize(
    "change, words",
    [
        ({"source": "nut"}, "data.source must be ntu or stand_in, not nut"),
        ({"protocol": "xsub"}, r"data.protocol must be cs \(cross-subject\) or cv \(cross-view\), not xsub"),
        ({"val_share": 0}, "data.val_share must be between 0 and 1, not 0"),
        ({"val_share": 1.0}, "data.val_share must be between 0 and 1"),
        ({"crops": [5]}, r"data.crops must name those of validation and of test, not \[5\]"),
        ({"crops": [5, 0]}, "crops must be a whole number of at least 1, not 0"),
        ({"geometry": True}, "data.input_size is 1944 with data.geometry=true, not 150"),
        ({"input_size": 1944}, "data.input_size is 150 with data.geometry=false, not 1944"),
        ({"rotation": 0}, "data.rotation must be degrees above 0 and up to 180, or null, not 0"),
        ({"rotation": 181}, "data.rotation must be degrees"),
        ({"seq_len": 0}, "seq_len must be a whole number of at least 1"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1"),
        ({"output_size": 3}, "data.output_size must be at least 4, not 3"),
        ({"val_share": 0.001}, r"ntu has too few recordings: \[48, 0, 36\] for training, validation, test"),
    ],
    ids=str,
)
def test_bad_values_are_one_sentence(skeletons, change, words):
    with pytest.raises(UserError, match=words) as caught:
        skeletons(**change)
    assert "\n" not in str(caught.value) and str(caught.value).count(". ") == 0


SMALL = ("model=indrnn", "recipe.hidden_size=4", "recipe.num_layers=2", "data.batch_size=8", "data.crops=[2,3]")
SMALL += ("trainer.max_updates=6", "trainer.val_every=2", "data.output_size=4")


def test_without_its_data_a_run_says_how_to_get_them(config, tmp_path, monkeypatch):
    monkeypatch.setenv("INDRNN_DATA", str(tmp_path))
    monkeypatch.setattr("indrnn.training.run.fit", None)
    cfg = config("experiment=ntu_cs", *SMALL)
    with pytest.raises(
        NoData, match="ask the ROSE Lab of .* then run `make data NTU=<folder or zip of the .skeleton fi"
    ):
        train(cfg)
    assert record.read(folder(cfg))["status"] == "no_data"


@pytest.mark.parametrize("damage", ["index", "half", "bit"])
def test_nothing_is_trained_on_damaged_data(config, place, tmp_path, monkeypatch, damage):
    monkeypatch.setenv("INDRNN_DATA", str(tmp_path))
    (tmp_path / "ntu").mkdir()
    index, frames = ((place / "ntu" / name).read_bytes() for name in ("index.json", "skeletons.f32"))
    broken = frames[:-1] if damage == "half" else bytes(b ^ 16 for b in frames) if damage == "bit" else frames
    (tmp_path / "ntu" / "skeletons.f32").write_bytes(broken)
    (tmp_path / "ntu" / "index.json").write_bytes(index[:-9] if damage == "index" else index)
    cfg = config("experiment=ntu_cv", *SMALL)
    name = "index.json" if damage == "index" else "skeletons.f32"
    words = rf"{name} is damaged \(.*\): delete .*ntu and run `make data NTU=<folder or zip of the .skeleton files>`\.$"
    with pytest.raises(UserError, match=words) as caught:
        train(cfg)
    assert (
        "\n" not in str(caught.value) and not (folder(cfg) / "curve.csv").exists() and record.read(folder(cfg)) is None
    )


def test_a_run_is_chosen_by_the_highest_accuracy(config, place, monkeypatch):
    monkeypatch.setenv("INDRNN_DATA", str(place))
    done = train(config("experiment=ntu_cs", *SMALL, "recipe.learning_rate=0.02", "trainer.max_updates=30"))
    cfg_folder = folder(config("experiment=ntu_cs", *SMALL, "recipe.learning_rate=0.02", "trainer.max_updates=30"))
    header, *rows = [line.split(",") for line in (cfg_folder / "curve.csv").read_text().splitlines()]
    accuracies = {int(row[0]): float(row[header.index("val/accuracy")]) for row in rows}
    assert len(set(accuracies.values())) > 1
    best = max(accuracies.values())
    assert done["metrics"]["val/accuracy"] == best == accuracies[done["metrics"]["best_update"]]
    assert done["status"] == "finished" and 0 <= done["metrics"]["test/accuracy"] <= 100
    assert done["data"]["stand_in"] == "84 of the 56,578 recordings of NTU RGB+D stand in for all"


def test_stand_in_recordings_go_all_the_way(config, tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "STAND_INS", tmp_path / "data" / "ntu_stand_in")
    monkeypatch.setattr(stand_in_store, "PERFORMERS", 3)
    monkeypatch.setattr(stand_in_store, "REPLICATIONS", 1)
    done = train(config("experiment=quick/ntu_cs", *SMALL, "data.output_size=12"))
    assert done["status"] == "finished" and done["data"]["counts"] == [65, 7, 36]
    assert done["data"]["stand_in"] == "made-up recordings of an articulated body stand in for NTU RGB+D"
