"""Set-up, without a network: the lists of packages agree; scripts/setup.py decides and refuses; the Makefile."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
HERE = "{}.{}".format(*sys.version_info)
MAKE = shutil.which("make") or pytest.skip("make is not installed", allow_module_level=True)
TARGETS = ["setup", "test", "test-slow", "house", "lint", "data", "plan", "reproduce-table", "why", "runs", "compare"]
TARGETS += ["report"]
TARGETS += ["publish", "milestones", "tables", "verify", "adding", "mnist", "pmnist", "depth", "sensitivity"]
TARGETS += ["ablations", "ptb-char", "ptb-word", "ntu"]
TARGETS += ["bench", "gradients", "start-of-u", "figures", "smoke", "clean", "lock", "dashboard", "wandb-sync"]


# The lists of packages


def pins(requirements):
    """{'name': 'version'} of lines like name==version."""
    return dict(line.split("==") for line in requirements)


def project(*extras):
    """{'name': which versions will do} of what the lock is compiled from."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    optional = [line for extra in extras for line in content["project"]["optional-dependencies"][extra]]
    lines = map(Requirement, content["project"]["dependencies"] + content["dependency-groups"]["dev"] + optional)
    return {line.name: line.specifier for line in lines}


LOCKS = {"requirements.lock": ("pipeline",)}
LOCKS |= {f"requirements-{extra}.lock": ("pipeline", extra) for extra in ("cluster", "sweep")}
each_lock = pytest.mark.parametrize("lock", LOCKS)


def lock_text(lock="requirements.lock"):
    return (ROOT / lock).read_text()


def locked(lock):
    """[(name, version, marker or '', [hash, ...])] of a lock."""
    packages = re.findall(r"^([\w.-]+)==([^\s;]+)(?: ; (.*?))?(?: \\)?\n((?:    .*\n)*)", lock_text(lock), re.MULTILINE)
    return [(name, version, marker, re.findall(r"--hash=(\S+)", rest)) for name, version, marker, rest in packages]


@each_lock
def test_every_package_of_the_project_is_locked_once_without_a_marker_and_in_its_range(lock):
    versions = {name: version for name, version, marker, _ in locked(lock) if not marker}
    for name, will_do in project(*LOCKS[lock]).items():
        assert versions[name] in will_do, name


def test_the_layer_alone_asks_for_torch_and_numpy_in_any_recent_version():
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [Requirement(line).name for line in content["dependencies"]] == ["torch", "numpy"]
    assert not any("==" in line for line in content["dependencies"])


@each_lock
def test_every_locked_package_has_a_hash(lock):
    assert len(locked(lock)) == len(re.findall(r"^\w", lock_text(lock), re.MULTILINE)) > 50
    for name, _, _, hashes in locked(lock):
        assert hashes, name
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", value) for value in hashes), name


@each_lock
def test_the_lock_holds_no_address_and_no_option(lock):
    assert "://" not in lock_text(lock)
    assert not re.search(r"^\s*-(?!-hash=)", lock_text(lock), re.MULTILINE)


def test_extras_add_packages_and_change_none():
    common, *extras = ({str(package) for package in locked(lock)} for lock in LOCKS)
    assert all(common < more for more in extras)


def test_extras_go_together():
    """uv takes several locks at once where no package stands there in two versions."""
    versions = {}
    for lock in LOCKS:
        for name, version, marker, _ in locked(lock):
            assert versions.setdefault((name, marker), version) == version, name


def test_environment_yml_has_the_packages_of_the_project_as_the_lock_has_them():
    *base, pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    *requirements, package = pip["pip"]
    assert base == ["python=3.11", "pip"]
    assert package == "-e ."
    versions = {name: version for name, version, _, _ in locked("requirements.lock")}
    assert pins(requirements) == {name: versions[name] for name in project("pipeline")}


# scripts/setup.py


@pytest.fixture
def setup():
    spec = importlib.util.spec_from_file_location("set_up", ROOT / "scripts/setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path, setup, monkeypatch):
    """A tree with a complete .venv, for which installing means to do nothing."""
    copy_lists(tmp_path)
    monkeypatch.setattr(setup, "make_venv", lambda root, lock: fake_venv(root))
    monkeypatch.setattr(setup, "install", lambda root, extras, lock: None)
    fake_venv(tmp_path)
    assert setup.main([], tmp_path) == 0
    return tmp_path


def copy_lists(root):
    for name in (*LOCKS, "pyproject.toml"):
        shutil.copy(ROOT / name, root)


def fake_venv(root, version=HERE):
    (root / ".venv/bin").mkdir(parents=True, exist_ok=True)
    write_program(root / ".venv/bin/python", f"echo {version}")


def write_program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def decide(setup, root, pythons=("3.11", "3.12"), extras=()):
    return setup.decide(root, pythons, extras)[0]


def refusal(setup, capsys, root, *arguments):
    """The one line that main leaves on stderr when it refuses."""
    capsys.readouterr()
    code = setup.main(list(arguments), root)
    err = capsys.readouterr().err
    assert code == 1
    assert re.fullmatch("set-up: .+\n", err), err
    return err


def test_nothing_to_do_says_so_or_stays_quiet(setup, tree, capsys):
    capsys.readouterr()
    assert setup.main([], tree) == 0
    assert capsys.readouterr().out == f"set-up: .venv is complete, Python {HERE}\n"
    assert setup.main(["--quiet"], tree) == 0
    assert capsys.readouterr().out == ""


def test_without_a_venv_one_is_made(setup, tmp_path):
    assert decide(setup, tmp_path) == "make"


def test_a_half_done_set_up_is_made_anew(setup, tree):
    assert decide(setup, tree) == "nothing"
    (tree / ".venv/set-up").write_text("")
    assert decide(setup, tree) == "make"
    (tree / ".venv/set-up").unlink()
    assert decide(setup, tree) == "make"


def test_a_set_up_killed_between_two_programs_leaves_an_empty_stamp(setup, tree, monkeypatch):
    def killed(root, extras, lock):
        raise SystemExit(137)

    (tree / "requirements.lock").write_text(lock_text() + "# changed\n")
    with monkeypatch.context() as patch:
        patch.setattr(setup, "install", killed)
        with pytest.raises(SystemExit):
            setup.main([], tree)
    assert decide(setup, tree) == "make"
    assert setup.main([], tree) == 0
    assert decide(setup, tree) == "nothing"


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_lock_or_project_updates(setup, tree, name):
    (tree / name).write_text((tree / name).read_text() + "# changed\n")
    assert decide(setup, tree) == "update"
    assert setup.main([], tree) == 0
    assert decide(setup, tree) == "nothing"


def test_other_extras_update(setup, tree):
    assert decide(setup, tree, extras=["cluster"]) == "update"


def test_extras_stay_until_another_choice_is_made(setup, tree, monkeypatch, capsys):
    installed = []
    monkeypatch.setattr(setup, "install", lambda root, extras, lock: installed.append(extras))
    assert setup.main(["--extras", "cluster"], tree) == 0
    assert setup.main([], tree) == 0
    assert installed == [["cluster"]]
    assert capsys.readouterr().out.endswith(f"set-up: .venv is complete, Python {HERE} with cluster\n")
    assert setup.main(["--extras", "none"], tree) == 0
    assert setup.main([], tree) == 0
    assert installed == [["cluster"], []]


def test_extras_stay_when_the_venv_is_made_anew_and_go_with_its_folder(setup, tmp_path, monkeypatch):
    installed = []
    copy_lists(tmp_path)
    monkeypatch.setattr(setup, "install", lambda root, extras, lock: installed.append(extras))
    monkeypatch.setattr(setup, "run", lambda command, root, lock: fake_venv(tmp_path))
    assert setup.main(["--extras", "cluster"], tmp_path) == 0
    (tmp_path / ".venv/set-up").write_text("")
    assert setup.main([], tmp_path) == 0
    shutil.rmtree(tmp_path / ".venv")
    assert setup.main([], tmp_path) == 0
    assert installed == [["cluster"], ["cluster"], []]


def test_a_changed_lock_of_an_extra_updates_only_those_who_have_it(setup, tree):
    (tree / "requirements-cluster.lock").write_text(lock_text() + "# changed\n")
    assert decide(setup, tree) == "nothing"
    assert setup.main(["--extras", "cluster"], tree) == 0
    (tree / "requirements-cluster.lock").write_text(lock_text())
    assert decide(setup, tree, extras=["cluster"]) == "update"


def test_a_moved_tree_is_made_anew(setup, tree):
    moved = tree.rename(tree.with_name("moved"))
    assert decide(setup, moved) == "make"


def test_a_venv_whose_python_does_not_run_is_made_anew(setup, tree):
    write_program(tree / ".venv/bin/python", "exit 127")
    assert decide(setup, tree) == "make"
    (tree / ".venv/bin/python").unlink()
    assert decide(setup, tree) == "make"


def test_another_python_is_kept_if_it_will_do_and_none_was_asked_for(setup, tree):
    other = {"3.11": "3.12", "3.12": "3.11"}[HERE]
    fake_venv(tree, other)
    (tree / ".venv/set-up").write_text(f"{other} {tree}\nanother lock")
    assert setup.main([], tree) == 0
    assert setup.python_of(tree) == other
    assert setup.main(["--this-python"], tree) == 0
    assert setup.python_of(tree) == HERE
    fake_venv(tree, "3.10")
    assert decide(setup, tree) == "make"


def test_a_second_set_up_waits_for_the_first_and_then_has_nothing_to_do(setup, tree, capsys):
    (tree / "requirements.lock").write_text(lock_text() + "# changed\n")
    with setup.one_at_a_time(tree / ".venv"):
        command = [sys.executable, "-c", SECOND.format(setup=ROOT / "scripts/setup.py", tree=tree)]
        second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert "waiting" in second.stdout.readline()
        inputs = setup.inputs(tree, ())
        (tree / ".venv/set-up").write_text(f"{HERE} {tree}\n{inputs}")
    out, _ = second.communicate(timeout=20)
    assert (second.returncode, out) == (0, f"set-up: .venv is complete, Python {HERE}\n")


SECOND = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("set_up", "{setup}")
setup = importlib.util.module_from_spec(spec)
spec.loader.exec_module(setup)
sys.exit(setup.main([], pathlib.Path("{tree}")))
"""


def test_the_bootstrap_is_the_hashed_blocks_of_the_lock(setup):
    text = setup.blocks(lock_text(), setup.BOOTSTRAP)
    assert sorted(re.findall(r"^([\w-]+)==", text, re.MULTILINE)) == ["setuptools", "uv"]
    assert f"uv{project()['uv']} \\\n    --hash=sha256:" in text
    assert text.endswith("\n")


def test_byte_code_of_the_packages_is_kept_whatever_the_environment_says(setup, tmp_path, monkeypatch):
    """Images of Python often set PYTHONDONTWRITEBYTECODE; every start of a run would compile torch again."""
    copy_lists(tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / "heavy.py").touch()
    commands = []
    monkeypatch.setattr(setup, "run", lambda command, root, lock: commands.append(command))
    monkeypatch.setattr(setup, "IMPORTS", "heavy")
    setup.install(tmp_path, [], None)
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, *commands[-1][1:]], env=env, check=True)
    assert list((tmp_path / "__pycache__").glob("heavy.*.pyc"))


def test_wrong_python_is_refused(setup, tree, capsys, monkeypatch):
    monkeypatch.setattr(setup, "HERE", "3.9")
    assert "is cpython 3.9, but CPython 3.11 or 3.12 is needed" in refusal(setup, capsys, tree)


def test_another_interpreter_is_refused(setup, tree, capsys, monkeypatch):
    monkeypatch.setattr(setup.sys.implementation, "name", "pypy")
    assert f"is pypy {HERE}" in refusal(setup, capsys, tree)


def test_another_platform_is_refused(setup, tree, capsys, monkeypatch):
    monkeypatch.setattr(setup, "MACHINE", "Windows AMD64")
    assert "and this is Windows AMD64" in refusal(setup, capsys, tree)


def test_an_unknown_extra_is_refused(setup, tree, capsys):
    told = refusal(setup, capsys, tree, "--extras", "nonsense")
    assert "no extra 'nonsense': choose from EXTRAS=cluster, sweep, none" in told
    assert setup.main([], tree) == 0  # and it is not remembered


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_a_missing_venv_module_is_refused_and_the_present_venv_kept(setup, tmp_path, capsys, monkeypatch, missing):
    copy_lists(tmp_path)
    fake_venv(tmp_path, "3.10")
    find = importlib.util.find_spec
    monkeypatch.setattr(setup.importlib.util, "find_spec", lambda name: None if name == missing else find(name))
    assert f"apt-get install python{HERE}-venv" in refusal(setup, capsys, tmp_path)
    assert (tmp_path / ".venv/bin/python").exists()


def test_too_little_space_is_refused(setup, tmp_path, capsys, monkeypatch):
    copy_lists(tmp_path)
    monkeypatch.setattr(setup, "SPACE", {setup.MACHINE: 10**9})
    assert "GB are free and .venv needs about 1000000000 GB" in refusal(setup, capsys, tmp_path)


def test_a_file_in_the_way_is_refused(setup, tmp_path, capsys):
    (tmp_path / ".venv").write_text("a file where a folder should be")
    assert "File exists" in refusal(setup, capsys, tmp_path)


@pytest.fixture
def linked(tree):
    """A tree whose .venv is a link to a folder elsewhere, which the complete set-up was moved to."""
    (tree / ".venv").rename(tree / "elsewhere")
    (tree / ".venv").symlink_to(tree / "elsewhere")
    return tree


def contents(folder):
    return {path.relative_to(folder): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def test_a_link_to_a_complete_set_up_of_this_folder_will_do(setup, linked, capsys):
    capsys.readouterr()
    assert setup.main([], linked) == 0
    assert capsys.readouterr().out == f"set-up: .venv is complete, Python {HERE}\n"


def test_a_link_to_another_checkouts_venv_is_refused_and_what_is_behind_it_stays(setup, linked, capsys):
    """The set-up of a second checkout once emptied the first one's .venv through such a link."""
    second = linked / "second"
    second.mkdir()
    copy_lists(second)
    (second / ".venv").symlink_to(linked / "elsewhere")
    before = contents(linked / "elsewhere")
    told = refusal(setup, capsys, second)
    assert f"{second}/.venv is a link to {linked}/elsewhere (the present one was made for another folder" in told
    assert f"as in rm {second}/.venv, then run the same command again" in told
    assert contents(linked / "elsewhere") == before and Path("bin/python") in before
    (second / ".venv").unlink()  # as told
    assert setup.main([], second) == 0 and not (second / ".venv").is_symlink()


def test_an_update_behind_a_link_is_refused(setup, linked, capsys):
    before = contents(linked / "elsewhere")
    assert "(its packages are not those of" in refusal(setup, capsys, linked, "--extras", "cluster")
    (linked / "requirements.lock").write_text(lock_text() + "# changed\n")
    assert "(its packages are not those of requirements.lock and" in refusal(setup, capsys, linked)
    assert contents(linked / "elsewhere") == before


def test_a_half_done_set_up_behind_a_link_is_refused_and_kept(setup, linked, capsys):
    (linked / "elsewhere/set-up").write_text("")
    before = contents(linked / "elsewhere")
    assert "(the present one is half done)" in refusal(setup, capsys, linked)
    assert contents(linked / "elsewhere") == before


def test_a_link_to_nowhere_is_refused(setup, tree, capsys):
    shutil.rmtree(tree / ".venv")
    (tree / ".venv").symlink_to("gone")
    assert "is a link to gone (there is none that runs)" in refusal(setup, capsys, tree)
    assert not (tree / "gone").exists()


FULL = "error: Failed to install: torch.whl (torch==2.13.0)\n  cause: No space left on device (os error 28)"
AWAY = "error: Request failed after 3 retries\n  cause: Failed to fetch: address\n  cause: dns error"
HASH = "error: Failed to download `tqdm==1.0`\n  cause: Hash mismatch for `tqdm==1.0`\n  Computed:\n  sha256:00"
PIP = "WARNING: Retrying\nERROR: Could not find a version\nERROR: No matching distribution found for uv==1.0"


@pytest.mark.parametrize(
    ("said", "sentence", "next_time"),
    [
        (FULL, "is full: free some space", "make"),
        ("OSError: [Errno 122] Disk quota exceeded", "is full: free some space", "make"),
        (AWAY, "cannot be reached or lacks a package (Failed to fetch: address: dns error)", "update"),
        (PIP, "cannot be reached or lacks a package (No matching distribution found for uv==1.0)", "update"),
        (
            HASH,
            "has not the checksum of requirements.lock (Hash mismatch for `tqdm==1.0`: sha256:00)",
            "make",
        ),
        ("RuntimeError: operator torchvision::nms does not exist", "failed: RuntimeError: operator", "make"),
        ("", "failed: no output", "make"),
    ],
)
def test_a_failing_program_becomes_one_sentence(setup, tree, capsys, monkeypatch, said, sentence, next_time):
    write_program(tree / "fails", f"cat <<'EOF' >&2\n{said}\nEOF\nexit 2")
    monkeypatch.setattr(setup, "install", lambda root, extras, lock: setup.run([root / "fails", "a", "b"], root, lock))
    (tree / "requirements.lock").write_text(lock_text() + "# changed\n")
    assert sentence in refusal(setup, capsys, tree)
    assert decide(setup, tree) == next_time


def test_stopping_by_hand_is_one_sentence(setup, tree, capsys, monkeypatch):
    def stopped(root, extras, lock):
        raise KeyboardInterrupt

    monkeypatch.setattr(setup, "install", stopped)
    (tree / ".venv/set-up").unlink()
    assert "stopped; run the same command again" in refusal(setup, capsys, tree)


# Makefile


def make(*arguments, **variables):
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run([MAKE, *arguments], cwd=ROOT, env=env | variables, capture_output=True, text=True)


def test_make_alone_lists_every_target():
    listed = re.findall(r"^  ([a-z-]+) +\S", make().stdout, re.MULTILINE)
    assert listed == TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_known_to_make(target):
    assert make("--dry-run", target).returncode == 0


def test_raw_files_of_ntu_reach_the_command():
    words = make("--dry-run", "data", "NTU=/some where/raw.zip", "JOBS=3", "WITHOUT=ghosts link").stdout.splitlines()[
        -1
    ]
    assert words.endswith("get_data.py --ntu '/some where/raw.zip' --jobs '3' --without ghosts link")
    assert make("--dry-run", "data").stdout.splitlines()[-1].strip().endswith("get_data.py")


@pytest.mark.parametrize("runs", ["", "1"])
def test_clean_never_touches_what_is_published_or_fetched(runs):
    commands = make("--dry-run", "clean", f"RUNS={runs}").stdout
    assert not re.search("results|data|venv", commands)
    assert ("rm -rf runs\n" in commands) == (runs == "1")


def test_without_a_python_that_runs_make_says_so(tmp_path):
    write_program(tmp_path / "broken", "exit 127")
    done = make("setup", f"PYTHON={tmp_path / 'broken'}")
    assert done.returncode != 0
    assert done.stderr.startswith("set-up: no Python 3.11 or 3.12 that runs (tried: ")


def test_the_extras_of_setup_reach_it_and_those_of_other_targets_are_what_they_were():
    assert "--extras 'cluster,sweep'" in make("--dry-run", "test-slow").stdout
    assert "--extras ''" in make("--dry-run", "test").stdout


def test_the_variables_reach_the_command():
    done = make("--dry-run", "reproduce-table", "SEEDS=0,1", "TABLE=table2", "JOBS=3", "MACHINE=gpu", PROFILE="fast")
    words = " --profile 'fast' --launcher 'joblib' --jobs '3' --seeds '0,1' --table 'table2' machine=gpu\n"
    assert done.stdout.endswith(words)
    done = make("--dry-run", "reproduce-table", "JOBS=9", "MINUTES=8", PROFILE="fast")
    assert done.stdout.split()[-8:] == "--profile 'fast' --launcher 'joblib' --jobs '9' --minutes '8'".split()


@pytest.mark.parametrize("folder", ["", "some where"])
def test_wandb_sync_says_what_goes_where_the_listener_wrote(tmp_path, folder):
    """In a folder of its own: what make would run but for the set-up, with another program in the place of W&B's."""
    recipe = make("--dry-run", "wandb-sync", "WANDB_SYNC=echo sent").stdout.partition("place=")
    env = os.environ | ({"WANDB_DIR": folder} if folder else {})
    env = {name: value for name, value in env.items() if folder or name != "WANDB_DIR"}

    def sync():
        command = ["sh", "-c", "".join(recipe[1:])]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout

    place = f"{folder or 'runs'}/wandb"
    assert sync() == f"wandb-sync: no offline runs under {place}\n"
    (tmp_path / place / "offline-run-1").mkdir(parents=True)
    said, sent = sync().splitlines()
    assert "1 runs are uploaded" in said and "host name and paths" in said and "weights" in said
    assert sent == f"sent {place}/offline-run-1"
