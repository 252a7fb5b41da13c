"""From what a person types to values. Each parser raises ValueError with the remedy; the option is named for it.

Parsers are given to options as `parser=`, which is also called with the default: a value stays as it is.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from typing import NewType, TypeVar

Value = TypeVar("Value")

Numbers = NewType("Numbers", tuple[float, ...])
"""Numbers with commas between."""

Names = NewType("Names", tuple[str, ...])
"""Names with commas between."""

Shape = NewType("Shape", tuple[int, int, int])
"""Tiles, height and width of a submission."""

NumberOrAuto = NewType("NumberOrAuto", object)
"""A number, or the word auto."""

Box = NewType("Box", tuple[int, int, int, int])
"""A region: y, x, height and width in pixels."""


@dataclass(frozen=True)
class Size:
    """Height and width in pixels."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


def _of_text(read: Callable[[str], Value]) -> Callable[[str | Value], Value]:
    @wraps(read)
    def parse(given: str | Value) -> Value:
        return read(given) if isinstance(given, str) else given

    return parse


@_of_text
def size(text: str) -> Size:
    """Read '700x900' as a height of 700 and a width of 900 pixels.

    >>> size("700x900")
    Size(height=700, width=900)
    """
    found = re.fullmatch(r"(\d+)x(\d+)", text.lower())
    if not found or 0 in map(int, found.groups()):
        raise ValueError("give height and width in pixels, for example 8192x8192")
    return Size(*map(int, found.groups()))


@_of_text
def tile(text: str) -> Size:
    """Read '572' as a square tile, and '572x700' as one of that height and width, in pixels.

    >>> str(tile("572"))
    '572x572'
    """
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text.lower())
    if not found:
        raise ValueError("give a side, or height and width, in pixels, for example 572x700")
    height, width = found.groups()
    return Size(int(height), int(width or height))


@_of_text
def shape(text: str) -> Shape:
    """Read '4x572x700' as 4 tiles of 572 x 700 pixels."""
    found = re.fullmatch(r"(\d+)x(\d+)x(\d+)", text.lower())
    if not found:
        raise ValueError("give tiles, height and width, for example 4x572x572")
    tiles, height, width = map(int, found.groups())
    return Shape((tiles, height, width))


@_of_text
def byte_count(text: str) -> int:
    """Read a number of bytes: kB, MB and GB are powers of 1000, KiB, MiB, GiB and bare letters of 1024.

    >>> byte_count("2GiB"), byte_count("1.5 kB")
    (2147483648, 1500)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(I?B)?", text.upper())
    if not found:
        raise ValueError("give bytes, for example 2GiB or 512MiB")
    number, prefix, unit = found.groups()
    return int(float(number) * (1000 if unit == "B" else 1024) ** " KMGT".index(prefix or " "))


@_of_text
def box(text: str) -> Box:
    """Read 'y,x,height,width' in pixels.

    >>> box("2000, 3000, 1024, 512")
    (2000, 3000, 1024, 512)
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(part.isdigit() for part in parts) or 0 in map(int, parts[2:]):
        raise ValueError("give y,x,height,width in pixels, for example 2000,3000,1024,1024")
    y, x, height, width = map(int, parts)
    return Box((y, x, height, width))


def channel(text: str | None) -> int | str | None:
    """Read a channel's number, or its name.

    >>> channel("2"), channel("DAPI")
    (2, 'DAPI')
    """
    return int(text) if text and re.fullmatch(r"-?[0-9]+", text) else text


@_of_text
def level(text: str) -> int | None:
    """Read the number of a pyramid's level; 'auto' is None."""
    if text != "auto" and not text.isdigit():
        raise ValueError("give a number, 0 the finest, or auto")
    return None if text == "auto" else int(text)


@_of_text
def number_or_auto(text: str) -> float | str:
    """Read a number, or auto.

    >>> number_or_auto("0.25"), number_or_auto("auto")
    (0.25, 'auto')
    """
    with suppress(ValueError):
        return text if text == "auto" else float(text)
    raise ValueError("give a number, or auto")


def ppm(given: str | float) -> float:
    """Read a number of 0 to a million.

    >>> ppm("50")
    50.0
    """
    with suppress(ValueError):
        if 0 <= (number := float(given)) <= 1e6:
            return number
    raise ValueError("give a number of 0 to 1000000, of labels in a million")


@_of_text
def numbers(text: str) -> Numbers:
    """Read '0.485,0.456,0.406'."""
    try:
        return Numbers(tuple(float(part) for part in text.split(",")))
    except ValueError:
        raise ValueError("give numbers with commas between") from None


@_of_text
def names(text: str) -> Names:
    """Read names with commas between; one that holds a comma itself stands in double quotes.

    >>> names('background, "nucleus, large",')
    ('background', 'nucleus, large')
    """
    found = [part.strip() for part in next(csv.reader([text], skipinitialspace=True), [])]
    found = found[:-1] if found and not found[-1] else found
    if not all(found):
        raise ValueError("one of the names is empty: give names with commas between")
    return Names(tuple(found))
