"""What a user can do wrong, said in one sentence."""

import io
import math
import os
import sys
from collections.abc import Callable


class UserError(ValueError):
    """A mistake that its user can mend; the message says what, where, and what to do."""


class NoData(UserError):
    """A file that has to be brought to the data folder is not there."""


class OutOfMemory(UserError):
    """A run needs more memory than there is."""


def positive(**sizes: int) -> None:
    """Raise UserError unless every named size is a whole number of at least 1.

    Example: ``positive(hidden_size=hidden_size)`` names ``hidden_size`` and its value in the message.
    """
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{name} must be a whole number of at least 1, not {value!r}.")


def at_least(low: float, **values: float) -> None:
    """Raise UserError unless every named value is a number of at least ``low``; an infinite one is none."""
    for name, value in values.items():
        if not low <= value < math.inf:
            raise UserError(f"{name} must be at least {low}, not {value!r}.")


def above(low: float, **values: float) -> None:
    """Raise UserError unless every named value is a number above ``low``; an infinite one is none."""
    for name, value in values.items():
        if not low < value < math.inf:
            raise UserError(f"{name} must be above {low}, not {value!r}.")


def in_one_line(error: Exception) -> str:
    """What OmegaConf or yaml says, without OmegaConf's lines of detail; yaml says in which line of the file it is."""
    return " ".join(str(error).partition("\n    full_key:")[0].split()).rstrip(".")


def speak_utf8() -> None:
    """Let this process print every character, whatever the locale: into pipes and files as UTF-8.

    A terminal, and whoever sets PYTHONIOENCODING, gets the encoding asked for, and ? for what that does not have.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            asked = stream.isatty() or "PYTHONIOENCODING" in os.environ
            stream.reconfigure(encoding=None if asked else "utf-8", errors="replace")


def exit_code(work: Callable[[], str | int | None], goes_on: bool = False) -> int:
    """Do a command's work: print the text that it returns, or in one sentence what went wrong; give the exit code.

    Args:
        work: returns a text, nothing, or an exit code.
        goes_on: the same command goes on after Ctrl-C, which is then a sentence and 130, too.
    """
    speak_utf8()
    try:
        done = work()
        if isinstance(done, str):
            print(done)
    except (UserError, OSError) as error:  # OSError: a folder that cannot be written, a full disk
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if not goes_on:
            raise
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    return done if isinstance(done, int) else 0
