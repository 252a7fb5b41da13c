"""Where the pixels of a mask lie in the image at full resolution, and how large they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Map:
    """A map on which objects are placed too."""

    name: str
    """Of its reference system, for people."""
    columns: tuple[str, str]
    """The names of the columns of a table that hold x and y."""
    at: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    """Returns x and y of places, which are x and y in pixels of the finest level from the corner of the first one.

    They are NaN where the map does not reach.
    """
    member: str | None
    """What GeoJSON names it by; empty for WGS 84, which needs no name, None where it has none: outlines are in pixels.
    """
    pixel_m2: float | None = None
    """The area of a pixel of the finest level; None where the map tells none."""


@dataclass(frozen=True)
class Frame:
    """What turns pixels of a mask into pixels of the finest level and into micrometres.

    Centres of pixels have whole numbers, from 0. With a step of 2, those of pixels 0 and 1 of the mask are:

        finest level   | 0 | 1 | 2 | 3 |
        mask           |   0   |   1   |        0.5 and 2.5

    >>> Frame(level=1, step_y=2.0, step_x=2.0).centre("x", np.array([0.0, 1.0])).tolist()
    [0.5, 2.5]
    """

    level: int = 0
    """Of the pyramid, whose pixels the mask has."""
    step_y: float = 1.0
    """Pixels of the finest level that one of the mask is high."""
    step_x: float = 1.0
    """Pixels of the finest level that one of the mask is wide."""
    size_y_um: float | None = None
    """The height of a pixel of the mask, None where it is not known."""
    size_x_um: float | None = None
    """The width of a pixel of the mask, None where it is not known."""
    height: int | None = None
    """Of the finest level: the last pixels of a level may reach over its edge. None where there is no other level."""
    width: int | None = None
    """As `height`."""
    map: Map | None = None
    """On which objects are placed too, None for none."""

    @property
    def sides_um(self) -> tuple[float, float] | None:
        """Height and width of a pixel of the mask; None where they are not known."""
        return (self.size_y_um, self.size_x_um) if self.size_y_um and self.size_x_um else None

    @property
    def area_um2(self) -> float:
        """Of a pixel of the mask, whose sides are known."""
        height, width = self.sides_um or (0.0, 0.0)
        return width**2 if height == width else height * width

    @property
    def stretch(self) -> float:
        """How many times as high as wide a pixel is, by its sizes, or by its level where they are not known."""
        height, width = self.sides_um or (self.step_y, self.step_x)
        return height / width

    def step(self, axis: str) -> float:
        """Pixels of the finest level that one of the mask is long along y or x."""
        return self.step_y if axis == "y" else self.step_x

    def centre(self, axis: str, centres: np.ndarray) -> np.ndarray:
        """The same places along y or x in pixels of the finest level."""
        step = self.step(axis)
        return centres if step == 1 else (centres + 0.5) * step - 0.5

    @property
    def drawn_on(self) -> Map | None:
        """The map that outlines are drawn on; None where they are in pixels."""
        return self.map if self.map and self.map.member is not None else None

    def edge(self, axis: str, edges: np.ndarray) -> np.ndarray:
        """The same edges of pixels along y or x, counted from the first, at the finest level.

        >>> Frame(level=1, step_y=2.0, height=5).edge("y", np.array([0, 1, 2, 3])).tolist()
        [0, 2, 4, 5]
        """
        step, last = self.step(axis), self.height if axis == "y" else self.width
        if step == 1:
            return edges
        moved = edges * step
        inside = moved if last is None else np.minimum(moved, last)
        return inside.astype(np.int64) if step.is_integer() else inside


FINEST = Frame()
"""Pixels of the finest level whose size is not known."""
