"""Long work is never silent for long, and short work says one line."""

import re
import time

import pytest

from indrnn import aloud


@pytest.fixture
def quickly(monkeypatch):
    monkeypatch.setattr(aloud, "EVERY", 0.1)
    monkeypatch.setattr(aloud, "_spoken", 0.0)


def test_a_short_step_says_one_line_or_nothing(capsys):
    with aloud.Step("a step"):
        pass
    with aloud.Step("another", first=False):
        pass
    assert capsys.readouterr().err == "a step\n"


def test_a_long_step_says_that_it_goes_on(quickly, capsys):
    with aloud.Step("a step", first=False):
        time.sleep(0.35)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 3 and set(lines) == {"a step: since 0 s"}


def test_a_step_within_another_speaks_for_both(quickly, capsys):
    with aloud.Step("outer", first=False):
        for number in range(6):
            with aloud.Step(f"inner {number}"):
                time.sleep(0.06)
    assert not [line for line in capsys.readouterr().err.splitlines() if line.startswith("outer")]


def test_what_is_counted_says_how_far_it_is_and_what_is_left(quickly, capsys):
    for _ in aloud.counted(range(4), "updates"):
        time.sleep(0.15)
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == "updates" and any(re.fullmatch(r"updates: [123] of 4, about 0 s left", line) for line in lines)
    assert list(aloud.counted("abc", "letters")) == ["a", "b", "c"] and list(aloud.counted([], "nothing")) == []


def test_an_error_ends_the_step(quickly, capsys):
    with pytest.raises(ValueError), aloud.Step("a step", first=False) as step:
        raise ValueError
    assert not step.thread.is_alive()


@pytest.mark.parametrize("seconds, text", [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (9000, "2.5 h")])
def test_durations(seconds, text):
    assert aloud.duration(seconds) == text
