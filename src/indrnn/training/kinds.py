"""What the classes that a config builds take, as their signatures say: unknown words, values of the wrong kind.

Numbers out of range they refuse themselves.
"""

import difflib
import inspect
import math
import pkgutil
import types
import typing
from typing import Any

from indrnn.errors import UserError

IN_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", type(None): "null"}
HINTS = {
    "machine.devices": " (see CUDA_VISIBLE_DEVICES)",
    "task.schedule": " (schedule@recipe.schedule= names one of conf/schedule)",
}


def check_arguments(name: str, node: dict[str, Any]) -> None:
    """Raise UserError unless a node, and those in it, say what the class or function of ``_target_`` takes."""
    if "_target_" not in node:
        raise UserError(f"{name} has no _target_, the class that it is built from.")
    try:
        takes = pkgutil.resolve_name(node["_target_"])
        arguments = inspect.signature(takes).parameters
    except Exception as error:  # of whatever kind its module raises
        raise UserError(f"{name}._target_ {node['_target_']!r} cannot be had: {str(error).splitlines()[0]}.") from None
    kinds = annotations(takes)
    if any(argument.kind is argument.VAR_KEYWORD for argument in arguments.values()):
        return
    for key, value in node.items():
        if key.startswith("_") and key.endswith("_"):  # Hydra's own
            continue
        if key not in arguments:
            near = difflib.get_close_matches(key, arguments, 1)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise UserError(f"{name}.{key}: {takes.__name__} got an unexpected keyword argument {key!r}{meant}.")
        if isinstance(value, dict) and "_target_" in value:
            check_arguments(f"{name}.{key}", value)
        else:
            check_kind(f"{name}.{key}", value, kinds.get(key, Any))


def annotations(takes: Any) -> dict[str, Any]:
    """The kind of each argument, by its name; none where somebody's own class names what cannot be looked up."""
    try:
        return typing.get_type_hints(takes.__init__ if inspect.isclass(takes) else takes)
    except (NameError, TypeError):
        return {}


def check_kind(name: str, value: Any, kind: Any) -> None:
    if not fits(value, kind):
        raise UserError(f"{name} must be {in_words(kind)}, not {value!r}{HINTS.get(name, '')}.")


def fits(value: Any, kind: Any) -> bool:
    """Whether a plain value is of an annotated kind; what is no plain kind fits."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return any(fits(value, one) for one in inner)
    if origin in (list, tuple):
        return isinstance(value, list | tuple) and all(fits(one, inner[0]) for one in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    if isinstance(kind, type) and kind.__module__.startswith("indrnn."):
        return False  # what has a _target_ was looked at already
    return not isinstance(kind, type) or kind not in IN_WORDS or isinstance(value, kind)


def in_words(kind: Any) -> str:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(map(in_words, inner))
    if origin in (list, tuple):
        return f"a list of which each is {in_words(inner[0])}"
    return IN_WORDS.get(kind, getattr(kind, "__name__", str(kind)))
