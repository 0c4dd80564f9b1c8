"""For how many steps a neuron remembers, from its recurrent weight alone: P19 Table 1."""

import math

import torch
from torch import Tensor

from indrnn.errors import UserError
from indrnn.layers import bound_of


def memory_length(u: Tensor | float, eps: float) -> Tensor:
    """Steps until less than a share ``eps`` of a state is left, if nothing comes in and no ReLU is in the way.

        abs(u)^n = ε,   n = ln ε / ln abs(u)

    The smallest whole number of steps n with abs(u)^n < ε is floor(n) + 1, except at u = 0, where it is 1.

    Args:
        u: recurrent weights, any shape; a sign flips the state at every step and forgets nothing.
        eps: ε, the share that still counts as memory, above 0 and below 1.

    Returns:
        n in steps, float64, of the shape of u: infinite where abs(u) is 1 or more, 0 where u is 0.

    Raises:
        UserError: eps is not between 0 and 1.

    Source: P19 Table 1, which says for one neuron which abs(u) keeps its memory (``weight_range``), turned around.
    """
    between_0_and_1(eps)
    size = torch.as_tensor(u, dtype=torch.float64).abs()
    steps = math.log(eps) / size.log()  # at u = 0: ln ε / -infinity
    return torch.where(size >= 1, math.inf, steps)


def weight_range(steps: int, eps: float, gamma: float) -> tuple[float, float]:
    """The abs(u) with which at least ε and at most γ of a state is left after some steps.

        ε^(1/n) <= abs(u) <= γ^(1/n),   n = T - t

    Args:
        steps: n, from the step t that is remembered to the last step T.
        eps: ε, above 0 and below 1.
        gamma: γ, at least 1: the largest gain over n steps.

    Returns:
        The smallest and the largest abs(u).

    Raises:
        UserError: eps is not between 0 and 1, gamma is below 1, or steps is not a whole number of at least 1.

    Source: P19 Table 1.
    """
    between_0_and_1(eps)
    if not gamma >= 1:
        raise UserError(f"gamma must be at least 1, not {gamma}.")
    return bound_of(eps, steps), bound_of(gamma, steps)


def between_0_and_1(eps: float) -> None:
    if not 0 < eps < 1:
        raise UserError(f"eps must be above 0 and below 1, not {eps}.")
