"""Files of NTU RGB+D: their text, their names, the bodies in them. Shapes: F frames, 25 joints, 3 coordinates."""

import itertools
import re
from collections import Counter

import numpy as np
import pytest
import skeleton_files as made
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from test_text import CALM

from indrnn.data.ntu import read_skeleton, skeleton, to_sequence
from indrnn.data.ntu.bodies import spread
from indrnn.data.ntu.names import COUNTS, CS_TRAINING, RECORDINGS, Name, missing_skeletons
from indrnn.data.ntu.skeleton import Refused, parse
from indrnn.data.stand_in import performers, sensor
from indrnn.data.stand_in.actions import BY_NUMBER
from indrnn.data.stand_in.body import CHANNELS, STANDING, Body, joints
from indrnn.errors import UserError

ID = 72057594037931101  # as Kinect numbers bodies
COORDINATES = st.floats(-300, 300, width=32)
MANY = settings(CALM, max_examples=300)


def same(found: dict, expected: dict) -> bool:
    """Whether two recordings have the same bodies, in the same order, bit by bit."""
    return list(found) == list(expected) and all(
        found[i].dtype == np.float32 and found[i].tobytes() == expected[i].tobytes() for i in found
    )


@st.composite
def recordings(draw):
    """Up to four bodies in up to six frames, each tracked in any of them, in the order of their first frames."""
    F, count = draw(st.integers(1, 6)), draw(st.integers(0, 4))
    ids = draw(st.lists(st.integers(0, 10**17), min_size=count, max_size=count, unique=True))
    bodies = {}
    for number in ids:
        track = np.full((F, 25, 3), np.nan, np.float32)
        frames = draw(st.lists(st.integers(0, F - 1), min_size=1, max_size=F, unique=True))
        track[frames] = draw(arrays.arrays(np.float32, (25, 3), elements=COORDINATES))
        bodies[number] = track
    order = sorted(bodies, key=lambda i: np.flatnonzero(~np.isnan(bodies[i][:, 0, 0]))[0])
    return F, {i: bodies[i] for i in order}


# The text


@CALM
@given(recordings(), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_is_written_is_read(recording, newline, end):
    F, bodies = recording
    assert same(parse(made.text(bodies, F, newline, end), "it"), bodies)


FILES = {
    "no body in any frame": (made.text({}, 4), {}),
    "no frame": (b"0\n", {}),
    "one body": (made.text({ID: made.body(5)}), {ID: made.body(5)}),
    "two": (made.text({ID: made.body(5), 3: made.body(5, 1)}), {ID: made.body(5), 3: made.body(5, 1)}),
    "CRLF": (made.text({1: made.body(2)}, newline="\r\n"), {1: made.body(2)}),
    "no newline at the end": (made.text({1: made.body(2)}, end=False), {1: made.body(2)}),
    "no newline at the end of CRLF": (made.text({1: made.body(2)}, newline="\r\n", end=False), {1: made.body(2)}),
    "empty lines at the end": (made.text({1: made.body(2)}) + b"\r\n\n", {1: made.body(2)}),
    "the other values are no numbers": (
        made.text({1: made.body(2)}).replace(b"261.5 146.25", b"NaN -inf"),
        {1: made.body(2)},
    ),
}


@pytest.mark.parametrize("content, bodies", FILES.values(), ids=FILES)
def test_files_as_they_are(tmp_path, content, bodies):
    path = tmp_path / "S001C001P001R001A001.skeleton"
    path.write_bytes(content)
    assert same(read_skeleton(path), bodies) and same(read_skeleton(str(path)), bodies)


def test_three_bodies_that_come_and_go():
    bodies = {i: made.only(made.body(6, i, seed=i), frames) for i, frames in {5: (0, 1, 5), 3: (1, 2), 9: (4,)}.items()}
    found = parse(made.text(bodies), "it")
    assert same(found, bodies)
    assert [np.flatnonzero(~np.isnan(track).any((1, 2))).tolist() for track in found.values()] == [
        [0, 1, 5],
        [1, 2],
        [4],
    ]


def without(line: int) -> bytes:
    """The good file with a line cut out."""
    lines = GOOD.split(b"\n")
    return b"\n".join(lines[: line - 1] + lines[line:])


def changed(line: int, text: bytes, new: bytes) -> bytes:
    """The good file with a piece of a line replaced."""
    lines = GOOD.split(b"\n")
    assert text in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(text, new, 1)
    return b"\n".join(lines)


# Lines: 1 frame count, 2 body count, 3 body, 4 joint count, 5-29 joints; 30 body count, 31 body, 32 joints, 33-57.
GOOD = made.text({ID: made.body(2)})
NUMBER = made.text({ID: made.body(2)}).split(b"\n")[9].split()[0]  # x in line 10
BAD = {
    "empty": (b"", 1, "the file is empty"),
    "blank": (b" \r\n\n", 1, "the file is empty"),
    "fewer frames": (changed(1, b"2", b"3"), 57, "the file ends where the body count of frame 3 of 3 should follow"),
    "more frames": (changed(1, b"2", b"1"), 30, "the file goes on after its 1 frames"),
    "half a body": (b"\n".join(GOOD.split(b"\n")[:40]), 40, "the file ends where joint 9 of 25 should follow"),
    "no body": (b"1\n1\n", 2, "the file ends where a body of frame 1 of 1 should follow"),
    "no joint count": (b"\n".join(GOOD.split(b"\n")[:3]), 3, "the file ends where the joint count should follow"),
    "24 joints": (changed(32, b"25", b"24"), 32, "a body has 25 joints, not 24"),
    "26 joints": (changed(4, b"25", b"26"), 4, "a body has 25 joints, not 26"),
    "a joint is missing": (without(12), 29, "a joint has 12 numbers, not 1"),
    "11 numbers": (changed(10, b" 261.5", b""), 10, "a joint has 12 numbers, not 11"),
    "13 numbers": (changed(57, b" 261.5", b" 261.5 1"), 57, "a joint has 12 numbers, not 13"),
    "9 values": (changed(31, b" 0.1", b""), 31, "a body has 10 values, not 9"),
    "text": (changed(10, b"261.5", b"left"), 10, "'left' stands where a number should be"),
    "text for a coordinate": (changed(10, NUMBER, b"0,25"), 10, "'0,25' stands where a number should be"),
    "text in a body": (changed(3, b"-0.2", b"--"), 3, "'--' stands where a number should be"),
    "underscore": (changed(10, NUMBER, b"1_0"), 10, "'1_0' stands where a number should be"),
    "no utf-8": (changed(10, NUMBER, b"\xff\xfe"), 10, "stands where a number should be"),
    "NaN": (changed(10, NUMBER, b"NaN"), 10, "x y z are no metres: 'NaN "),
    "infinite": (changed(10, NUMBER, b"-inf"), 10, "x y z are no metres: '-inf "),
    "too large for float32": (changed(10, NUMBER, b"1e300"), 10, "x y z are no metres: '1e300 "),
    "too large for float64": (changed(10, NUMBER, b"1e999"), 10, "x y z are no metres: '1e999 "),
    "far away": (changed(10, NUMBER, b"-1001"), 10, "x y z are no metres: '-1001 "),
    "frame count": (changed(1, b"2", b"two"), 1, "the frame count should be a whole number, not 'two'"),
    "negative": (changed(1, b"2", b"-2"), 1, "the frame count should be a whole number, not '-2'"),
    "a fraction": (changed(2, b"1", b"1.0"), 2, "the body count of frame 1 of 2 should be a whole number, not '1.0'"),
    "huge": (changed(1, b"2", b"9" * 5000), 1, "the frame count should be a whole number, not '9999"),
    "many frames": (changed(1, b"2", b"9" * 15), 57, "the file ends where the body count of frame 3 of 9999999"),
    "an id": (changed(3, b"72057594037931101", b"7.2e16"), 3, "a body's id should be a whole number, not '7.2e16'"),
    "blank line": (changed(10, b"", b"\n"), 10, "a joint has 12 numbers, not 0"),
    "twice": (b"1\n2\n" + GOOD.split(b"\n", 2)[2], 30, "a body has 10 values, not 1"),
    "a body twice": (
        b"\n".join([b"1", b"2", *GOOD.split(b"\n")[2:29], *GOOD.split(b"\n")[2:29]]),
        31,
        f"body {ID} stands twice in frame 1 of 1",
    ),
}


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("content, line, reason", BAD.values(), ids=BAD)
def test_a_bad_file_is_refused_with_file_line_and_reason(tmp_path, content, line, reason, newline):
    path = tmp_path / "S001C001P001R001A001.skeleton"
    path.write_bytes(content.replace(b"\n", newline))
    with pytest.raises(Refused) as caught:
        read_skeleton(path)
    said = str(caught.value)
    assert re.match(rf"{re.escape(str(path))}, line {line}: [^\n]+\.$", said) and reason in said, said
    assert len(said) < len(str(path)) + 150


def test_a_file_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(OSError, match="none.skeleton"):
        read_skeleton(tmp_path / "none.skeleton")


BASE = {ID: made.body(2), 5: made.only(made.body(2, 1), [1])}
CONTENT = made.text(BASE)


def values(bodies: dict) -> Counter:
    """All coordinates with their frames, whatever the bodies are called."""
    found = [(frame, value) for track in bodies.values() for frame, joints in enumerate(track) for value in joints.flat]
    return Counter((frame, float(value)) for frame, value in found if not np.isnan(value))


@MANY
@given(st.integers(0, len(CONTENT) - 1), st.sampled_from(b"0123456789.-+eE _,naif\r\n\x00\xff"))
def test_a_damaged_byte_is_refused_or_changes_one_number(at, byte):
    damaged = CONTENT[:at] + bytes([byte]) + CONTENT[at + 1 :]
    try:
        found = parse(damaged, "it")
    except Refused as refusal:
        assert re.match(r"it, line \d+: .+\.$", str(refusal), re.S)
        return
    lost, new = values(BASE) - values(found), values(found) - values(BASE)
    assert lost.total() == new.total() <= 1 and {frame for frame, _ in lost} == {frame for frame, _ in new}
    assert new.total() == 0 or len(found) == len(BASE)


@MANY
@given(st.integers(0, CONTENT.count(b"\n") - 1), st.sampled_from(["cut", "twice", "empty", "half"]), st.booleans())
def test_a_damaged_line_is_refused(at, damage, crlf):
    lines = CONTENT.replace(b"\n", b"\r\n" if crlf else b"\n").splitlines(True)
    half = lines[at][: len(lines[at]) // 2] if len(lines[at]) > 5 else b"x"
    lines[at : at + 1] = {"cut": [], "twice": 2 * [lines[at]], "empty": [b"\n"], "half": [half]}[damage]
    with pytest.raises(Refused, match=r"^it, line \d+: "):
        parse(b"".join(lines), "it")


@CALM
@given(st.binary(max_size=200))
def test_anything_else_is_refused(content):
    try:
        assert parse(content, "it") == {}
    except Refused:
        return
    assert not content.split()[0].lstrip(b"0") or content.split()[1:] == [b"0"] * int(content.split()[0])


# Names


@pytest.mark.parametrize("text, values", [("S001C002P003R002A013", (1, 2, 3, 2, 13)), ("S017C003P040R002A060", None)])
def test_a_name_says_its_numbers(text, values):
    name = Name.of(text)
    assert str(name) == text and name.of_60
    assert values in (None, (name.setup, name.camera, name.performer, name.replication, name.action))


@pytest.mark.parametrize(
    "text",
    ["", "S001C001P001R001A00", "S001C001P001R001A0011", "s001c001p001r001a001", "S001C001P001R001A001.skeleton"]
    + ["S000C001P001R001A001", "S001C000P001R001A001", "S001C004P001R001A001", "S001C001P001R001A000"]
    + ["S001C001P001R001A001\n", "._S001C001P001R001A001", "S001C001P001R001A-01", " S001C001P001R001A001"],
)
def test_what_is_no_name_is_refused(text):
    with pytest.raises(UserError, match="is no name of a recording, which is like S001C002P003R002A013") as caught:
        Name.of(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["S018C001P008R001A061", "S018C001P001R001A001", "S001C001P041R001A001"])
def test_other_names_are_of_ntu_120(text):
    assert not Name.of(text).of_60


def test_protocols_divide_by_performer_and_by_camera():
    assert len(CS_TRAINING) == 20
    for text in made.names(performers=range(1, 41), actions=[1]):
        name = Name.of(text)
        assert name.trains("cs") == (int(text[9:12]) in CS_TRAINING) and name.trains("cv") == (text[7] in "23")


def test_the_authors_list_has_302_names_of_ntu_60():
    assert len(missing_skeletons()) == 302 and all(Name.of(name).of_60 for name in missing_skeletons())
    assert {RECORDINGS - 302} == {sum(counts) for counts in COUNTS.values()}


# The bodies


def tracked(*tracks: np.ndarray, **steps: bool) -> np.ndarray:
    """Bodies 10, 11 ... as a sequence."""
    found = to_sequence({10 + i: track for i, track in enumerate(tracks)}, **steps)
    assert found.dtype == np.float32 and found.shape == (len(tracks[0]), 2, 25, 3) and np.isfinite(found).all()
    return found


def slots(*tracks: np.ndarray) -> np.ndarray:
    """What is expected: one body a slot, zeros where it is not tracked."""
    there = [np.nan_to_num(track) for track in tracks]
    return np.stack([*there, *[np.zeros_like(there[0])] * (2 - len(there))], axis=1)


CALM_BODY, WALKER, RUNNER = made.body(9, 0, 1, sway=0.2), made.body(9, 2, 2, sway=0.6), made.body(9, -2, 3, sway=1.5)


def test_no_body_is_no_frame():
    assert to_sequence({}).shape == (0, 2, 25, 3)


def test_one_body_and_zeros_where_it_is_not():
    part = made.only(WALKER, [2, 3, 7])
    assert np.array_equal(tracked(part), slots(part))
    assert not tracked(part)[[0, 1, 4, 5, 6, 8]].any() and not tracked(part)[:, 1].any()


@pytest.mark.parametrize("order", list(itertools.permutations([CALM_BODY, WALKER, RUNNER])), ids=lambda _: "order")
def test_of_three_bodies_the_two_that_move_most(order):
    assert np.array_equal(tracked(*order), slots(RUNNER, WALKER))
    assert np.array_equal(tracked(*order[:2]), slots(*sorted(order[:2], key=lambda t: -np.ptp(t[:, 0, 2]))))
    assert np.array_equal(tracked(*order, motion=False), slots(*order[:2]))


def test_a_body_that_is_seen_shortly_ranks_lower():
    passer = made.only(RUNNER, [4, 5])
    assert np.array_equal(tracked(passer, WALKER), slots(WALKER, passer))


def test_a_body_keeps_its_slot_while_others_come_and_go():
    walker, other = made.only(WALKER, [0, 1, 2, 5, 6, 7, 8]), made.only(CALM_BODY, [2, 3, 4, 5])
    assert np.array_equal(tracked(other, walker), slots(walker, other))


def test_a_body_whose_id_changes_is_one_body():
    pieces = [made.only(WALKER, frames) for frames in ([0, 1, 2], [4, 5], [6, 8])]
    whole = made.only(WALKER, [0, 1, 2, 4, 5, 6, 8])
    for order in itertools.permutations(pieces):
        assert np.array_equal(tracked(*order), slots(whole))
        assert np.array_equal(tracked(*order, CALM_BODY), slots(whole, CALM_BODY))
    assert np.array_equal(tracked(*pieces, link=False, motion=False), slots(*pieces[:2]))


def test_what_is_far_or_there_at_the_same_time_is_another_body():
    early, late = made.only(CALM_BODY, range(4)), made.only(CALM_BODY, range(4, 9))
    near, far = late + np.float32([0.45, 0, 0]), late + np.float32([0.55, 0, 0])
    overlapping = made.only(CALM_BODY, range(3, 9))
    assert not tracked(early, near)[:, 1].any()
    for other in (far, overlapping):
        assert tracked(early, other)[:, 1].any()


def test_a_body_goes_on_where_the_nearer_one_ended():
    here, there = made.only(CALM_BODY, range(4)), made.only(CALM_BODY + np.float32([0.6, 0, 0]), range(5))
    later = made.only(CALM_BODY + np.float32([0.4, 0, 0]), range(5, 9))
    found = tracked(here, there, later, motion=False)
    assert np.array_equal(found, slots(here, np.where(np.isnan(later), there, later)))


def test_a_ghost_is_dropped():
    sofa = made.ghost(9)
    assert np.array_equal(tracked(sofa, CALM_BODY), slots(CALM_BODY))
    assert np.array_equal(tracked(sofa, WALKER, RUNNER), slots(RUNNER, WALKER))
    assert np.array_equal(tracked(sofa, CALM_BODY, motion=False, ghosts=False), slots(sofa, CALM_BODY))
    assert np.array_equal(tracked(sofa, CALM_BODY, ghosts=False), slots(CALM_BODY, sofa))


def test_the_last_body_is_kept_though_it_looks_like_a_ghost():
    sofa, lively = made.ghost(9), made.ghost(9) + np.linspace(0, 0.1, 9, dtype=np.float32)[:, None, None]
    assert np.array_equal(tracked(sofa), slots(sofa)) and np.array_equal(tracked(sofa, lively), slots(lively))


def test_who_is_wide_but_moves_or_still_but_upright_is_no_ghost():
    lying, waiting = made.body(9, width=1.7, height=0.5, sway=0.3), made.body(9, 3, sway=0.001)
    assert np.array_equal(tracked(lying, waiting), slots(lying, waiting))


@MANY
@given(recordings(), st.booleans(), st.booleans(), st.booleans())
def test_whatever_the_bodies_a_slot_holds_one_at_a_time(recording, link, ghosts, motion):
    F, bodies = recording
    found = to_sequence(bodies, link=link, ghosts=ghosts, motion=motion)
    assert found.shape == (F if bodies else 0, 2, 25, 3) and np.isfinite(found).all()
    for frame, pair in enumerate(found):
        there = [track[frame].tobytes() for track in bodies.values() if not np.isnan(track[frame, 0, 0])]
        held = [joints.tobytes() for joints in pair if joints.any()]
        assert not Counter(held) - Counter(there)
        if not ghosts and len(bodies) <= 2:
            assert len(held) == sum(np.frombuffer(joints, np.float32).any() for joints in there)
    if motion and not link and len(bodies) > 1 and not ghosts:
        amounts = sorted((moved(track) for track in bodies.values()), reverse=True)
        slots_of = [moved(np.where(s.any((1, 2))[:, None, None], s, np.nan)) for s in np.moveaxis(found, 1, 0)]
        assert [size for size, _ in slots_of] == [size for size, _ in amounts[:2]]
        assert [m for _, m in slots_of] == pytest.approx([m for _, m in amounts[:2]], rel=1e-4, abs=1e-6)


def moved(track: np.ndarray) -> tuple[bool, float]:
    """Root mean square distance of joints from their means over time, times the share of frames; by loops.

    Before it whether the mean squared distance of all points from their mean is that of a person.
    """
    there = [joints.astype(np.float64) for joints in track if not np.isnan(joints[0, 0])]
    if not there:
        return False, 0.0
    squares = [
        np.square(joints[j] - np.mean([other[j] for other in there], 0)).sum() for joints in there for j in range(25)
    ]
    points = [joints[j] for joints in there for j in range(25)]
    size = np.mean([np.square(point - np.mean(points, 0)).sum() for point in points])
    return bool(size >= 0.09), float(np.sqrt(np.mean(squares))) * len(there) / len(track)


# A ghost as in recording S001C001P003R002A005: a sofa that jitters by 0.107 m and is 1.46 times as wide as high


def jittering_sofa(F: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([7, seed])
    shape = rng.uniform(-0.5, 0.5, (25, 3))
    shape = shape / np.ptp(shape, axis=0) * (0.6, 0.6 / 1.46, 0.2)
    jitter = rng.normal(size=(F, 1, 3))
    jitter -= jitter.mean(0)
    jitter *= 0.107 / np.sqrt(jitter.var(0).sum())
    return (shape + jitter + (1.0, -0.4, 3.5)).astype(np.float32)


def performance(rng: np.random.Generator, number: int) -> list[np.ndarray]:
    """People of an action as camera 1 sees them; of number 0, one who stands and sways."""
    people = [performers.performer(rng) for _ in range(2)]
    if number:
        what = performers.performance(rng, number, people[: BY_NUMBER[number].people], 0.0)
    else:
        poses = np.tile(STANDING, (60, 1))
        poses[:, CHANNELS["lean"]] = 0.03 * np.sin(np.arange(60) / 10)
        what = [joints(people[0].body, poses)]
    view = sensor.stand(rng)
    tracks = [sensor.tracked(rng, view.view(points, 1), number) for number, points in enumerate(what)]
    return [np.where(track.seen[:, None, None], track.points, np.nan).astype(np.float32) for track in tracks]


@pytest.mark.parametrize("number", [0, *BY_NUMBER])
def test_a_sofa_that_jitters_is_no_person(number):
    """It jitters by more than a ghost was thought to, and by more than a person moves who stands."""
    for seed in range(5):
        people = performance(np.random.default_rng([seed, number]), number)
        sofa = jittering_sofa(len(people[0]), seed)
        width, height = np.ptp(sofa[..., 0], 1), np.ptp(sofa[..., 1], 1)
        assert spread(sofa) == pytest.approx(0.107, rel=1e-3) and width / height == pytest.approx(1.46, rel=1e-3)
        alone = tracked(*people)
        assert number or spread(people[0]) < 0.09, "the calm one moves more than the sofa"
        assert np.array_equal(tracked(sofa, *people), alone) and np.array_equal(tracked(*people, sofa), alone)
        ranked = tracked(sofa, *people, ghosts=False)
        assert np.array_equal(ranked[:, 0], alone[:, 0])
        assert np.array_equal(ranked, alone if len(people) == 2 else slots(*people, sofa))


def test_a_small_person_whose_arms_are_out_is_no_ghost():
    """As wide as high for most of the time, and not far from still: 1.5 m, both arms out from the first quarter on."""
    out = STANDING.copy()
    out[CHANNELS["left_hand"]], out[CHANNELS["right_hand"]] = (0.98, 0, 0.1), (-0.98, 0, 0.1)
    share = np.clip((np.arange(80) / 80 - 0.25) / 0.15, 0, 1)[:, None]
    person = joints(Body(1.5), STANDING + share * (out - STANDING)).astype(np.float32)
    assert np.median(np.ptp(person[..., 0], 1)) > np.median(np.ptp(person[..., 1], 1)) and spread(person) < 0.2
    walker = made.body(80, 3, sway=0.6)
    assert np.array_equal(tracked(person, walker, motion=False), slots(person, walker))


def test_more_bodies_than_memory_holds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(skeleton, "MOST", 11)
    path = tmp_path / "S001C001P001R001A001.skeleton"
    path.write_bytes(made.text({n: made.body(4, n) for n in (1, 2)}))
    assert len(read_skeleton(path)) == 2
    path.write_bytes(made.text({n: made.body(4, n) for n in (1, 2, 3)}))
    with pytest.raises(Refused, match="3 bodies in 4 frames are no recording"):
        read_skeleton(path)
