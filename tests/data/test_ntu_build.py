"""From raw files to a store: sources, builds that are stopped and go on, damage, what is said. Shapes: F frames."""

import json
import os
import shutil
import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skeleton_files as made
from hypothesis import given
from hypothesis import strategies as st
from test_text import CALM

from indrnn.data.ntu import build as building
from indrnn.data.ntu import to_sequence, workers
from indrnn.data.ntu.build import build
from indrnn.data.ntu.skeleton import parse
from indrnn.data.ntu.sources import Folder, Zip, source_at
from indrnn.data.ntu.store import FRAME_BYTES, Store
from indrnn.errors import NoData, UserError

NAMES = made.names()  # 18
STORE = ["index.json", "skeletons.f32"]


@pytest.fixture
def files(tmp_path) -> Path:
    """A folder with 18 recordings, one of them without a newline at its end, one with CRLF, one with three bodies."""
    three = {i: made.body(4, i, seed=i, sway=i / 4) for i in (1, 2, 3)}
    special = {NAMES[1]: made.text({1: made.body(2)}, end=False), NAMES[2]: made.text(three, newline="\r\n")}
    return made.folder(tmp_path / "raw", NAMES, **special)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in STORE}


def built(source: Path, folder: Path, **options) -> dict:
    return build(source_at(source), folder, "made-up files", **options)


# Sources


def zipped(path: Path, files: Path, inside: str = "nturgb+d_skeletons/", **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files.rglob("*.skeleton"):
            archive.write(file, inside + file.name)
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_folder_with_folders_and_a_zip_are_the_same_source(tmp_path, files):
    (files / "deep" / "er").mkdir(parents=True)
    for i, path in enumerate(sorted(files.glob("*.skeleton"))):
        path.rename([files, files / "deep", files / "deep" / "er"][i % 3] / path.name)
    (files / "readme.txt").write_text("not one of them")
    archive = zipped(tmp_path / "x.zip", files, **{"readme.txt": b"", "./": b"", "a/": b"", "/".join("bc"): b"."})
    one, other = source_at(files), source_at(str(archive))
    assert isinstance(one, Folder) and isinstance(other, Zip)
    assert one.names() == other.names() == [f"{name}.skeleton" for name in NAMES]
    assert all(one.read(name) == other.read(name) for name in one.names())
    for source, folder in ((files, tmp_path / "one"), (archive, tmp_path / "other")):
        built(source, folder)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_a_store_whose_bodies_were_chosen_otherwise_is_made_anew(tmp_path, files):
    """As they were before the index said so."""
    found, place = built(files, tmp_path / "store"), tmp_path / "store" / "index.json"
    assert found["bodies_by"] == "size"
    before, index = contents(tmp_path / "store"), json.loads(place.read_text())
    del index["bodies_by"]
    place.write_text(json.dumps(index))
    (tmp_path / "store" / "skeletons.f32").write_bytes(bytes(len(before["skeletons.f32"])))
    built(files, tmp_path / "store")
    assert contents(tmp_path / "store") == before


CLIMBING = [
    "../x.skeleton",
    "a/../../x.skeleton",
    "/x.skeleton",
    "..\\x.skeleton",
    "C:\\x.skeleton",
    "C:x",
    "a\\..\\..",
]


@pytest.mark.parametrize("name", CLIMBING)
def test_a_zip_whose_members_climb_out_is_refused(tmp_path, files, name):
    archive = zipped(tmp_path / "x.zip", files, **{name: b""})
    with pytest.raises(UserError, match=r"x\.zip has a member that leads out of its folder, .*: do not trust it\.$"):
        source_at(archive).names()
    with pytest.raises(UserError, match="leads out of its folder"):
        built(archive, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_two_files_of_one_name_are_refused(tmp_path, files):
    (files / "again").mkdir()
    shutil.copy(files / f"{NAMES[0]}.skeleton", files / "again")
    with pytest.raises(UserError, match=f"holds {NAMES[0]}.skeleton twice, as .*{NAMES[0]}.* and .*: remove one"):
        source_at(files).names()
    twice = zipped(tmp_path / "x.zip", files / "again", **{f"b/{NAMES[0]}.skeleton": b""})
    with pytest.raises(UserError, match=f"x.zip holds {NAMES[0]}.skeleton twice"):
        source_at(twice).names()


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.9, -1])
def test_a_truncated_zip_is_refused(tmp_path, files, keep):
    archive = zipped(tmp_path / "x.zip", files)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: keep if keep in (0, 1, 100, -1) else int(keep * len(whole))])
    with pytest.raises(UserError, match=r"x\.zip is no zip archive, or only half of one: fetch it again\.$"):
        built(archive, tmp_path / "store")


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("zip")
    return zipped(place / "x.zip", made.folder(place / "raw", NAMES[:3]))


@CALM
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), early=st.booleans())
def test_a_damaged_zip_is_refused_or_reads_as_before(archive, at, bit, early):
    damaged = bytearray(archive.read_bytes())
    directory = damaged.index(b"PK\1\2")
    at = int(at * directory) if early else directory + int(at * (len(damaged) - directory))
    damaged[at] ^= 1 << bit
    path = archive.with_name("damaged.zip")
    path.write_bytes(damaged)
    try:
        source = Zip(path)
        found = {name: source.read(name) for name in source.names()}
    except UserError as error:
        assert "damaged.zip" in str(error) and "\n" not in str(error)
        return
    assert all(Folder(archive.with_name("raw")).read(name) == content for name, content in found.items())


def test_an_encrypted_member_is_refused_by_name(tmp_path, files):
    path = zipped(tmp_path / "x.zip", files)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    found = built(path, tmp_path / "store")
    assert len(found["refused"]) == 1 and "encrypted" in found["refused"][0] and "x.zip" in found["refused"][0]


@pytest.mark.parametrize("place", ["none", "raw/none.zip"])
def test_a_path_to_nothing_is_refused(tmp_path, files, place):
    with pytest.raises(UserError, match=f"{place} is neither a folder nor a zip archive"):
        source_at(tmp_path / place)


# A build


def test_the_store_holds_what_the_files_say(tmp_path, files):
    found = built(files, tmp_path / "store")
    store = Store(tmp_path / "store", "make it")
    assert [str(name) for name in store.names] == NAMES and found["refused"] == [] and found["files"] == 18
    store.check(np.arange(18))
    for i, name in enumerate(NAMES):
        expected = to_sequence(parse((files / f"{name}.skeleton").read_bytes(), name))
        assert np.array_equal(store.frames[store.starts[i] : store.starts[i] + store.lengths[i]], expected)
    assert sum(store.lengths) == len(store.frames) == found["frames"]
    assert (tmp_path / "store" / "skeletons.f32").stat().st_size == found["frames"] * FRAME_BYTES
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["index.json", "lock", "skeletons.f32"]


def test_two_processes_give_the_same_bytes(tmp_path, files, monkeypatch):
    monkeypatch.setattr(workers, "CHUNK", 4)
    built(files, tmp_path / "one")
    found = built(files, tmp_path / "two", jobs=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") and found["files"] == 18


class CountingPool:
    """In place of processes: does the work when the result is taken, and counts what is on its way."""

    most = waiting = 0

    def __init__(self, jobs, context, begin, given):
        self.work = lambda names: [workers.convert(*given, name) for name in names]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        assert self.waiting == 0

    def shutdown(self, cancel_futures):
        assert cancel_futures

    def submit(self, function, names):
        assert function is workers._convert_all and len(names) <= workers.CHUNK
        type(self).waiting += 1
        type(self).most = max(self.most, self.waiting)
        return Later(self, names)


class Later:
    def __init__(self, pool, names):
        self.pool, self.names = pool, names

    def result(self):
        type(self.pool).waiting -= 1
        return self.pool.work(self.names)


def test_few_files_are_on_their_way_at_a_time(tmp_path, files, monkeypatch):
    monkeypatch.setattr(workers, "ProcessPoolExecutor", CountingPool)
    monkeypatch.setattr(workers, "CHUNK", 1)
    built(files, tmp_path / "store", jobs=2)
    assert CountingPool.most <= 9 < len(NAMES)
    built(files, tmp_path / "one")
    assert contents(tmp_path / "store") == contents(tmp_path / "one")


# Stopped and started again


def stopping_after(count: int):
    """Progress that raises before result number ``count`` (from 0) is taken."""

    def progress(results, done, total):
        for i, result in enumerate(results):
            if i == count:
                raise KeyboardInterrupt
            yield result

    return progress


@pytest.mark.parametrize("save_every", [1, 5, 512])
def test_stopped_after_any_file_it_goes_on_to_the_same_bytes(tmp_path, files, monkeypatch, save_every):
    monkeypatch.setattr(building, "SAVE_EVERY", save_every)
    built(files, tmp_path / "undisturbed")
    begun = []

    def noting(results, done, total):
        begun.append((done, total))
        return results

    for count in range(len(NAMES)):
        store = tmp_path / f"{count}"
        with pytest.raises(KeyboardInterrupt):
            built(files, store, progress=stopping_after(count))
        with pytest.raises(NoData, match="index.json is missing: make it."):
            Store(store, "make it")
        built(files, store, progress=noting)
        assert contents(store) == contents(tmp_path / "undisturbed")
        assert not list(store.glob("*.part"))
    assert begun == [(count, 18) for count in range(18)]


def test_stopped_at_every_file_in_turn(tmp_path, files):
    """Seventeen starts take a file each."""
    built(files, tmp_path / "undisturbed")
    for _ in NAMES[1:]:
        with pytest.raises(KeyboardInterrupt):
            built(files, tmp_path / "store", progress=stopping_after(1))
    built(files, tmp_path / "store")
    assert contents(tmp_path / "store") == contents(tmp_path / "undisturbed")


def killed_at(files: Path, store: Path, moment: int) -> bool:
    """Whether a build in a child process was killed before its operation number ``moment`` on a file."""
    child = os.fork()
    if not child:
        count = 0

        def dying(function):
            def dies(*args, **options):
                nonlocal count
                if count == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1
                return function(*args, **options)

            return dies

        for owner, name in ((os, "replace"), (os, "fsync"), (os, "truncate"), (Path, "unlink"), (Path, "write_text")):
            setattr(owner, name, dying(getattr(owner, name)))
        try:
            built(files, store)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12, where torch has threads
def test_killed_at_any_write_it_goes_on_to_the_same_bytes(tmp_path, files, monkeypatch):
    monkeypatch.setattr(building, "SAVE_EVERY", 6)
    built(files, tmp_path / "undisturbed")
    moment, store, old = 0, tmp_path / "store", tmp_path / "old"
    built(made.folder(tmp_path / "other", NAMES[:5], F=7), old)
    shutil.copytree(old, store)
    while killed_at(files, store, moment):
        try:
            half = Store(store, "")
        except NoData:  # never the index of the one beside the frames of the other
            assert not (store / "index.json").exists()
        else:
            half.check(np.arange(len(half.names)))
        built(files, store)
        assert contents(store) == contents(tmp_path / "undisturbed")
        shutil.rmtree(store)
        shutil.copytree(old, store)
        moment += 1
    assert moment > 12  # what was done is read, six files are saved three times, both files end and get their names


@pytest.fixture
def stopped(tmp_path, files) -> Path:
    """A store whose making was stopped after twelve files."""
    with pytest.raises(KeyboardInterrupt):
        built(files, tmp_path / "store", progress=stopping_after(12))
    return tmp_path / "store"


def test_whatever_is_damaged_in_what_is_done_is_done_again(tmp_path, files, stopped):
    built(files, tmp_path / "undisturbed")
    rng, parts = np.random.default_rng(0), ("index.json.part", "skeletons.f32.part")
    whole = {name: (stopped / name).read_bytes() for name in parts}
    for i in range(60):
        for name in parts:
            (stopped / name).write_bytes(whole[name])
        damaged = bytearray(whole[parts[i % 2]])
        at = int(rng.integers(len(damaged)))
        if i % 3 == 0:
            del damaged[at:]
        else:
            damaged[at] = rng.choice(list(b"0199[]\n\xff")) if i % 3 == 1 else damaged[at] ^ 1
        (stopped / parts[i % 2]).write_bytes(damaged)
        built(files, stopped)
        assert contents(stopped) == contents(tmp_path / "undisturbed"), (i, at)
        (stopped / "index.json").unlink()


@pytest.mark.parametrize("name", ["index.json.part", "skeletons.f32.part"])
def test_half_of_what_is_done_may_be_gone(tmp_path, files, stopped, name):
    built(files, tmp_path / "undisturbed")
    (stopped / name).unlink()
    built(files, stopped)
    assert contents(stopped) == contents(tmp_path / "undisturbed")


def test_what_was_done_of_other_files_or_steps_does_not_count(tmp_path, files, stopped):
    built(files, tmp_path / "undisturbed", steps=["motion"])
    built(files, stopped, steps=["motion"])
    assert contents(stopped) == contents(tmp_path / "undisturbed")


def test_a_complete_store_is_not_made_again(tmp_path, files, monkeypatch):
    first, before = built(files, tmp_path / "store"), contents(tmp_path / "store")
    with monkeypatch.context() as patched:
        patched.setattr(workers, "convert", None)
        assert built(files, tmp_path / "store") == first and contents(tmp_path / "store") == before
    made.folder(files, ["S002C001P001R001A001"])
    assert built(files, tmp_path / "store")["files"] == 19
    assert len(Store(tmp_path / "store", "").names) == 19
    (tmp_path / "store" / "skeletons.f32").write_bytes(b"half")
    built(files, tmp_path / "store")
    Store(tmp_path / "store", "").check(np.arange(19))


def test_of_two_builders_one_is_refused_or_waits(tmp_path, files):
    asked = []

    def progress(results, done, total):
        with pytest.raises(
            UserError, match="store is being made by another process: wait for it, or stop it"
        ) as caught:
            built(files, tmp_path / "store")
        asked.append(caught.value)
        return results

    built(files, tmp_path / "store", progress=progress)
    assert len(asked) == 1


def test_unknown_steps_are_refused(tmp_path, files):
    with pytest.raises(UserError, match="There is no step gohsts, links; there are: link, ghosts, motion"):
        built(files, tmp_path / "store", steps=["gohsts", "motion", "links"])


def test_hidden_files_that_a_mac_packs_beside_the_others_are_none(tmp_path):
    files = made.folder(tmp_path / "raw", NAMES[:2])
    (files / f"._{NAMES[0]}.skeleton").write_bytes(b"")
    packed = zipped(tmp_path / "x.zip", files, **{f"__MACOSX/._{NAMES[1]}.skeleton": b""})
    for path in (files, packed):
        assert source_at(path).names() == [f"{name}.skeleton" for name in NAMES[:2]]
