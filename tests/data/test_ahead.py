"""Values made before they are asked for: the same, by another thread, which ends by itself."""

import concurrent.futures
import random
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from indrnn.data.ahead import Ahead


def drawn(number: int) -> float:
    return np.random.default_rng([5, number]).random(100).sum()


@pytest.fixture
def ahead_of():
    """ahead_of(make, ...) -> Ahead, closed after the test."""
    made = []

    def build(*arguments) -> Ahead:
        made.append(Ahead(*arguments))
        return made[-1]

    yield build
    for ahead in made:
        ahead.close()


@pytest.mark.parametrize("pause", [0, 0.001], ids=["asked at once", "asked later"])
def test_values_are_those_of_the_function_in_whatever_order(ahead_of, pause):
    forwards = list(range(60))
    jumps = random.Random(0).sample(forwards, 60)
    ahead = ahead_of(drawn, 4)
    for number in [*forwards, *forwards[::-1], *jumps, *([7] * 5)]:
        assert ahead(number) == drawn(number)
        time.sleep(pause)


def test_another_thread_makes_the_next_few_and_each_once(ahead_of):
    makers: dict[int, list[str]] = {}

    def make(number: int) -> int:
        makers.setdefault(number, []).append(threading.current_thread().name)
        return number

    ahead = ahead_of(make, 6)
    for number in range(40):
        ahead(number)
        assert sorted(ahead.coming) == list(range(number + 1, number + 7))
        concurrent.futures.wait(ahead.coming.values(), 10)
    assert makers.pop(0) == [threading.current_thread().name]
    assert all(names == ["ahead_0"] for names in makers.values()) and max(makers) == 45
    ahead(1000)  # as after a checkpoint that is far on
    assert sorted(ahead.coming) == list(range(1001, 1007))


def test_what_a_late_thread_has_not_begun_is_not_waited_for(ahead_of):
    may_go = threading.Event()

    def make(number: int) -> int:
        if threading.current_thread().name.startswith("ahead") and number == 1:
            may_go.wait(10)
        return number

    ahead = ahead_of(make)
    assert ahead(0) == 0
    began = time.monotonic()
    assert [ahead(number) for number in range(2, 20)] == list(range(2, 20))
    assert time.monotonic() - began < 5
    may_go.set()


def test_an_error_is_raised_where_the_value_is_asked_for(ahead_of):
    def make(number: int) -> int:
        if number == 3:
            raise ValueError("no 3")
        return number

    ahead = ahead_of(make)
    for number in (0, 1, 2, 4):
        assert ahead(number) == number
        concurrent.futures.wait(ahead.coming.values(), 10)
    ahead(2)
    with pytest.raises(ValueError, match="no 3"):
        ahead(3)


def test_a_closed_one_has_no_thread(ahead_of):
    before = threading.active_count()
    ahead = ahead_of(lambda number: time.sleep(0.01) or number)
    ahead(0)
    assert threading.active_count() == before + 1
    ahead.close()
    assert threading.active_count() == before


def test_a_process_ends_with_one_that_was_not_closed():
    code = "import time; from indrnn.data.ahead import Ahead; Ahead(lambda n: time.sleep(0.05) or n)(0); exit(3)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 3
