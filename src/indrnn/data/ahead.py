"""Values of a function of 0, 1, 2 ... that another thread makes before they are asked for."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Ahead:
    """``make``, of which another thread makes the values of the next few numbers; they are the same in any order.

    Args:
        make: a function of its number alone. Two threads may call it at once.
        count: values that are made ahead, at most.
    """

    def __init__(self, make: Callable[[int], Any], count: int = 4):
        self.make, self.count = make, count
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self.coming: dict[int, Future] = {}

    def __call__(self, number: int) -> Any:
        """make(number); what it raises is raised here."""
        wanted = self.coming.pop(number, None)
        following = range(number + 1, number + 1 + self.count)
        for other in [n for n in self.coming if n not in following]:  # after a leap
            self.coming.pop(other).cancel()
        for other in following:
            if other not in self.coming:
                self.coming[other] = self.pool.submit(self.make, other)
        if wanted is None or wanted.cancel():  # not begun: the thread is late, and it takes longest to wait for it
            return self.make(number)
        return wanted.result()

    def close(self) -> None:
        """End the thread. Who forgets it waits for it at the end of the process, at most for ``count`` values."""
        self.pool.shutdown(cancel_futures=True)
