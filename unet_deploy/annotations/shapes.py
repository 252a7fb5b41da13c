"""What a person drew on an image: shapes, in pixels from the corner of the first one, whose centre is at 0.5, 0.5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unet_deploy.errors import DataError

Ring = np.ndarray
"""(n, 2) float64, the corners x, y of a closed line, the first repeated or not."""
Polygon = tuple[Ring, ...]
"""A pixel is in it whose centre lies in an odd number of its rings: an outer one and its holes, in any order."""

IGNORED = "Ignore*"
"""The class of what is not known, as QuPath calls it: with its star or without, in any case."""

_FARTHEST = 1 << 30
"""Pixels from the corner of an image at which nobody draws."""


@dataclass(frozen=True, eq=False)
class Shape:
    """One thing that was drawn. It may be in several pieces."""

    name: str
    """As errors name it."""
    of: str | int | None
    """The name of its class, its number where a program numbers classes from 1, or None where it has none."""
    polygons: tuple[Polygon, ...]
    plane: int = 0
    """Of a stack of which it was drawn, from 1, where channels are planes too; 0 where none is said."""

    @property
    def class_words(self) -> str:
        """Its class, for people."""
        if self.of is None:
            return "no class"
        return f"class {self.of!r}" if isinstance(self.of, str) else f"group {self.of}"

    @property
    def box(self) -> np.ndarray:
        """Its least and greatest x and y: (2, 2) float64."""
        points = np.concatenate([ring for polygon in self.polygons for ring in polygon])
        return np.stack([points.min(axis=0), points.max(axis=0)])

    @property
    def middle(self) -> tuple[float, float]:
        """The x and y of the middle of its box."""
        x, y = self.box.mean(axis=0).tolist()
        return x, y

    @property
    def words(self) -> str:
        """Its name and where it lies, for people."""
        x, y = self.middle
        return f"{self.name} at x {x:.0f}, y {y:.0f}"


@dataclass(frozen=True)
class Drawing:
    """All that a file says of one image."""

    name: str
    """The file, as errors name it."""
    shapes: tuple[Shape, ...]
    size: tuple[int, int] | None = None
    """Height and width of the image, where the file says them."""


def ring_of(points: Sequence[Sequence[float]], name: str) -> Ring:
    """The points of a shape as a ring. Raises DataError, which names the shape, for what are no points."""
    try:
        ring = np.array([point[:2] for point in points], np.float64)
    except (TypeError, ValueError, OverflowError, IndexError, KeyError) as error:
        raise DataError(f"{name}: its points are no pairs of numbers; save it again") from error
    if ring.ndim != 2 or ring.shape[1] != 2 or not (np.abs(ring) < _FARTHEST).all():
        raise DataError(f"{name}: its points are no pairs of numbers, or beyond any image; save it again")
    return ring


def rectangle(left: float, top: float, right: float, bottom: float) -> Ring:
    """The corners of a rectangle."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def ellipse(left: float, top: float, right: float, bottom: float) -> Ring:
    """Points on the ellipse in a rectangle, so many that no side lies a hundredth of a pixel inside of it.

    A side of n lies radius (1 - cos(pi / n)) inside, which is at most radius pi^2 / (2 n^2).
    """
    radii = np.array([right - left, bottom - top], np.float64) / 2
    count = int(np.ceil(np.sqrt(500 * np.abs(radii).max()))) + 8
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.array([left, top]) + radii + radii * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def no_area(what: str, name: str) -> DataError:
    """The error for what has no inside: a point, a line."""
    return DataError(f"{name}: is a {what}, which has no area; delete it, or draw it as a polygon")
