"""Which level of a pyramid is read where an image is to be seen smaller than it is, and whether it shows the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from typing_extensions import Self

from unet_deploy.errors import ImageError
from unet_deploy.images import ImageInfo, ImageSource
from unet_deploy.images.enlarged import Enlarged
from unet_deploy.images.likeness import spread_over
from unet_deploy.images.sizes import step_between
from unet_deploy.tiling import Region

TOLERANCE = 1.02
"""How many times as large as wanted the pixels of a level may be: scales are taken within 2 % of what is asked for."""

_SIDE = 32
"""Pixels of a level, each way, that are compared in each square."""

_SHARE = 0.25
"""Of the variance among the pixels that one of a level covers, what it may be off their mean: every second or fourth
pixel without a mean is off by nearly all of it, a mean over a little more than it covers by a twentieth."""

_NEGLIGIBLE = 0.02
"""Of the range of grey values, what pixels of a level may be off, be it rounding, packing or noise that is kept."""

_ROUNDING = 1.5
"""Whole grey values, likewise: what rounding and JPEG leave where there is nothing to see."""


def levels_for(info: ImageInfo, scale: float) -> list[int]:
    """The levels whose pixels are as fine as a scale wants them, the coarsest first.

    info: of an image as it is open. scale: how large it is to be seen.
    """
    most = min(TOLERANCE / scale, *info.region.sides)
    steps = [(step_between(info.region.sides, sides), level) for level, sides in enumerate(info.levels)]
    return [level for _, level in sorted((step, level) for step, level in steps if step and step <= most)[::-1]]


@dataclass(frozen=True)
class LevelRead:
    """An image as it is read to be seen at a scale."""

    source: ImageSource
    """In pixels of the level that the image is open at, whatever level is read."""
    level: int | None = None
    """The coarser level that is read; None for the one that the image is open at."""
    passed_over: str = ""
    """Why coarser levels are not read that are fine enough, in words; empty where there is none."""


class OneLevel:
    """An image that is read at the level that it is open at, whatever the scale. A context manager; it is left open."""

    def __init__(self, image: ImageSource) -> None:
        self.image = image

    def at(self, scale: float) -> LevelRead:
        """The image as it is read to be seen at a scale."""
        return LevelRead(self.image)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Pyramid(OneLevel):
    """An image whose coarser levels are read where they are fine enough, each opened when a scale first wants it.

    A level is looked at before it is used: where it is not what the finer one shows, it is passed over.
    """

    def __init__(self, image: ImageSource) -> None:
        super().__init__(image)
        self._known: dict[int, Enlarged | str] = {}
        """Levels that are open, and what speaks against the others that were wanted."""

    def at(self, scale: float) -> LevelRead:
        passed_over: list[str] = []
        for level in levels_for(self.image.info, scale):
            if level not in self._known:
                self._known[level] = self._opened(level)
            known = self._known[level]
            if isinstance(known, Enlarged):
                return LevelRead(known, level, "; ".join(passed_over))
            passed_over.append(f"level {level} would do, but {known}")
        return LevelRead(self.image, None, "; ".join(passed_over))

    def _opened(self, level: int) -> Enlarged | str:
        """A level, open; or what speaks against it, in words."""
        try:
            if self.image.may_lack_data:
                return "where data is missing is known of the finest alone"
            with ExitStack() as stack:
                enlarged = stack.enter_context(Enlarged.of(self.image, level))
                against = _against(enlarged)
                if not against:
                    stack.pop_all()
                return against or enlarged
        except ImageError as error:
            return f"cannot be read ({error})"

    def __exit__(self, *error: object) -> None:
        for known in self._known.values():
            if isinstance(known, Enlarged):
                known.close()


def _against(level: Enlarged) -> str:
    """What speaks against a level, in words; empty where it is what the finer one shows."""
    ours, theirs = level.fine.info, level.stored.info
    if (ours.pages, ours.channels, ours.dtype) != (theirs.pages, theirs.channels, theirs.dtype):
        return "its pages, channels or kind of pixels are others"
    same = _shows_the_same(level.fine, level.stored, level.step)
    return "" if same else "its pixels are not the means of those that they cover"


def _shows_the_same(fine: ImageSource, coarse: ImageSource, step: int) -> bool:
    """Whether pixels of a level are about the means of those that they cover, in some squares of the middle page."""
    page, of_squares = (fine.info.pages - 1) // 2, []
    for square in _squares(fine.info, coarse.info, step):
        below = Region(*(step * each for each in (square.y, square.x, square.height, square.width)))
        covered = fine.crop(page, below).astype(np.float64)
        blocks = covered.reshape(len(covered), square.height, step, square.width, step)
        level = coarse.crop(page, square)
        of_squares.append([each.ravel() for each in (level, blocks.mean(axis=(2, 4)), blocks.var(axis=(2, 4)))])
    level, means, variances = map(np.concatenate, zip(*of_squares, strict=True))
    negligible = _NEGLIGIBLE * float(np.subtract(*np.percentile(means, (99, 1))))
    if fine.info.dtype.kind != "f":
        negligible = max(negligible, _ROUNDING)
    # Of NaN no comparison is true.
    return bool(np.mean((level - means) ** 2) <= max(_SHARE * float(variances.mean()), negligible**2))


def _squares(fine: ImageInfo, coarse: ImageInfo, step: int) -> Iterator[Region]:
    """Some squares of a level all of whose pixels cover whole squares of a finer one."""
    height, width = (min(many // step, few) for many, few in zip(fine.region.sides, coarse.region.sides, strict=True))
    for y in spread_over(height, _SIDE):
        for x in spread_over(width, _SIDE):
            yield Region(y, x, min(_SIDE, height), min(_SIDE, width))
