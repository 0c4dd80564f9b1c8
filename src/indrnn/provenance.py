"""Which code ran, and with which packages."""

import hashlib
import os
import platform
import subprocess
from importlib import metadata
from typing import Any

from indrnn import files

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "numpy", "numba")
SUFFIXES = (".py", ".yaml", ".txt")  # of what decides numbers; not byte code, nor backups such as layer.py~


def code() -> dict[str, Any]:
    """commit, source, dirty, versions: which code runs.

    ``INDRNN_COMMIT`` names the commit where there is no .git (it then counts as clean only if ``source`` agrees
    with that commit, which a reader can check: source is a hash of src/ and conf/ alone).
    """
    commit, changed = os.environ.get("INDRNN_COMMIT"), ""
    if (files.ROOT / ".git").exists():
        commit = _git("rev-parse", "HEAD") or commit
        changed = _git("status", "--porcelain", "--", "src", "conf")
    versions = {name: metadata.version(name) for name in PACKAGES if _installed(name)}
    return {
        "commit": commit or "unknown",
        "source": source(),
        "dirty": bool(changed) or not commit,
        "versions": {"python": platform.python_version(), **versions},
    }


def source() -> str:
    """First 12 hex digits of sha256 over names and bytes of all files in src/ and conf/ that decide numbers."""
    digest = hashlib.sha256()
    for top in ("src", "conf"):
        for path in sorted((files.ROOT / top).rglob("*")):
            name = path.relative_to(files.ROOT)
            hidden = any(part.startswith(".") for part in name.parts)  # an editor's lock file is called .#layer.py
            if path.suffix in SUFFIXES and not hidden:
                digest.update(name.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def words(about: dict[str, Any]) -> str:
    """commit, source and dirty of a record or a report, as they stand in a provenance line."""
    return f"{about['commit']} (source {about['source']}{', uncommitted changes' * about['dirty']})"


def _installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(files.ROOT), *words],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError:  # a machine without git, or with one that does not start
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
