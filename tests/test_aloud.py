"""Long work is never silent for long, and short work says one line."""

import re
import time

import pytest

from indrnn import aloud


@pytest.fixture
def quickly(monkeypatch):
    """Little time may be silent; the fixture's value waits, however busy the machine is, until something is said."""
    monkeypatch.setattr(aloud, "EVERY", 0.05)
    monkeypatch.setattr(aloud, "_spoken", 0.0)
    said, say = [], aloud.say
    monkeypatch.setattr(aloud, "say", lambda text: said.append(text) or say(text))

    def wait(pattern: str, times: int = 1) -> bool:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if sum(bool(re.fullmatch(pattern, text)) for text in said) >= times:
                return True
            time.sleep(0.01)
        return False

    return wait


def test_a_short_step_says_one_line_or_nothing(capsys):
    with aloud.Step("a step"):
        pass
    with aloud.Step("another", first=False):
        pass
    assert capsys.readouterr().err == "a step\n"


def test_a_long_step_says_that_it_goes_on(quickly, capsys):
    with aloud.Step("a step", first=False):
        assert quickly(r"a step: since \d+ s", times=2)
    assert capsys.readouterr().err.startswith("a step: since ")


def test_a_step_within_another_speaks_for_both(monkeypatch, capsys):
    with aloud.Step("outer", first=False) as outer:
        assert outer.due() == pytest.approx(max(outer.began, aloud._spoken) + aloud.EVERY)
        with aloud.Step("inner") as inner:
            assert outer.due() == inner.due() == aloud._spoken + aloud.EVERY
    assert capsys.readouterr().err == "inner\n"


def test_what_is_counted_says_how_far_it_is_and_what_is_left(quickly):
    for number in aloud.counted(range(3), "updates"):
        assert quickly(rf"updates: {number} of 3, about \d+ s left" if number else "updates")
    assert list(aloud.counted("abc", "letters")) == ["a", "b", "c"] and list(aloud.counted([], "nothing")) == []


def test_an_error_ends_the_step(quickly, capsys):
    with pytest.raises(ValueError), aloud.Step("a step", first=False) as step:
        raise ValueError
    assert not step.thread.is_alive()


@pytest.mark.parametrize("seconds, text", [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (9000, "2.5 h")])
def test_durations(seconds, text):
    assert aloud.duration(seconds) == text
