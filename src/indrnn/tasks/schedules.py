"""The learning rate of every update, as a function of the update; Plateau alone remembers anything.

``rate(update)`` is the learning rate of update number ``update`` (from 0); ``observe(value)`` hears the validation
metric (lower is better) and answers ``None``, ``"reload"`` (go back to the best weights and, if
``needs_best_optimizer``, to what Adam knew then) or ``"stop"``.
"""

from indrnn.errors import UserError, above, at_least, positive


class Constant:
    """One learning rate for all updates."""

    needs_best_optimizer = False

    def __init__(self, learning_rate: float):
        above(0, learning_rate=learning_rate)
        self.learning_rate = learning_rate

    def rate(self, update: int) -> float:
        return self.learning_rate

    def observe(self, value: float) -> str | None:
        return None

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Nothing is remembered."""


class Step(Constant):
    """Times ``factor`` every ``every`` updates (P18 Section 5.1: 0.1 every 20,000)."""

    def __init__(self, learning_rate: float, every: int, factor: float):
        super().__init__(learning_rate)
        positive(every=every)
        above(0, factor=factor)
        self.every, self.factor = every, factor

    def rate(self, update: int) -> float:
        return self.learning_rate * self.factor ** (update // self.every)


class OneCycle(Constant):
    """Linear from a tenth up to ``learning_rate`` in the first ``warmup`` share of updates, then linear down to 0."""

    def __init__(self, learning_rate: float, max_updates: int, warmup: float):
        super().__init__(learning_rate)
        if not 0 <= warmup <= 1:
            raise UserError(f"warmup must be a share of the updates between 0 and 1, not {warmup!r}.")
        self.max_updates, self.warmup = max_updates, max(1.0, warmup * max_updates)

    def rate(self, update: int) -> float:
        if update < self.warmup:
            return self.learning_rate * (0.1 + 0.9 * update / self.warmup)
        left = (self.max_updates - update) / max(1.0, self.max_updates - self.warmup)
        return self.learning_rate * max(left, 0.0)


class Plateau(Constant):
    """The authors' code: when the metric has not improved for more than ``patience`` validations, go back to the best
    weights and optimizer, multiply the rate by ``factor`` and halve the patience; stop below ``stop_below``.

    Args:
        halve: false leaves the halving (100, 50, 25 ...) out: it is in their PyTorch code, not in the papers.
        grace: validations beyond patience and the one above it that are waited for. In both of their codes it is 1,
            because a validation is counted after the count is looked at; none if null.
        reload_adam: false goes back to the best weights alone, as their Theano code does.
    """

    def __init__(
        self,
        learning_rate: float,
        patience: int,
        factor: float,
        stop_below: float,
        halve: bool | None = None,
        grace: int | None = None,
        reload_adam: bool | None = None,
    ):
        super().__init__(learning_rate)
        at_least(0, patience=patience, stop_below=stop_below, grace=grace or 0)
        above(0, factor=factor)
        self.patience, self.factor, self.stop_below = patience, factor, stop_below
        self.halve, self.grace, self.needs_best_optimizer = halve is not False, grace or 0, reload_adam is not False
        self.best, self.waited, self.drops = float("inf"), 0, 0

    def rate(self, update: int) -> float:
        return self.learning_rate * self.factor**self.drops

    def observe(self, value: float) -> str | None:
        if value < self.best:
            self.best, self.waited = value, 0
            return None
        self.waited += 1
        if self.waited <= int(self.patience / (2**self.drops if self.halve else 1) + 0.5) + self.grace:
            return None
        self.waited, self.drops = 0, self.drops + 1
        return "stop" if self.rate(0) < self.stop_below else "reload"

    def state_dict(self) -> dict:
        return {"best": self.best, "waited": self.waited, "drops": self.drops}

    def load_state_dict(self, state: dict) -> None:
        self.best, self.waited, self.drops = state["best"], state["waited"], state["drops"]
