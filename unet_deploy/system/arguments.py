"""What callers of the Python API hand in: numbers of NumPy are numbers, and what does not fit is said in one line."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from unet_deploy.errors import UsageError

Given = TypeVar("Given")

Auto = Literal["auto"]
"""Instead of a number: that it is to be found out."""

Check = Callable[[Any, str], Any]
"""What a value must be: returns it, or raises UsageError with the name of the argument."""


def kind_of(value: object) -> str:
    """Return what a value is, for a sentence that says what was expected instead.

    >>> kind_of([1, 2]), kind_of(300.0), kind_of(np.zeros((2, 2), np.uint8))
    ('a list', 'the float 300.0', 'a NumPy array')
    """
    if isinstance(value, np.ndarray):
        return "a NumPy array"
    if value is None:
        return "None"
    name = type(value).__name__
    if isinstance(value, (str, float, bool, np.generic)):
        return f"the {name} {str(value)[:50]}"
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"


def whole(value: object, name: str) -> int:
    """Return a whole number of any integer type as an int. Raises UsageError, which names the argument.

    >>> whole(np.uint16(300), "tile_size")
    300
    """
    if not isinstance(value, (bool, np.bool_)):
        try:
            return operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise UsageError(f"{name}: give a whole number, not {kind_of(value)}")


def number(value: object, name: str) -> float:
    """Return a real number of any type as a float, NaN among them. Raises UsageError.

    >>> number(np.float32(0.5), "timeout")
    0.5
    """
    if not isinstance(value, (str, bool, np.bool_)):
        try:
            return float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            pass
    raise UsageError(f"{name}: give a number, not {kind_of(value)}")


def number_or_none(value: object, name: str) -> float | None:
    """Return None, or a real number as `number` does. Raises UsageError."""
    return None if value is None else number(value, name)


def number_or_auto(value: object, name: str) -> float | Auto | None:
    """Return None, the word auto, or a real number as `number` does. Raises UsageError."""
    return "auto" if isinstance(value, str) and value == "auto" else number_or_none(value, name)


def path_or_none(value: object, name: str) -> Path | None:
    """Return None, or a path as `path` does. Raises UsageError."""
    return None if value is None else path(value, name)


def one_of(*choices: str) -> Check:
    """Return a check that lets these words through alone."""

    def check(value: object, name: str) -> str:
        if value in choices:
            return str(value)
        raise UsageError(f"{name}: there are {', '.join(choices)}, not {kind_of(value)}")

    return check


def callable_or_none(value: Given, name: str) -> Given:
    """Return None, or what can be called. Raises UsageError for anything else."""
    if value is None or callable(value):
        return value
    raise UsageError(f"{name}: give a function, not {kind_of(value)}")


def whole_or_none(value: object, name: str) -> int | None:
    """Return None, or a whole number as `whole` does. Raises UsageError."""
    return None if value is None else whole(value, name)


def yes_or_no(value: object, name: str) -> bool:
    """Return True or False, Python's or NumPy's, as Python's. Raises UsageError."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise UsageError(f"{name}: give True or False, not {kind_of(value)}")


def text(value: object, name: str) -> str:
    """Return a str. Raises UsageError for anything else."""
    if isinstance(value, str):
        return value
    raise UsageError(f"{name}: give a str, not {kind_of(value)}")


def path(value: object, name: str) -> Path:
    """Return a str or path as a Path. Raises UsageError for anything else."""
    if isinstance(value, (str, os.PathLike)) and isinstance(given := os.fspath(value), str):
        return Path(given)
    raise UsageError(f"{name}: give a path, not {kind_of(value)}")


def settle(instance: object, **checks: Check) -> None:
    """Replace fields of a frozen dataclass by what their checks return. Raises UsageError."""
    for name, check in checks.items():
        object.__setattr__(instance, name, check(getattr(instance, name), name))
