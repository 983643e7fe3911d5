"""What the arguments of a layer, loss or rule may be: annotated types with limits, checked when it is made.

A wrong argument is a ValueError in one line that begins with its name and value. Configs are checked by the same
annotations, before anything is made of them; so limits and messages use the words of a config (true, null).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from math import isfinite
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, NoReturn, Union, get_args, get_origin, get_type_hints

import numpy as np


class Limit(NamedTuple):
    """Which values of a type are allowed, in words and as a test."""

    words: str
    allows: Callable[[Any], object] = lambda value: True


Whole = Annotated[int, Limit("a whole number from 0 up", lambda value: value >= 0)]
Natural = Annotated[int, Limit("a whole number from 1 up", lambda value: value >= 1)]
Positive = Annotated[float, Limit("a number above 0", lambda value: value > 0)]
NotNegative = Annotated[float, Limit("a number from 0 up", lambda value: value >= 0)]
Fraction = Annotated[float, Limit("a number from 0 to 1", lambda value: 0 <= value <= 1)]
BelowOne = Annotated[float, Limit("a number from 0 up to, but not including, 1", lambda value: 0 <= value < 1)]
Between = Annotated[float, Limit("a number between 0 and 1", lambda value: 0 < value < 1)]

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", NoneType: "null"}


class TypeChecked:
    """A dataclass that refuses arguments of other types than it is annotated with.

    A whole number will do for any number, and any sequence for a tuple; NaN and infinity are no numbers here.
    """

    def __post_init__(self) -> None:
        """Check every field; a class with checks of its own calls this first."""
        own: Any = type(self)  # mypy thinks that a class hashes as its instances do
        hints = annotated(own)
        for field in fields(own):
            check(field.name, getattr(self, field.name), hints.get(field.name, Any))


def refuse(name: str, value: Any, choices: str) -> NoReturn:
    """The error for an argument of this name and value."""
    raise ValueError(f"{name}={' '.join(str(value).split())}: choose {choices}")


def check(name: str, value: Any, kind: Any, described: bool = False) -> None:
    """Refuse a value that is not of an annotated type."""
    if not fits(value, kind, described):
        refuse(name, value, choices(kind))


def fits(value: Any, kind: Any, described: bool = False) -> bool:
    """Whether a value is of an annotated type; where objects are only `described`, as in a config, a dict is one."""
    outer, inner = get_origin(kind), get_args(kind)
    if outer is Annotated:
        return fits(value, inner[0], described) and bool(inner[1].allows(value))
    if outer in (Union, UnionType):
        return any(fits(value, each, described) for each in inner)
    if outer is dict:
        return isinstance(value, dict) and all(fits(each, inner[1], described) for each in value.values())
    if outer in (tuple, list, Sequence):
        if not isinstance(value, (Sequence, np.ndarray)) or isinstance(value, str):
            return False
        kinds = inner if outer is tuple and ... not in inner else inner[:1] * len(value)
        return len(kinds) == len(value) and all(fits(*pair, described) for pair in zip(value, kinds, strict=True))
    if kind in (int, float):
        number = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
        return number and isfinite(value)
    return kind is Any or isinstance(value, dict if described and kind not in WORDS else kind)


@cache
def annotated(target: Callable[..., Any]) -> dict[str, Any]:
    """The annotated types of a class or function; none where a name in them cannot be resolved."""
    try:
        return get_type_hints(target, include_extras=True)
    except NameError:
        return {}


def choices(kind: Any) -> str:
    """A type as the end of "choose ..."."""
    outer, inner = get_origin(kind), get_args(kind)
    if outer is Annotated:
        return inner[1].words
    if outer in (Union, UnionType):
        *others, last = map(choices, inner)
        return f"{', '.join(others)} or {last}"
    if outer in (tuple, list, Sequence, dict):
        return f"[{choices(inner[outer is dict])}, ...]"
    return WORDS.get(kind) or str(getattr(kind, "__name__", kind))
