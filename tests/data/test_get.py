"""What ``make data`` does without a network: a data set that cannot be fetched does not keep the next one."""

import pytest

from indrnn.data import corpus, get, mnist
from indrnn.errors import UserError


@pytest.mark.parametrize("error", [UserError("no mirror"), OSError("no mirror")])
def test_what_fails_is_said_and_the_next_one_is_fetched(monkeypatch, capsys, error):
    def fails():
        raise error

    fetched = []
    monkeypatch.setattr(mnist, "fetch", fails)
    monkeypatch.setattr(corpus, "fetch", lambda: fetched.append("ptb"))
    assert get.get(None, 1) == 1 and fetched == ["ptb"]
    said = capsys.readouterr()
    steps = [f"{name}: looking at the files, fetching what is missing" for name in ("MNIST", "Penn Treebank")]
    assert said.err.splitlines() == [steps[0], "no mirror", steps[1]]
    assert said.out.startswith("Data sets are kept in ") and "ask the ROSE Lab" in said.out


def test_all_fetched(monkeypatch):
    for module in (mnist, corpus):
        monkeypatch.setattr(module, "fetch", lambda: None)
    assert get.get(None, 1) == 0
