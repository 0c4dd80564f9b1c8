"""Whether something is of the shape that was written: looked at as a whole, before any of it is taken up."""

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor


class Unfit(ValueError):
    """Not what was written by this run; the message names the part that tells."""


def need(holds: bool, part: str) -> None:
    """Raise Unfit, with the name of the part, unless something holds."""
    if not holds:
        raise Unfit(part)


def need_keys(found: Any, keys: Collection, part: str) -> None:
    """Raise Unfit unless ``found`` is a dictionary with these keys and no other."""
    need(isinstance(found, dict) and set(found) == set(keys), part)


def whole(x: Any, low: int, high: int) -> bool:
    """Whether x is a whole number between two others, which it may be."""
    return isinstance(x, int) and not isinstance(x, bool) and low <= x <= high


def number(x: Any) -> bool:
    """Whether x is a number, perhaps an infinite one; NaN is none."""
    return isinstance(x, int | float) and not isinstance(x, bool) and not math.isnan(x)


def need_like(found: Any, pattern: Any, part: str, any_precision: bool = False) -> None:
    """Raise Unfit unless ``found`` is nested as ``pattern`` is.

    Tensors have its shapes and dtypes (``any_precision``: another floating point dtype will do), and all other leaves
    are whole numbers from 0 on.
    """
    if isinstance(pattern, Tensor):
        need(isinstance(found, Tensor) and (found.shape, found.layout) == (pattern.shape, pattern.layout), part)
        need(found.dtype == pattern.dtype or any_precision and found.is_floating_point(), part)
    elif isinstance(pattern, dict):
        need_keys(found, pattern, part)
        for key, inner in pattern.items():
            need_like(found[key], inner, f"{part}.{key}", any_precision)
    elif isinstance(pattern, list | tuple):
        need(type(found) is type(pattern) and len(found) == len(pattern), part)
        for number_, (one, inner) in enumerate(zip(found, pattern, strict=True)):
            need_like(one, inner, f"{part}.{number_}", any_precision)
    else:
        need(whole(found, 0, 2**63), part)


def need_adam(found: Any, groups: list[dict[str, Any]], updates: int, part: str) -> None:
    """Raise Unfit unless ``found`` is the state of Adam over the parameters of ``groups`` after 1 to ``updates`` steps.

    What else a group says (rates, betas) is not read from a checkpoint.
    """
    need_keys(found, ("state", "param_groups"), part)
    parameters = [p for group in groups for p in group["params"]]
    theirs = found["param_groups"]
    need(isinstance(theirs, list) and all(isinstance(group, dict) for group in theirs), f"{part}.param_groups")
    numbers = iter(range(len(parameters)))
    mine = [[next(numbers) for _ in group["params"]] for group in groups]
    need([group.get("params") for group in theirs] == mine, f"{part}.param_groups")
    one = {"step": torch.zeros(())}
    pattern = {i: one | {"exp_avg": p, "exp_avg_sq": p} for i, p in enumerate(parameters) if p.requires_grad}
    need_like(found["state"], pattern if updates else {}, f"{part}.state")
    for i, state in found["state"].items():
        need(1 <= state["step"] <= updates and state["step"] == state["step"].floor(), f"{part}.state.{i}.step")
