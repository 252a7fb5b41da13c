"""How far apart the pixels and the planes of an image lie, and what of that can be believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from unet_deploy.tiling import Sides

SMALLEST_UM, LARGEST_UM = 1e-6, 1e6
"""Sides of a pixel, in micrometres, that a microscope or a satellite may have: a picometre to a metre."""

SHORTEST_S, LONGEST_S = 1e-12, 1e10
"""Seconds from one time point to the next: a picosecond to 300 years."""


@dataclass(frozen=True)
class PixelSizes:
    """How far it is from one pixel or plane to the next; None where that is not known."""

    y_um: float | None = None
    """Micrometres, from row to row."""
    x_um: float | None = None
    """Micrometres, from column to column."""
    z_um: float | None = None
    """Micrometres, from slice to slice."""
    t_s: float | None = None
    """Seconds, from one time point to the next."""

    @property
    def side_um(self) -> float | None:
        """The side of a pixel as one number: of one that is not square, that of the square of the same area."""
        if not self.y_um or not self.x_um:
            return None
        return self.x_um if self.y_um == self.x_um else math.sqrt(self.y_um * self.x_um)

    @property
    def resolution(self) -> dict[str, Any]:
        """The tags of a TIFF of such pixels, as tifffile writes them: so many a centimetre; none where not known."""
        if not self.y_um or not self.x_um:
            return {}
        return {"resolution": (1e4 / self.x_um, 1e4 / self.y_um), "resolutionunit": 3}

    def at(self, place: LevelPlace) -> PixelSizes:
        """Return those of a coarser level, where these are of the finest."""
        return replace(self, y_um=self.y_um and self.y_um * place.step_y, x_um=self.x_um and self.x_um * place.step_x)

    def text(self) -> str:
        """Say what is known, for people; empty where nothing is."""
        known = []
        if self.y_um and self.x_um:
            sides = f"{self.x_um:.4g} um"
            known.append(sides if self.y_um == self.x_um else f"{self.x_um:.4g} um wide, {self.y_um:.4g} um high")
        if self.z_um:
            known.append(f"{self.z_um:.4g} um from slice to slice")
        if self.t_s:
            known.append(f"{self.t_s:.4g} s from time to time")
        return "; ".join(known)

    def along(self, axis: PageAxis) -> PageAxis:
        """Return an axis of pages with what is known of its distances."""
        return replace(axis, distance={"t": self.t_s, "z": self.z_um}.get(axis.name))


@dataclass(frozen=True)
class LevelPlace:
    """Where the pixels of a level lie in those of the finest: all levels show the same area.

    With a step of 2, pixel 0 covers pixels 0 and 1 of the finest level, and its centre lies between theirs:

        finest   | 0 | 1 | 2 | 3 |
        level    |   0   |   1   |        centre of 0 at 0.5, that is (2 - 1) / 2
    """

    level: int = 0
    step_y: float = 1.0
    """Pixels of the finest level that one of this is high."""
    step_x: float = 1.0
    """Pixels of the finest level that one of this is wide."""

    @classmethod
    def of(cls, level: int, finest: tuple[int, int], sides: tuple[int, int]) -> LevelPlace:
        """Return that of a level of these sides, height and width."""
        return cls(level, *(coarsening(*pair) for pair in zip(finest, sides, strict=True)))

    @property
    def note(self) -> str:
        """What a person should know of places in outputs; empty for the finest level."""
        if not self.level:
            return ""
        coarse = f"level {self.level}, {self.step_y:.4g} x {self.step_x:.4g} times as coarse"
        return f"read at {coarse}; objects are placed and measured in pixels of level 0"


@dataclass(frozen=True)
class PageAxis:
    """An axis that pages are counted along, t or z."""

    name: str
    size: int
    distance: float | None = None
    """From one to the next, micrometres or seconds; None where that is not known."""


def page_axes(lead: Sequence[tuple[str, int]]) -> tuple[PageAxis, ...]:
    """Return the axes of pages from names and sizes; none where another than t and z is among them.

    Pages are not counted along an axis of one step.

    >>> page_axes([("t", 1), ("z", 5)]), page_axes([("z", 5), ("i", 2)])
    ((PageAxis(name='z', size=5, distance=None),), ())
    """
    counted = [(name, size) for name, size in lead if size > 1]
    return tuple(PageAxis(*each) for each in counted) if {name for name, _ in counted} <= {"t", "z"} else ()


def usable_sizes(claimed: PixelSizes, pages: tuple[PageAxis, ...]) -> tuple[PixelSizes, str]:
    """Return what is believed of what a file claims, and a note on what is not.

    Where one side of a pixel is said, the other is the same; where one cannot be, neither is believed. What is claimed
    of an axis that the image has not is left out without a word.
    """
    there = {axis.name for axis in pages}
    y = claimed.x_um if claimed.y_um is None else claimed.y_um
    x = claimed.y_um if claimed.x_um is None else claimed.x_um
    z, t = claimed.z_um if "z" in there else None, claimed.t_s if "t" in there else None
    wrong = [f"pixel size of {side:g} um" for side in (x, y) if side is not None and not _is_length(side)][:1]
    if z is not None and not _is_length(z):
        wrong.append(f"z spacing of {z:g} um")
    if t is not None and not _is_time(t):
        wrong.append(f"time interval of {t:g} s")
    known = _is_length(y) and _is_length(x)
    sizes = PixelSizes(
        y if known else None, x if known else None, z if _is_length(z) else None, t if _is_time(t) else None
    )
    notes = [f"its {each} is not used" for each in wrong]
    if sizes.z_um and not known:
        notes.append(
            "its slices have a spacing and its pixels no size: masks in .ome.tif and .zarr have it, plain TIFF not"
        )
    if [axis.name for axis in pages] == ["z", "t"]:
        notes.append("its slices are counted before its times, so that a mask has both as slices in a row")
    return sizes, "; ".join(notes)


def _is_length(size_um: float | None) -> bool:
    return size_um is not None and SMALLEST_UM <= size_um <= LARGEST_UM


def _is_time(seconds: float | None) -> bool:
    return seconds is not None and SHORTEST_S <= seconds <= LONGEST_S


def coarsening(finest: int, coarse: int) -> float:
    """Return how many pixels of the finest level one of a coarser level is wide: whole, where rounding may explain it.

    >>> coarsening(1000, 250), coarsening(1001, 126), coarsening(1001, 125), coarsening(1000, 300)
    (4.0, 8.0, 8.0, 3.3333333333333335)
    """
    whole = max(round(finest / coarse), 1)
    return float(whole) if coarse in (finest // whole, -(-finest // whole)) else finest / coarse


def step_between(fine: Sides, coarse: Sides) -> int | None:
    """How many fine pixels, each way, one of a coarser level stands for; None where that is no whole number above 1.

    The last row and column may stand for fewer, or may have been dropped.

    >>> step_between((1000, 4001), (250, 1000)), step_between((1000, 4001), (250, 1001))
    (4, 4)
    >>> step_between((1000, 4001), (300, 1200)), step_between((1000, 4001), (500, 1000))
    (None, None)
    """
    step = round(max(fine) / max(coarse))
    whole = step > 1 and all(few in (many // step, -(-many // step)) for many, few in zip(fine, coarse, strict=True))
    return step if whole else None
