"""The levels of a pyramid as they are shown: upright, and placed in pixels of the finest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unet_deploy.images import ImageInfo
from unet_deploy.images.orientation import upright_order
from unet_deploy.images.sizes import LevelPlace
from unet_deploy.tiling import Region


@dataclass(frozen=True)
class Grid:
    """Pixels that show the whole image, upright."""

    height: int
    width: int
    step_y: float
    """Pixels of the finest level that one of these is high."""
    step_x: float

    def part(self, region: Region) -> Region:
        """Which pixels show a region of the finest level: all that lie in it, whole or not, and one in any case."""
        y = min(math.floor(region.y / self.step_y), self.height - 1)
        x = min(math.floor(region.x / self.step_x), self.width - 1)
        bottom = min(self.height, max(y + 1, math.ceil(region.bottom / self.step_y)))
        right = min(self.width, max(x + 1, math.ceil(region.right / self.step_x)))
        return Region(y, x, bottom - y, right - x)


@dataclass(frozen=True)
class ShownLevel(Grid):
    """A level of a pyramid, or the only one of an image without."""

    number: int = 0
    channels: int = 1

    def numbers(self, part: Region | None = None) -> int:
        """How many numbers a part of it has, or a whole page."""
        height, width = part.sides if part else (self.height, self.width)
        return height * width * self.channels


def shown_levels(info: ImageInfo) -> tuple[ShownLevel, ...]:
    """Return the levels of an image that is opened at its finest, the finest first."""
    finest = (info.height, info.width)
    levels = []
    for number, sides in enumerate(info.levels or (finest,)):
        place = LevelPlace.of(number, finest, sides)
        steps = upright_order((place.step_y, place.step_x), info.orientation)
        height, width = (int(side) for side in upright_order(sides, info.orientation))
        levels.append(ShownLevel(height, width, *steps, number, info.channels))
    return tuple(levels)


def level_for(levels: Sequence[ShownLevel], step: int) -> ShownLevel:
    """Return the coarsest level whose pixels are no larger than `step` of the finest; the finest where none is.

    >>> two = [ShownLevel(8, 8, 1.0, 1.0, 0), ShownLevel(2, 2, 4.0, 4.0, 1)]
    >>> [level_for(two, step).number for step in (1, 2, 4, 8)]
    [0, 0, 1, 1]
    """
    fine = [level for level in levels if max(level.step_y, level.step_x) <= step]
    return fine[-1] if fine else levels[0]
