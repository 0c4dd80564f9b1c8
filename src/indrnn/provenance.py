"""Which code ran, and with which packages."""

import contextlib
import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from indrnn import files

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "numpy", "numba")
# Of what decides numbers, what Python loads and Hydra composes; not byte code beside its source (of that, Python checks
# that it fits), nor what editors leave, such as layer.py~.
SUFFIXES = (".py", ".yaml", ".txt", ".so", ".pyd", ".j2", ".css", ".js")
TOPS = ("src", "conf")
GIT = ("git", "--no-replace-objects", "-C")


def code() -> dict[str, Any]:
    """commit, source, dirty, versions: which code runs.

    ``INDRNN_COMMIT`` names the commit where there is no .git (it then counts as clean only if ``source`` agrees
    with that commit, which a reader can check: source is a hash of src/ and conf/ alone).
    """
    commit, clean = os.environ.get("INDRNN_COMMIT"), True
    if (files.ROOT / ".git").exists():
        commit, clean = _git("rev-parse", "HEAD").decode().strip() or commit, is_committed()
    versions = {name: metadata.version(name) for name in PACKAGES if _installed(name)}
    return {
        "commit": commit or "unknown",
        "source": source(),
        "dirty": not (commit and clean),
        "versions": {"python": platform.python_version(), **versions},
    }


def source() -> str:
    """First 12 hex digits of sha256 over names and bytes of all files in src/ and conf/ that decide numbers."""
    digest = hashlib.sha256()
    for name, path in deciding().items():
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def deciding() -> dict[str, Path]:
    """The files in src/ and conf/ that decide numbers by their names from the root, in order; links are followed."""
    found: list[Path] = []
    for top in TOPS:
        here = []
        for folder, folders, names in os.walk(files.ROOT / top, followlinks=True):
            folders[:] = (name for name in folders if not name.startswith(".") and name != "__pycache__")
            here += (Path(folder, name) for name in names if not name.startswith("."))  # an editor locks .#layer.py
        found += sorted(path for path in here if path.suffix in SUFFIXES and path.is_file())
    return {path.relative_to(files.ROOT).as_posix(): path for path in found}


def is_committed() -> bool:
    """Whether src/ and conf/ are what the tree of HEAD says, byte by byte; False where git does not say.

    The hashes of that tree are compared with the files. Git's own word would be that of its index, which can be told to
    assume a file unchanged.
    """
    kept = {}
    for entry in filter(None, _git("ls-tree", "-r", "-z", "--full-tree", "HEAD", "--", *TOPS).split(b"\0")):
        about, _, name = entry.partition(b"\t")
        kept[os.fsdecode(name)] = about.split()
    if not kept or deciding().keys() - kept.keys():
        return False
    return all(blob(files.ROOT / name, mode, len(digest)) == digest for name, (mode, _, digest) in kept.items())


def blob(path: Path, mode: bytes, digits: int) -> bytes | None:
    """What git calls the content of a file, of so many digits; None where there is no such file."""
    try:
        content = os.fsencode(os.readlink(path)) if mode == b"120000" else path.read_bytes()
    except OSError:
        return None
    kind = hashlib.sha1 if digits == 40 else hashlib.sha256
    return kind(b"blob %d\0" % len(content) + content).hexdigest().encode()


def cpu() -> str:
    """The processor that this machine has and its number of cores, in words."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()} ({os.cpu_count()} cores)"
    return f"{platform.processor() or platform.machine()} ({os.cpu_count()} cores)"


def words(about: dict[str, Any]) -> str:
    """commit, source and dirty of a record or a report, as they stand in a provenance line."""
    return f"{about['commit']} (source {about['source']}{', uncommitted changes' * about['dirty']})"


def _installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def _git(*words: str) -> bytes:
    """What git prints about this repository, whatever GIT_* says of others; nothing where it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run([*GIT, str(files.ROOT), *words], capture_output=True, check=False, env=environment)
    except OSError:  # a machine without git, or with one that does not start
        return b""
    return done.stdout if done.returncode == 0 else b""
