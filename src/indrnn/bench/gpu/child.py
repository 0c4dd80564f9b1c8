"""Another process that measures: it can be ended, and what it needs from this card is given back."""

import subprocess
import sys
import time

import torch

from indrnn import files
from indrnn.errors import UserError


def child(words: list[str], until: float) -> str:
    """What ``python -m`` with these words prints; it is ended at ``until``, of time.monotonic().

    Raises:
        UserError: it was ended, or failed: its last line says why.
    """
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    seconds = max(1.0, until - time.monotonic())
    command = [sys.executable, "-m", *words]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=seconds, cwd=files.ROOT
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"not done within {seconds:.0f} s") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
        raise UserError(f"{words[0]} failed: {said[-1]}")
    return done.stdout
