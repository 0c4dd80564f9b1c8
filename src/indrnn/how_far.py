"""How far the runs of a table are, also within a run, and when they may be over: for a bar, or for a line in a log."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from indrnn import aloud, progress
from indrnn.tables.queue import Speed, budget, work_of

if TYPE_CHECKING:
    from tqdm import tqdm

    from indrnn.tables.plan import Run

SOON = 10.0  # seconds of work before which nothing is estimated
STEADY = 0.01  # of the cheapest run, before which the start of the runs is most of the time that has passed
BAR = "{percentage:3.0f}%|{bar:20}| {desc}"  # its words say the rest
SHOWN = 3  # runs in progress that are named


class HowFar:
    """What is made of some runs, in shares of the time that they take; other runs of a network tell how long that is.

    Args:
        runs: that are launched.
        folder: of their records, and of what they say before they have one.
    """

    def __init__(self, runs: "list[Run]", folder: Path):
        self.runs, self.folder, speed = runs, folder, Speed(folder)
        paces = {run.signature: speed.seconds(run.config) or work_of(run.config) for run in runs}
        self.cost = {run.signature: paces[run.signature] * budget(run.config) for run in runs}
        self.total = sum(self.cost.values())
        self.began, self.at_first, self.spoken = time.monotonic(), None, time.monotonic()
        self.ended: set[str] = set()

    def look(self) -> tuple[float, list[str]]:
        """The share of all that is made, and the runs in progress with their updates, in words."""
        made, running = 0.0, []
        for run in self.runs:
            updates, most = 0, budget(run.config)
            if run.signature in self.ended:
                updates = most  # or as many as it will have: it is not made again now
            elif note := progress.read(self.folder / run.signature):
                updates = note["updates"]
                if note["age"] < progress.ALIVE:
                    running.append(f"{run.name}: {updates:,} of {most:,}")
            made += self.cost[run.signature] * min(updates, most) / most
        return made / self.total if self.total else 1.0, running

    def text(self) -> tuple[float, str]:
        """The share that is made, and a line such as ``3 of 24 runs, 14%, about 5 min left; LSTM, ...: 350 of 500``."""
        share, running = self.look()
        if self.at_first is None:
            self.at_first = share  # of earlier sittings
        passed, made = time.monotonic() - self.began, share - self.at_first
        left = ""
        if passed >= SOON and made >= STEADY * min(self.cost.values()) / self.total:
            left = f", about {aloud.duration(passed / made * (1 - share))} left"
        more = f" and {len(running) - SHOWN} more" if len(running) > SHOWN else ""
        first = "; the first are starting" if not share and not self.ended else ""
        now = f"; {'; '.join(running[:SHOWN])}{more}" if running else first
        return share, f"{len(self.ended)} of {len(self.runs)} runs, {share:.0%}{left}{now}"

    def show(self, bar: "tqdm") -> None:
        """Move the bar; without one print the line, unless something else was printed lately."""
        share, text = self.text()
        if not bar.disable:
            bar.n = share
            bar.set_description_str(text, refresh=False)
            bar.refresh()
        elif time.monotonic() - self.spoken >= aloud.EVERY:
            aloud.say(text)
            self.spoken = time.monotonic()

    def end(self, signature: str) -> None:
        """A run has ended, and a line about it is printed."""
        self.ended.add(signature)
        self.spoken = time.monotonic()
