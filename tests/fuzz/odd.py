"""Values that programs stumble over."""

from __future__ import annotations

import random
from typing import Any

NUMBERS = (
    *(0, 1, 2, 3, -1, 7, 8, 16, 127, 128, 255, 256, 1000, 32767, 32768, 65535, 65536, 100_000),
    *(2**31 - 1, 2**31, -(2**31), 2**32 - 1, 2**32, 2**40, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1),
)
FLOATS = (0.0, -0.0, 0.5, -1.5, 1e-320, 1e38, 1e308, float("nan"), float("inf"), float("-inf"))
TEXTS = (
    "",
    " ",
    "nan",
    "../x",
    "/",
    "\x1b[31mred\nnext",
    "\u202eabc",
    "\u00e9\u4e2d",
    "x" * 5000,
    "%s{0}",
    "uint8",
    "|V7",
)


def plain(rng: random.Random) -> Any:
    """Any value that JSON can hold."""
    deep: Any = 1
    for _ in range(rng.choice((1, 50, 400))):
        deep = [deep]
    few = rng.sample(NUMBERS, 3)
    return rng.choice((None, True, False, [], {}, few, {"a": few}, deep, *NUMBERS, *FLOATS, *TEXTS))


def of_kind(rng: random.Random, value: Any) -> Any:
    """Another value of the same type, an odd one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, 2 * value, -value, *NUMBERS))
    if isinstance(value, float):
        return rng.choice((-value, value * 1e6, *FLOATS))
    if isinstance(value, str):
        return rng.choice((value[1:], value + value, value.upper(), *TEXTS))
    return plain(rng)
