"""Long work says on stderr what it is at: a line when a step begins, and one every 15 seconds while it goes on."""

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

EVERY = 15.0  # seconds that are silent, at most
_spoken = 0.0  # when any step said something last: a step within another speaks for both


class Step:
    """``with Step("seed 0"): ...`` says that it begins and, where it takes long, that it goes on.

    Args:
        what: it is, in a few words.
        first: say so at once; else only if it is not over in time.

    Attributes:
        done, total: how far it is, where somebody counts; then the time that is left is estimated, too.
    """

    def __init__(self, what: str, first: bool = True):
        self.what, self.first = what, first
        self.done, self.total = 0, 0
        self.over = threading.Event()

    def __enter__(self) -> "Step":
        self.began = time.monotonic()
        if self.first:
            say(self.what)
        self.thread = threading.Thread(target=self._go_on, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.over.set()
        self.thread.join()

    def _go_on(self) -> None:
        while not self.over.wait(max(0.01, self.due() - time.monotonic())):
            if time.monotonic() >= self.due():
                say(self.text())

    def due(self) -> float:
        """When to speak, if nobody has by then: a time of time.monotonic()."""
        return max(self.began, _spoken) + EVERY

    def text(self) -> str:
        seconds = time.monotonic() - self.began
        if not self.done:
            return f"{self.what}: since {duration(seconds)}"
        left = seconds / self.done * (self.total - self.done)
        return f"{self.what}: {self.done:,} of {self.total:,}, about {duration(left)} left"


def counted(items: Sequence[Any], what: str) -> Iterator[Any]:
    """The items one by one; says what begins, and how far it is."""
    with Step(what) as step:
        step.total = len(items)
        for step.done, item in enumerate(items):
            yield item


def say(text: str) -> None:
    global _spoken
    _spoken = time.monotonic()
    print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Such as ``40 s``, ``5 min``, ``3.2 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
