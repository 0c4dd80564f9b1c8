"""Stand-in recordings: the text by a strict reader of its own, and what is in them."""

import importlib.util
import re
from collections import defaultdict

import numpy as np
import pytest

from indrnn.data.ntu.kinect import JOINTS, PARENTS
from indrnn.data.stand_in import ACTIONS, Recordings, performers, sensor
from indrnn.data.stand_in.actions import BY_NUMBER
from indrnn.data.stand_in.body import CHANNELS, STANDING, mirrored
from indrnn.errors import UserError
from indrnn.files import ROOT

J = {name: i for i, name in enumerate(JOINTS)}
STILL = 0.005  # metres: standard deviation over time, mean over joints, of what does not move


class Recording:
    """Parsed line by line: ``frames``, one dict a frame from body id to (25, 12) numbers; ``tracks``, points by id."""

    def __init__(self, content: bytes):
        text = content.decode("ascii")
        self.crlf, self.bare = "\r\n" in text, not text.endswith("\n")
        if self.crlf:
            assert text.count("\r\n") == text.count("\n")
        lines = iter(text.replace("\r\n", "\n").removesuffix("\n").split("\n"))
        self.frames = []
        for _ in range(int(next(lines))):
            bodies = {}
            for _ in range(int(next(lines))):
                head = next(lines).split(" ")
                assert len(head) == 10 and re.fullmatch(r"\d{17}", head[0]) and int(head[9]) in (0, 1, 2)
                assert all(-1 <= float(lean) <= 1 for lean in head[7:9])
                assert next(lines) == "25"
                rows = np.array([[float(number) for number in next(lines).split(" ")] for _ in range(25)])
                assert rows.shape == (25, 12) and np.isfinite(rows).all() and set(rows[:, 11]) <= {0, 1, 2}
                assert head[0] not in bodies
                bodies[head[0]] = rows
            self.frames.append(bodies)
        assert next(lines, None) is None
        tracks = defaultdict(list)
        for frame in self.frames:
            for body, rows in frame.items():
                tracks[body].append(rows[:, :3])
        self.tracks = {body: np.array(points) for body, points in tracks.items()}
        self.ghosts = {b for b, points in self.tracks.items() if len(points) > 10 and points.std(0).mean() < STILL}

    def moving(self) -> list[str]:
        return [body for body in self.tracks if body not in self.ghosts]

    def longest(self) -> np.ndarray:
        return max((self.tracks[body] for body in self.moving()), key=len)


@pytest.fixture(scope="module")
def recordings():
    return Recordings(performers=8, replications=1)


@pytest.fixture(scope="module")
def everything(recordings):
    return {name: Recording(recordings.read(name)) for name in recordings.names()}


def action(name: str) -> int:
    return int(name[17:20])


def world(number: int, person: int, seed: int = 0) -> list[np.ndarray]:
    """A performance before any camera, of right-handed people who face the z axis."""
    rng = np.random.default_rng([seed, person, number])
    people = [performers.performer(np.random.default_rng([p])) for p in (person, person + 1)]
    people = [performers.Performer(p.body, p.tempo, p.amplitude, left_handed=False) for p in people]
    return performers.performance(rng, number, people[: BY_NUMBER[number].people], heading=0.0)


def test_names():
    names = Recordings().names()
    assert len(names) == len(set(names)) == 40 * 2 * 3 * len(ACTIONS) and len(ACTIONS) >= 12
    assert names == sorted(names)
    parsed = [re.fullmatch(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})\.skeleton", name).groups() for name in names]
    setup_of = defaultdict(set)
    for setup, camera, person, replication, label in parsed:
        setup_of[person].add(setup)
        assert camera in ("001", "002", "003") and replication in ("001", "002") and 1 <= int(label) <= len(ACTIONS)
    assert all(len(setups) == 1 for setups in setup_of.values())
    assert len(set.union(*setup_of.values())) > 3
    assert set(Recordings(performers=3, replications=1).names()) < set(names)


def test_every_file_is_true_skeleton_text(everything):
    lengths = [len(recording.frames) for recording in everything.values()]
    assert 30 <= min(lengths) < 40 and 60 < max(lengths) <= 90 and 45 < np.mean(lengths) < 55
    assert all(any(recording.frames) for recording in everything.values())


def test_the_reader_refuses_what_is_wrong(recordings):
    good = recordings.read(recordings.names()[0])
    head, rest = good.split(b"\n", 1)
    for bad in (good + b"0\n", b"%d\n" % (int(head) + 1) + rest, good.replace(b"25\n", b"24\n", 1)):
        with pytest.raises((AssertionError, StopIteration, ValueError)):
            Recording(bad)


def test_line_ends_differ_between_files(everything):
    crlf = np.mean([recording.crlf for recording in everything.values()])
    bare = np.mean([recording.bare for recording in everything.values()])
    assert 0.1 < crlf < 0.3 and 0.02 < bare < 0.3


def test_pictures_are_pinhole_projections(everything):
    rows = np.concatenate([body for r in everything.values() for frame in r.frames[:1] for body in frame.values()])
    x, y, z, depth_x, depth_y, colour_x, colour_y = rows[:, :7].T
    assert np.corrcoef(depth_x, x / z)[0, 1] > 0.999 and np.corrcoef(depth_y, y / z)[0, 1] < -0.999
    assert np.mean((depth_x > 0) & (depth_x < 512) & (depth_y > 0) & (depth_y < 424)) > 0.95
    assert np.mean((colour_x > 0) & (colour_x < 1920) & (colour_y > 0) & (colour_y < 1080)) > 0.95
    np.testing.assert_allclose(np.linalg.norm(rows[:, 7:11], axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("number", BY_NUMBER)
def test_bones_keep_their_length_before_the_sensor(number):
    for points in world(number, person=3):
        bones = np.linalg.norm(points[:, 1:] - points[:, PARENTS[1:]], axis=2)
        assert np.ptp(bones, axis=0).max() < 1e-9
        assert 0.02 < bones.min() and bones.max() < 0.6
        left, right = [4, 5, 6, 12, 13, 14], [8, 9, 10, 16, 17, 18]
        np.testing.assert_allclose(bones[0, np.array(left) - 1], bones[0, np.array(right) - 1])
        assert np.linalg.norm(points[..., :2], axis=-1).max() < 4 and points[..., 1].min() > -0.12


def test_bones_keep_their_length_up_to_noise(everything):
    for name in list(everything)[::7]:
        points = everything[name].longest()
        bones = np.linalg.norm(points[:, 1:] - points[:, PARENTS[1:]], axis=2)
        assert 0 < bones.std(axis=0).mean() < 0.08
        assert 0.3 < np.median(bones[:, J["KneeLeft"] - 1]) < 0.55


def test_people_stand_upright(everything):
    standing = [
        ACTIONS.index(name) + 1 for name in ("sit down", "pick up", "put on a jacket", "circle the arms forwards")
    ]
    for name, recording in everything.items():
        if action(name) in standing and len(recording.tracks) == 1 and recording.frames[0]:
            first = np.median(recording.longest()[:3], axis=0)
            tall = np.linalg.norm(first[J["Head"]] - (first[J["FootLeft"]] + first[J["FootRight"]]) / 2)
            assert 1.3 < tall < 1.95, name
            assert first[J["Head"], 1] > first[J["SpineShoulder"], 1] > first[J["SpineBase"], 1]
            assert first[J["SpineBase"], 1] > first[J["KneeLeft"], 1] > first[J["AnkleLeft"], 1]
    people = [performers.performer(np.random.default_rng([0, 0, p])) for p in range(1, 41)]
    assert all(1.4 < p.body.height < 2.0 for p in people) and np.std([p.body.height for p in people]) > 0.04
    assert any(p.left_handed for p in people) and not all(p.left_handed for p in people)


def test_content_is_a_function_of_name_and_seed(recordings):
    many, other = Recordings(), Recordings(performers=8, replications=1, version_seed=1)
    for name in recordings.names()[::60]:
        content = recordings.read(name)
        assert content == many.read(name) == recordings.read(name) != other.read(name)


def shared_distances(views: list[Recording]) -> np.ndarray:
    """Distances between some pairs of joints (cameras, frames, pairs) where all cameras see the one body."""
    frames = zip(*(view.frames for view in views), strict=False)
    shared = [[next(iter(f.values()))[:, :3] for f in frame] for frame in frames if all(len(f) == 1 for f in frame)]
    points = np.array(shared).swapaxes(0, 1)
    a = [J[name] for name in ("WristLeft", "WristLeft", "WristRight", "Head")]
    b = [J[name] for name in ("WristRight", "Head", "SpineBase", "AnkleLeft")]
    return np.linalg.norm(points[:, :, a] - points[:, :, b], axis=-1)


def test_three_cameras_see_one_performance(everything):
    tested = 0
    for name in everything:
        views = [everything[name.replace("C001", f"C00{camera}")] for camera in (1, 2, 3)]
        one_body = all(len(view.moving()) == len(view.tracks) == 1 for view in views)
        if "C001" in name and BY_NUMBER[action(name)].people == 1 and one_body:
            tested += 1
            assert len({len(view.frames) for view in views}) == 1
            seen = shared_distances(views)
            assert np.median(np.abs(seen - seen[:1])) < 0.05, name
            assert not np.allclose(views[0].longest()[0], views[1].longest()[0], atol=0.1)
    assert tested > 10
    first, second = (Recording(Recordings(8).read(f"S001C001P001R00{r}A007.skeleton")) for r in (1, 2))
    seen = shared_distances([first, second])
    assert np.median(np.abs(seen[0] - seen[1]).max(axis=1)) > 0.1


@pytest.mark.parametrize("replication, front, side", [(1, 2, 3), (2, 3, 2)])
def test_one_side_camera_sees_the_front_and_the_other_the_side(replication, front, side):
    """The shoulders lie across the view of the camera that the performer faces, left hand at smaller x."""
    recordings, wide = Recordings(), defaultdict(list)
    for name in recordings.names():
        if f"R{replication:03}" in name and int(name[9:12]) <= 8 and action(name) in (1, 3, 5, 7):
            first = Recording(recordings.read(name)).longest()[0]
            wide[int(name[5:8])].append(first[J["ShoulderRight"], 0] - first[J["ShoulderLeft"], 0])
    assert [len(wide[camera]) for camera in (1, 2, 3)] == [32, 32, 32]
    assert np.mean(wide[front]) > np.mean(wide[1]) + 0.04 > np.abs(np.mean(wide[side])) + 0.08


def test_inferred_joints_are_noisier():
    still = np.broadcast_to(world(1, person=2)[0][:1], (4000, 25, 3))
    seen = sensor.Stand(3.3, 1.2).view(still, camera=3)
    track = sensor.tracked(np.random.default_rng(0), seen, 0)
    rough = np.diff(track.points, axis=0).std(axis=(0, 2))
    arms = [J[name] for name in ("ElbowLeft", "ElbowRight", "ShoulderLeft", "ShoulderRight", "WristLeft", "WristRight")]
    hidden = (track.states == 1).mean(axis=0) > 0.5
    assert hidden[arms].any() and not hidden[arms].all()
    usual = [j for j in arms if not hidden[j]]
    assert min(rough[j] for j in arms if hidden[j]) > 2 * max(rough[j] for j in usual)
    assert 0 < (track.states == 0).mean() < 0.01


def test_bodies_get_lost_and_come_back_with_another_id(everything):
    single = [r for name, r in everything.items() if BY_NUMBER[action(name)].people == 1]
    lost = [r for r in single if any(not frame for frame in r.frames)]
    renamed = [r for r in single if len(r.moving()) == 2]
    assert 0.15 < len(lost) / len(single) < 0.45
    assert 0.03 < len(renamed) / len(single) < 0.3
    assert all(sum(not frame for frame in r.frames) <= 5 for r in lost)


def test_two_people_in_actions_of_two(everything):
    lost, order = 0, set()
    for name, recording in everything.items():
        counts = {len([body for body in frame if body not in recording.ghosts]) for frame in recording.frames}
        if BY_NUMBER[action(name)].people == 1:
            assert counts <= {0, 1}, name
        else:
            assert 2 in counts <= {0, 1, 2}, name
            lost += counts != {2}
            order.add(min(recording.moving()) == recording.moving()[0])
    assert lost > 3
    assert order == {True, False}


def test_ghosts_are_wide_and_still(everything):
    ghosts = [(r, body) for r in everything.values() for body in r.ghosts]
    assert 0.01 < len(ghosts) / len(everything) < 0.12
    for recording, body in ghosts:
        width, height, _ = np.ptp(recording.tracks[body], axis=1).mean(axis=0)
        assert 0.8 < width / height < 1.25
    moved = [r.longest().std(axis=0).mean() for r in everything.values()]
    assert min(moved) > 2 * STILL


def falls(points: np.ndarray) -> bool:
    height = points[:, J["SpineBase"], 1]
    return height[-3:].mean() < height[:3].mean() - 0.15


def test_sitting_down_falls_and_standing_up_rises(everything):
    for name, recording in everything.items():
        whole = len(recording.tracks) == 1
        if whole and action(name) in (1, 2):
            assert falls(recording.longest()) == (action(name) == 1), name
            assert falls(recording.longest()[::-1]) == (action(name) == 2), name


def hand_held(points: np.ndarray, frames: slice) -> float:
    """How far the right hand is in front of the hip."""
    return (points[frames, J["WristRight"], 2] - points[frames, J["HipRight"], 2]).mean()


@pytest.mark.parametrize("seed", range(5))
def test_pairs_differ_in_the_direction_of_time(seed):
    start, end = slice(0, 2), slice(-2, None)
    held = [[np.mean([hand_held(world(a, p, seed)[0], at) for p in range(8)]) for at in (start, end)] for a in (3, 4)]
    assert held[0][1] > held[0][0] + 0.08 and held[1][0] > held[1][1] + 0.08
    for person in range(8):
        for number, sign in ((11, -1), (12, 1)):
            one, other = world(number, person, seed)
            gap = np.linalg.norm(one[:, 0] - other[:, 0], axis=1)
            assert sign * (gap[-1] - gap[0]) > 0.3 and gap.min() > 0.3
        for number, sign in ((9, 1), (10, -1)):
            points = world(number, person, seed)[0]
            arm = (points[:, J["WristLeft"]] - points[:, J["ShoulderLeft"]])[:, 1:]
            area = arm[:-1, 1] * arm[1:, 0] - arm[1:, 1] * arm[:-1, 0]
            assert sign * area.sum() > 0.02


@pytest.mark.parametrize("seed", range(20))
def test_hands_are_raised_in_the_order_of_the_name(seed):
    for number, first, second in ((7, "left_hand", "right_hand"), (8, "right_hand", "left_hand")):
        what = BY_NUMBER[number]
        poses = what.motion(np.random.default_rng(seed), np.linspace(0, 1, 40))
        poses = mirrored(poses) if what.mirror else poses
        assert poses[:, CHANNELS[first]][:, 1].argmax() < poses[:, CHANNELS[second]][:, 1].argmax()


def test_a_backwards_action_is_the_other_one_reversed():
    progress = np.linspace(0, 1, 40)
    for number, what in BY_NUMBER.items():
        if what.backwards:
            forwards = BY_NUMBER[number - 1]
            assert forwards.motion is what.motion and not forwards.backwards and forwards.frames == what.frames
            there = what.motion(np.random.default_rng(3), progress)
            back = what.motion(np.random.default_rng(3), 1 - progress)
            np.testing.assert_allclose(there, back[::-1], atol=1e-12)
            assert np.abs(there - back).max() > 0.2
    assert sum(what.backwards for what in BY_NUMBER.values()) >= 4


def test_mirroring_exchanges_left_and_right():
    poses = np.random.default_rng(0).normal(size=(5, 20))
    np.testing.assert_array_equal(mirrored(mirrored(poses)), poses)
    np.testing.assert_array_equal(mirrored(STANDING), STANDING)
    np.testing.assert_array_equal(mirrored(poses)[:, CHANNELS["left_hand"]][:, 1:], poses[:, 12:14])


@pytest.mark.parametrize("name", ["S001C001P001R001A099.skeleton", "S002C001P001R001A001.skeleton", "../x", ""])
def test_other_names_are_refused_in_one_sentence(recordings, name):
    with pytest.raises(UserError, match="there is no stand-in recording") as error:
        recordings.read(name)
    assert name in str(error.value) and "\n" not in str(error.value) and str(error.value).endswith(".")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"performers": 0}, "performers must be a whole number"),
        ({"performers": 1000}, "performers must be at most 999"),
        ({"replications": 3}, "replications must be 1 or 2"),
        ({"version_seed": -1}, "version_seed must be at least 0"),
    ],
)
def test_numbers_out_of_range_are_refused(change, words):
    with pytest.raises(UserError, match=words):
        Recordings(**change)


def make_recordings(monkeypatch, *arguments: str) -> int:
    path = ROOT / "scripts" / "make_recordings.py"
    spec = importlib.util.spec_from_file_location("make_recordings", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr("sys.argv", [str(path), *arguments])
    return module.main()


def test_script_writes_all_files(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "deep" / "recordings"
    assert make_recordings(monkeypatch, str(folder), "--performers", "1", "--replications", "1") == 0
    recordings = Recordings(1, 1)
    assert sorted(path.name for path in folder.iterdir()) == recordings.names()
    assert all((folder / name).read_bytes() == recordings.read(name) for name in recordings.names())
    assert "36 stand-in recordings" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [("x", "--performers", "0"), ("file", "--performers", "1")])
def test_script_says_one_sentence(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    assert make_recordings(monkeypatch, *arguments) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
