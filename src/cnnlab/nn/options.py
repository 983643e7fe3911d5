"""Checks of arguments: a ValueError in one line that begins with the argument's name and value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from math import inf, isfinite
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

import numpy as np

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", NoneType: "null"}


class TypeChecked:
    """A dataclass that refuses arguments of other types than it is annotated with.

    A whole number will do for any number, and any sequence for a tuple; NaN and infinity are no numbers here. Checks of
    a class's own follow those of its base, in its `__post_init__`.
    """

    def __post_init__(self) -> None:
        """Check every field."""
        own: Any = type(self)  # mypy thinks that a class hashes as its instances do
        for name, kind in _annotations(own).items():
            if not fits(getattr(self, name), kind):
                refuse(name, getattr(self, name), _words(kind))


def refuse(name: str, value: Any, choices: str) -> NoReturn:
    """The error for an argument of this name and value."""
    raise ValueError(f"{name}={' '.join(str(value).split())}: choose {choices}")


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated type; True for types that are not known here."""
    outer, inner = get_origin(kind), get_args(kind)
    if outer in (Union, UnionType):
        return any(fits(value, each) for each in inner)
    if outer is dict:
        return isinstance(value, dict) and all(fits(each, inner[1]) for each in value.values())
    if outer in (tuple, Sequence):
        some = isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str)
        return some and all(fits(each, inner[0]) for each in value)
    if kind in (int, float):
        number = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
        return number and isfinite(value)
    return not isinstance(kind, type) or isinstance(value, kind)


def positive(**options: float) -> None:
    """Each must be above 0."""
    for name, value in options.items():
        if not 0 < value < inf:
            refuse(name, value, "a number above 0")


def at_least(least: int, **options: float) -> None:
    """None may be lower."""
    for name, value in options.items():
        if not least <= value < inf:
            refuse(name, value, f"{least} or more")


def below_one(**options: float) -> None:
    """Each must be from 0 up to, but not including, 1."""
    for name, value in options.items():
        if not 0 <= value < 1:
            refuse(name, value, "a number from 0 up to, but not including, 1")


@cache
def _annotations(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields; none where a name in them cannot be resolved."""
    try:
        hints = get_type_hints(kind)
    except NameError:
        return {}
    return {field.name: hints[field.name] for field in fields(kind)}


def _words(kind: Any) -> str:
    """A type as the end of "choose ..."."""
    inner = [each for each in get_args(kind) if each is not ...]
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_words, inner))
    return f"[{_words(inner[-1])}, ...]" if inner else WORDS.get(kind) or kind.__name__
