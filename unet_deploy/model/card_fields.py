"""What each field of a model card may hold: one rule a field, for cards that are made and for cards that are read."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_deploy.errors import ModelError, reason

LARGEST_SIDE = 1 << 16
"""Pixels: no network's margin, stride or least input is nearly as large."""

MOST_CLASSES = 256
"""Labels of a mask are one byte."""

_DIGEST = re.compile(r"[0-9a-f]{1,64}")

_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of what moves the cursor, turns the direction or breaks the line."""


@dataclass(frozen=True)
class Rule:
    """What values of a field are right, and that in words, as they follow "must be"."""

    holds: Callable[[Any], bool]
    words: str


def _whole(least: int, most: float = math.inf) -> Rule:
    limits = f"from {least} on" if math.isinf(most) else f"of {least} to {most}"
    return Rule(lambda value: _is_whole(value) and least <= value <= most, f"a whole number {limits}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    """Whether it is a number that float32, in which graphs compute, can hold."""
    return _is_number(value) and abs(value) <= float(np.finfo(np.float32).max)


def _is_line(value: object) -> bool:
    """Whether it is a text of one line that shows as it is."""
    return isinstance(value, str) and not any(unicodedata.category(each) in _UNSEEN for each in value)


def _are_classes(value: object) -> bool:
    return isinstance(value, (list, tuple)) and 2 <= len(value) <= MOST_CLASSES and all(map(_is_line, value))


def _are_figures(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) and _is_number(value[name]) for name in value)


def _are_digests(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(each, str) and _DIGEST.fullmatch(each) for each in value)


def _are_mask_values(value: object) -> bool:
    """Whether they are numbers of classes in masks, in their order."""
    if not isinstance(value, (list, tuple)) or len(value) > MOST_CLASSES:
        return False
    return all(_is_whole(each) and 0 <= each < 2**63 for each in value) and list(value) == sorted({*value})


def _are_diameters(value: object) -> bool:
    if not isinstance(value, (list, tuple)) or len(value) != 2 or not all(map(_LENGTH.holds, value)):
        return False
    return bool(value[0] <= value[1])


def _or_none(rule: Rule) -> Rule:
    return Rule(lambda value: value is None or rule.holds(value), f"{rule.words}, or null")


_TEXT = Rule(lambda value: isinstance(value, str), "text")
_LINE = Rule(_is_line, "text of one line without control characters")
_SIDE = _whole(1, LARGEST_SIDE)
_LENGTH = Rule(
    lambda value: _is_number(value) and 1 <= value <= LARGEST_SIDE, f"a length of 1 to {LARGEST_SIDE} pixels"
)
_FIGURES = Rule(_are_figures, "numbers by name")
_PERCENTILE = Rule(lambda value: _is_number(value) and 0 <= value <= 100, "a number of 0 to 100")

CARD: Mapping[str, Rule] = {
    "name": _LINE,
    "channels": _SIDE,
    "classes": Rule(_are_classes, f"2 to {MOST_CLASSES} names of one line without control characters"),
    "margin": _whole(0, LARGEST_SIDE),
    "stride": _SIDE,
    "base": _SIDE,
    "pixel_size_um": _or_none(Rule(lambda value: _is_finite(value) and value > 0, "a finite number above 0")),
    "trained_on": _TEXT,
    "license": _TEXT,
    "command": _TEXT,
    "metrics": _FIGURES,
    "precision": Rule(lambda value: value in ("fp32", "int8"), "fp32 or int8"),
    "split": _TEXT,
    "seed": _or_none(Rule(_is_whole, "a whole number")),
    "training_images": Rule(_are_digests, "hexadecimal digests"),
    "mask_kind": Rule(lambda value: value in ("", "binary", "classes", "instances"), "binary, classes or instances"),
    "mask_values": Rule(_are_mask_values, "whole numbers from 0 on, each above the one before"),
    "evaluation": _FIGURES,
    "evaluated_on": _TEXT,
    "limit_ppm": Rule(lambda value: _is_number(value) and 0 <= value <= 1e6, "a number of 0 to 1e6"),
    "bytes_per_pixel": _or_none(Rule(lambda value: _is_number(value) and 0 <= value <= 1e9, "a number of 0 to 1e9")),
}
"""By name of the field, but for the normalization, which has fields of its own."""

NORMALIZATION: Mapping[str, Rule] = {
    "method": Rule(lambda value: value in ("fixed", "percentile"), "fixed or percentile"),
    "offset": Rule(_is_finite, "a finite number"),
    "scale": Rule(lambda value: _is_finite(value) and float(np.float32(value)) != 0, "a finite number that is not 0"),
    "low": _PERCENTILE,
    "high": _PERCENTILE,
}


DECISION: Mapping[str, Rule] = {
    "threshold": Rule(lambda value: _is_number(value) and 0 < value < 1, "a number between 0 and 1"),
    "diameter": _or_none(_LENGTH),
    "diameters": _or_none(Rule(_are_diameters, "two lengths in pixels, the lesser first")),
    "split": Rule(lambda value: _is_number(value) and 0 <= value <= 1, "a number of 0 to 1"),
    "min_part": Rule(lambda value: _is_number(value) and 0 <= value <= 1, "a number of 0 to 1"),
    "min_size": Rule(lambda value: _is_number(value) and 0 <= value <= 1, "a number of 0 to 1"),
    "fill_holes": Rule(lambda value: isinstance(value, bool), "true or false"),
    "peak": Rule(lambda value: _is_number(value) and 0 <= value < 1, "a number from 0 to below 1"),
    "trusted_from": Rule(lambda value: _is_number(value) and 0 <= value < 1, "a number from 0 to below 1"),
}

PARENT: Mapping[str, Rule] = {
    "name": _LINE,
    "sha256": Rule(
        lambda value: isinstance(value, str) and len(value) == 64 and bool(_DIGEST.fullmatch(value)),
        "64 hexadecimal digits",
    ),
    "license": _TEXT,
    "trained_on": _TEXT,
}


def check_fields(values: Mapping[str, Any], rules: Mapping[str, Rule], whose: str) -> None:
    """Raise ModelError, which begins with `whose`, for the first value that breaks the rule of its name."""
    for name, value in values.items():
        if not rules[name].holds(value):
            raise ModelError(f"{whose}: {name} {shown(value)}, must be {rules[name].words}; export the model again")


def shown(value: object) -> str:
    """A value of a card on one short line, control characters as escapes.

    >>> shown("\\x1b[31mred\\n")
    "'\\\\x1b[31mred\\\\n'"
    """
    return reason(repr(value))
