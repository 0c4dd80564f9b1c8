"""What a command says and with which code it ends."""

import pytest

from indrnn.errors import NoData, UserError, exit_code


def raising(error: BaseException):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    "done, code, out", [("done", 0, "done\n"), ("", 0, "\n"), (None, 0, ""), (0, 0, ""), (3, 3, "")]
)
def test_a_text_is_printed_and_a_number_is_the_code(done, code, out, capsys):
    assert exit_code(lambda: done) == code
    assert capsys.readouterr() == (out, "")


@pytest.mark.parametrize("error", [UserError("not so"), NoData("not so"), OSError("not so")])
def test_a_mistake_is_one_sentence(error, capsys):
    assert exit_code(raising(error)) == 1
    assert capsys.readouterr() == ("", "not so\n")


def test_ctrl_c_is_told_where_the_command_goes_on(capsys):
    assert exit_code(raising(KeyboardInterrupt()), goes_on=True) == 130
    assert capsys.readouterr() == ("", "stopped; the same command goes on\n")
    with pytest.raises(KeyboardInterrupt):
        exit_code(raising(KeyboardInterrupt()))


def test_what_nobody_expects_is_not_hidden():
    with pytest.raises(ValueError, match="a fault"):
        exit_code(raising(ValueError("a fault")))
