"""Which level of a pyramid is read where an image is to be seen smaller than it is, and whether it shows the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass

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

_UNLIKE = 0.5
"""Of a channel's variance, what a level may be off the means of the pixels that it covers, in any square. Of a slide of
tissue, packed by JPEG of quality 30, it is off by less than 0.3; another picture is by 1 and more."""

_PICKED = 0.25
"""How far the pixels of a level may follow one place among those that they cover more than the others. For every second
or fourth pixel that is 1, and at least 0.46 when packed so; for means and Gaussian filters it is under 0.08."""

_NEGLIGIBLE = 0.02
"""Of the range of grey values, what makes no difference, be it rounding, packing or noise."""

_ROUNDING = 2.0
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
    with np.errstate(all="ignore"):  # of NaN and infinity, of which no comparison is true
        seen = _Compared.together([_compare(level, square) for square in _squares(ours, theirs, level.step)])
        rounding = 0.0 if ours.dtype.kind == "f" else _ROUNDING
        negligible = np.maximum(rounding, _NEGLIGIBLE * np.subtract(*np.percentile(seen.means, (99, 1), axis=1))) ** 2
        as_good = (seen.off <= _UNLIKE * seen.means.var(axis=1)) & (seen.picked <= _PICKED)
        shows_it = bool(np.all((seen.off <= negligible) | as_good))
    return "" if shows_it else "its pixels are not means of those that they cover"


@dataclass(frozen=True)
class _Compared:
    """Pixels of a level beside the blocks that they cover."""

    means: np.ndarray
    """(C, n), of the blocks."""
    off: np.ndarray
    """(C,), mean squared difference of the level from them; of several squares, where it is largest."""
    apart: np.ndarray
    """(C, step, step), squared differences of the pixels at each place in a block from the means, added up."""
    along: np.ndarray
    """The same differences times what the level is off: as much as `apart` at a place of which it was taken."""

    @classmethod
    def together(cls, squares: Sequence[_Compared]) -> _Compared:
        return cls(
            np.concatenate([each.means for each in squares], axis=1),
            np.max([each.off for each in squares], axis=0),
            np.sum([each.apart for each in squares], axis=0),
            np.sum([each.along for each in squares], axis=0),
        )

    @property
    def picked(self) -> np.ndarray:
        """(C,): how far the level follows the place in a block that it follows most; 1 where it is the pixel there."""
        return np.max(self.along / np.maximum(self.apart, np.finfo(float).tiny), axis=(1, 2))


def _compare(level: Enlarged, square: Region) -> _Compared:
    """Compare a square of the middle page."""
    page, step = (level.fine.info.pages - 1) // 2, level.step
    covered = level.fine.crop(page, Region(*(step * each for each in astuple(square)))).astype(np.float64)
    blocks = covered.reshape(len(covered), square.height, step, square.width, step)
    means = blocks.mean(axis=(2, 4), keepdims=True)
    off, differences = level.stored.crop(page, square)[:, :, None, :, None] - means, blocks - means
    apart, along = ((differences * other).sum(axis=(1, 3)) for other in (differences, off))
    return _Compared(means.reshape(len(covered), -1), (off**2).mean(axis=(1, 2, 3, 4)), apart, along)


def _squares(fine: ImageInfo, coarse: ImageInfo, step: int) -> Iterator[Region]:
    """Some squares of a level all of whose pixels cover whole squares of a finer one."""
    height, width = (min(many // step, few) for many, few in zip(fine.region.sides, coarse.region.sides, strict=True))
    for y in spread_over(height, _SIDE):
        for x in spread_over(width, _SIDE):
            yield Region(y, x, min(_SIDE, height), min(_SIDE, width))
