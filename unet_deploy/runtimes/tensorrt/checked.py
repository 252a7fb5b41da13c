"""Values read back from JSON, which are checked before they are believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def check_all(what: str, plain: object, right: Mapping[str, Callable[[Any], bool]]) -> dict[str, Any]:
    """The plain values of `what`, once each name of `right` is there, no other is, and each value is right.

    Raises ValueError, which says what is not.
    """
    if not isinstance(plain, dict) or plain.keys() != right.keys():
        raise ValueError(f"{what}: not {', '.join(right)}")
    for name, value in plain.items():
        if not right[name](value):
            raise ValueError(f"{what}: {name} {value!r}")
    return plain


def is_text(value: object) -> bool:
    return isinstance(value, str)


def is_bool(value: object) -> bool:
    return isinstance(value, bool)


def is_count(value: object) -> bool:
    return type(value) is int and value >= 0  # True is an int as well


def is_count_or_none(value: object) -> bool:
    return value is None or is_count(value)


def one_of(choices: tuple[str, ...]) -> Callable[[object], bool]:
    return lambda value: value in choices


def list_of(right: Callable[[Any], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(right, value))


def counts_by_name(value: object) -> bool:
    return isinstance(value, dict) and all(map(is_count, value.values()))
