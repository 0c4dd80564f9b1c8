"""``make data NTU=...``: what is refused, left out, counted and said, and a store that was damaged later."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import skeleton_files as made
from forked import wait_for
from hypothesis import given
from hypothesis import strategies as st
from processes import living
from test_ntu_build import NAMES, built, contents, stopping_after, zipped
from test_text import CALM

from indrnn.data.ntu import raw
from indrnn.data.ntu.build import sorted_out
from indrnn.data.ntu.names import COUNTS, CS_TRAINING, Name, missing_skeletons
from indrnn.data.ntu.store import Store
from indrnn.errors import NoData, UserError
from indrnn.files import ROOT

BAD = {
    NAMES[3]: (b"", "the file is empty"),
    NAMES[4]: (made.text({}, 5), "no frame has a body"),
    NAMES[7]: (made.text({1: made.body(2)})[:-200], "a joint has 12 numbers, not"),
}


@pytest.fixture
def files(tmp_path):
    return made.folder(tmp_path / "raw", NAMES)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The folder of the data sets."""
    monkeypatch.setenv("INDRNN_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def script(monkeypatch, data, capsys):
    """script("--ntu", ...) -> exit code, what it prints, what it says of errors."""
    spec = importlib.util.spec_from_file_location("get_data", ROOT / "scripts" / "get_data.py")
    get_data = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(get_data)

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["get_data.py", *map(str, arguments)])
        code = get_data.main()
        return code, *capsys.readouterr()

    return run


# Refused files


def spoil(files) -> None:
    for name, (content, _) in BAD.items():
        (files / f"{name}.skeleton").write_bytes(content)


def test_refused_files_are_counted_listed_and_left_out_and_the_build_goes_on(tmp_path, files):
    spoil(files)
    (files / "S001C009P001R001A001.skeleton").write_bytes(made.text({1: made.body(2)}))
    found = built(files, tmp_path / "store")
    expected = [rf"{name}.skeleton, line \d+: {reason}" for name, (_, reason) in BAD.items()]
    expected.append("'S001C009P001R001A001' is no name of a recording")
    assert all(re.match(*pair) for pair in zip(expected, found["refused"], strict=True)), found["refused"]
    store = Store(tmp_path / "store", "")
    assert [str(name) for name in store.names] == [name for name in NAMES if name not in BAD]
    store.check(np.arange(15))


def test_a_refused_file_that_is_repaired_is_taken_at_the_next_start(tmp_path, files):
    built(files, tmp_path / "undisturbed")
    good = {name: (files / f"{name}.skeleton").read_bytes() for name in BAD}
    spoil(files)
    assert len(built(files, tmp_path / "store")["refused"]) == 3
    for name, content in good.items():
        (files / f"{name}.skeleton").write_bytes(content)
    assert built(files, tmp_path / "store")["refused"] == []
    assert contents(tmp_path / "store") == contents(tmp_path / "undisturbed")


def test_names_are_sorted_though_a_repaired_file_comes_last(tmp_path, files):
    good = (files / f"{NAMES[3]}.skeleton").read_bytes()
    spoil(files)
    with pytest.raises(KeyboardInterrupt):
        built(files, tmp_path / "store", progress=stopping_after(12))
    (files / f"{NAMES[3]}.skeleton").write_bytes(good)
    assert len(built(files, tmp_path / "store")["refused"]) == 2
    store = Store(tmp_path / "store", "")
    assert [str(name) for name in store.names] == [name for name in NAMES if name not in list(BAD)[1:]]
    assert store.starts[3] > store.starts[4]
    store.check(np.arange(16))


def test_too_many_refused_files_stop_a_build_that_goes_on_once_they_are_repaired(tmp_path, files):
    built(files, tmp_path / "undisturbed")
    good = {name: (files / f"{name}.skeleton").read_bytes() for name in NAMES[4:]}
    for name in NAMES[4:]:
        (files / f"{name}.skeleton").write_bytes(b"")
    with pytest.raises(UserError, match="11 of 18 files are refused, too many to go on. The first ones:\n") as caught:
        built(files, tmp_path / "store")
    assert [f"  {name}.skeleton, line 1: the file is empty." in str(caught.value) for name in NAMES] == (
        [False] * 4 + [True] * 10 + [False] * 4
    )
    assert not (tmp_path / "store" / "index.json").exists()
    for name, content in good.items():
        (files / f"{name}.skeleton").write_bytes(content)
    begun = []
    built(files, tmp_path / "store", progress=lambda results, done, total: begun.append(done) or results)
    assert begun == [4] and contents(tmp_path / "store") == contents(tmp_path / "undisturbed")


@pytest.mark.parametrize("files, stops", [(18, 11), (1000, 11), (1100, 12), (56_578, 566)])
def test_ten_files_or_one_in_a_hundred_may_be_refused(files, stops):
    from indrnn.data.ntu.build import _stop_if_too_many

    _stop_if_too_many(["x"] * (stops - 1), files)
    with pytest.raises(UserError, match=f"{stops} of {files} files"):
        _stop_if_too_many(["x"] * stops, files)


# What is left out


def test_what_the_authors_list_and_ntu_120_are_left_out():
    listed = sorted(missing_skeletons())[:3]
    others, strange = ["S018C001P050R001A061", "S001C001P041R001A001"], ["S001", "S001C009P001R001A001"]
    every = sorted(f"{name}.skeleton" for name in [*listed, *others, *strange, *NAMES])
    wanted, left_out, of_120 = sorted_out(every)
    assert wanted == sorted(f"{name}.skeleton" for name in [*strange, *NAMES]) and (left_out, of_120) == (3, 2)


def test_a_listed_recording_is_not_even_read(tmp_path, files):
    listed = sorted(missing_skeletons())[:2]
    made.folder(files, [*listed, "S020C001P001R001A001"], **{listed[0]: b"rubbish"})
    found = built(files, tmp_path / "store")
    assert (found["listed"], found["others"], found["refused"], found["files"]) == (2, 1, [], 21)
    assert [str(name) for name in Store(tmp_path / "store", "").names] == NAMES


def complete() -> list[Name]:
    """As many names as the complete set has, divided as it is by performers and by cameras."""
    (cs, _), (cv, _) = COUNTS["cs"], COUNTS["cv"]
    rest = min(set(range(1, 41)) - CS_TRAINING)
    both = cs - (sum(COUNTS["cs"]) - cv) // 2  # trains in both protocols
    counts = {(1, 2): both, (1, 1): cs - both, (rest, 2): cv - both, (rest, 1): sum(COUNTS["cs"]) - cs - cv + both}
    return [Name(1, camera, performer, 1, 1) for (performer, camera), n in counts.items() for _ in range(n)]


def test_a_complete_set_has_the_known_counts():
    names = complete()
    assert raw.coverage(names, "cs") == "40,091 training, 16,487 test recordings"
    assert raw.coverage(names, "cv") == "37,646 training, 18,932 test recordings"


def test_a_part_is_k_of_n():
    names = complete()[1:]
    assert raw.coverage(names, "cs") == "40,090 of 40,091 training, 16,487 test recordings"
    assert raw.coverage(names[:7], "cv") == "7 of 37,646 training, 0 of 18,932 test recordings"


def test_as_many_but_other_ones_are_refused():
    names = complete()
    names[0] = Name(1, 1, 3, 1, 1)
    words = r"cross-subject should have \(40091, 16487\) training and test recordings, but has \(40090, 16488\)"
    with pytest.raises(UserError, match=words):
        raw.coverage(names, "cs")
    with pytest.raises(UserError, match="cross-view should have"):
        raw.coverage(names, "cv")


# The script


def test_the_script_takes_a_folder(script, files, data):
    spoil(files)
    made.folder(files, [sorted(missing_skeletons())[0], "S020C001P001R001A001"])
    code, said, errors = script("--ntu", files, "--jobs", 1)
    assert code == 0
    for words in (
        f"refused: {NAMES[3]}.skeleton, line 1: the file is empty.\n",
        f"{data / 'ntu'}: 15 recordings, ",
        " frames; 3 refused\n",
        "left out: 1 whose skeletons are missing, as the authors list them; 1 of NTU RGB+D 120\n",
        "cross-subject: 10 of 40,091 training, 5 of 16,487 test recordings\n",
        "cross-view: 11 of 37,646 training, 4 of 18,932 test recordings\n",
    ):
        assert words in said, said
    assert re.search(r"18/18 .*files", errors) and "Traceback" not in errors
    assert Store(data / "ntu", "").about["steps"] == ["link", "ghosts", "motion"]


def test_the_script_goes_on_and_says_so(script, files, data, monkeypatch):
    with monkeypatch.context() as patched:

        def interrupted(results, done, total):
            yield from (next(results) for _ in range(7))
            raise KeyboardInterrupt

        patched.setattr(raw, "bar", interrupted)
        assert script("--ntu", files, "--jobs", 1)[::2] == (130, "stopped; the same command goes on\n")
    code, said, errors = script("--ntu", files, "--jobs", 1)
    assert code == 0 and "going on after 7 of 18 files\n" in said
    code, said, errors = script("--ntu", files, "--jobs", 1)
    assert code == 0 and errors == "" and "18 recordings" in said


def test_the_script_takes_a_zip_and_leaves_out_steps(script, files, data, tmp_path):
    path = zipped(tmp_path / "x.zip", files)
    assert script("--ntu", path, "--jobs", 1, "--without", "ghosts", "link")[0] == 0
    about = Store(data / "ntu", "").about
    assert about["steps"] == ["motion"] and about["source"] == str(path)


def test_what_is_wrong_is_one_sentence(script, files, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "text.zip").write_text("no archive")
    for words, *arguments in (
        ("neither a folder nor a zip archive", tmp_path / "none"),
        ("There is no recording of NTU RGB\\+D in .*empty: looked for S001C001P001R001A001.skeleton, ...", empty),
        ("text.zip is no zip archive, or only half of one: fetch it again", tmp_path / "text.zip"),
        ("There is no step goosts; there are: link, ghosts, motion", files, "--without", "goosts"),
    ):
        code, _, errors = script("--jobs", 1, "--ntu", *arguments)
        assert code == 1 and re.search(words, errors) and errors.count("\n") == 1, errors


def test_jobs_must_be_positive(script, files, capsys):
    with pytest.raises(SystemExit):
        script("--ntu", files, "--jobs", 0)
    assert "--jobs must be at least 1, not 0" in capsys.readouterr().err


# A store that is damaged later


def test_no_store_says_how_to_get_one(tmp_path):
    with pytest.raises(NoData, match=r"index\.json is missing: run `make data`\.$"):
        Store(tmp_path, "run `make data`")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    built(made.folder(place / "raw", NAMES), place / "store")
    return place / "store"


@pytest.mark.parametrize("size", [0, 1, -600, -1, 600, None])
def test_frames_of_another_size_are_refused(whole, tmp_path, size):
    (tmp_path / "index.json").write_bytes((whole / "index.json").read_bytes())
    content = (whole / "skeletons.f32").read_bytes()
    if size is not None:
        (tmp_path / "skeletons.f32").write_bytes(content[:size] if size < 600 else content + bytes(size))
    with pytest.raises(
        UserError, match=r"skeletons\.f32 is damaged \(.* bytes expected, .* found\): delete .* and make it\."
    ):
        Store(tmp_path, "make it")


@CALM
@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_when_its_recording_is_first_read(whole, at, bit):
    content = (whole / "skeletons.f32").read_bytes()
    store = Store(whole, "make it again")
    damaged, at = bytearray(content), at % len(content)
    damaged[at] ^= 1 << bit
    store.frames = np.frombuffer(bytes(damaged), "<f4").reshape(-1, 2, 25, 3)
    hit = np.searchsorted(store.starts, at // 600, side="right") - 1
    store.check(np.delete(np.arange(18), hit))
    words = (
        rf"skeletons\.f32 is damaged \({NAMES[hit]}: crc32 expected \w{{8}}, found \w{{8}}\): delete .*make it again\."
    )
    with pytest.raises(UserError, match=words):
        store.check(np.arange(18))


@CALM
@given(at=st.integers(0, 10**6), new=st.sampled_from(list(b'0123456789[]{}",:-S \n\xff')))
def test_a_damaged_index_is_refused_or_says_the_same(whole, at, new):
    place = whole.parent / "damaged"
    place.mkdir(exist_ok=True)
    content = bytearray((whole / "index.json").read_bytes())
    content[at % len(content)] = new
    (place / "index.json").write_bytes(content)
    (place / "skeletons.f32").write_bytes((whole / "skeletons.f32").read_bytes())
    try:
        store = Store(place, "make it again")
        store.check(np.arange(len(store.names)))
    except UserError as error:
        assert re.search(r"damaged/(index\.json|skeletons\.f32) is damaged \(.+\): delete ", str(error))
        assert "\n" not in str(error)
        return
    rows = json.loads((whole / "index.json").read_text())["recordings"]
    assert [[str(store.names[i]), store.starts[i], store.lengths[i], store.checksums[i]] for i in range(18)] == rows


def test_bytes_are_compared_once(whole, monkeypatch):
    store, counted = Store(whole, ""), []
    monkeypatch.setattr("indrnn.data.ntu.store.zlib.crc32", lambda *a: counted.append(a) or 0)
    store.checksums = np.zeros(18, int)
    for _ in range(3):
        store.check(np.array([3, 5]))
    assert len(counted) == 4


@pytest.mark.slow
def test_killed_and_interrupted_with_two_processes_it_leaves_none_and_goes_on(tmp_path):
    files = made.folder(tmp_path / "raw", made.names(range(1, 9), performers=range(1, 9), actions=range(1, 9)), F=40)
    built(files, tmp_path / "undisturbed")
    command = [sys.executable, "scripts/get_data.py", "--ntu", str(files), "--jobs", "2"]

    def started() -> subprocess.Popen:
        environment = os.environ | {"INDRNN_DATA": str(tmp_path / "data")}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        # Tests that a script starts in the background ignore Ctrl-C, and so would what they start.
        hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        return subprocess.Popen(command, cwd=ROOT, env=environment, process_group=0, preexec_fn=hears, **pipes)

    def done() -> int:
        part = tmp_path / "data" / "ntu" / "skeletons.f32.part"
        return part.stat().st_size if part.exists() else 0

    for number, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
        process, before = started(), done()
        wait_for(lambda before=before: done() > before)
        os.kill(process.pid, number) if number == signal.SIGKILL else os.killpg(process.pid, number)
        said = process.communicate()[0]  # at its end, or that of the last worker
        assert process.returncode == code and "Traceback" not in said and 0 < done(), said
        assert number == signal.SIGKILL or said.endswith("stopped; the same command goes on\n")
        wait_for(lambda group=process.pid: not living(group))
    process = started()
    said = process.communicate()[0]
    assert process.returncode == 0 and re.search("going on after [1-9][0-9,]* of 1,529 files", said), said
    store, expected = (Store(place, "") for place in (tmp_path / "data" / "ntu", tmp_path / "undisturbed"))
    assert store.names == expected.names and np.array_equal(store.frames, expected.frames)
