"""What a user can do wrong, said in one sentence."""


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
