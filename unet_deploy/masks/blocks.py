"""Blocks of a mask: those that tiles fill together, and the levels of every second pixel that they make."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_deploy.images.sizes import coarsening
from unet_deploy.masks import MaskForm
from unet_deploy.tiling import Region

SMALLEST_LEVEL = 1024
"""A pyramid ends with the first level that is no larger than this."""

_SIDE = 256
_EMPTY = 300
"""Bytes of a block of zeros, with its place in the file."""


def touched(region: Region, side: int) -> Iterator[tuple[int, int]]:
    """Row and column of every block of `side` pixels that a region has a part of.

    >>> list(touched(Region(y=0, x=200, height=100, width=100), 256))
    [(0, 0), (0, 1)]
    """
    for row in range(region.y // side, -(-region.bottom // side)):
        for column in range(region.x // side, -(-region.right // side)):
            yield row, column


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Height and width of every level of a pyramid, the finest first.

    >>> level_sizes(2500, 1300)
    [(2500, 1300), (1250, 650), (625, 325)]
    """
    sizes = [(height, width)]
    while max(sizes[-1]) > SMALLEST_LEVEL:
        height, width = sizes[-1]
        sizes.append((-(-height // 2), -(-width // 2)))
    return sizes


def nearest(finer: int, coarser: int) -> np.ndarray:
    """Which pixels of a finer level those of a coarser one are, along one axis, (coarser,).

    A pixel takes what lies under its centre, and the earlier of two where its centre lies between them:

        finer     | 0 | 1 | 2 | 3 | 4 | 5 |
        coarser   |   0   |   1   |   2   |       0 2 4
                  |     0     |     1     |       1 4

    >>> nearest(6, 3).tolist(), nearest(6, 2).tolist(), nearest(5, 3).tolist()
    ([0, 2, 4], [1, 4], [0, 2, 4])
    """
    under = np.ceil((np.arange(coarser) + 0.5) * coarsening(finer, coarser)).astype(np.intp) - 1
    return np.minimum(under, finer - 1)


def packed_bytes(form: MaskForm, share: float, levels: int | None = None) -> int:
    """The size of a mask with its levels, whose pixels pack to this share of their bytes and whose zeros pack away.

    levels: how many there are of a pyramid, by default all.
    It is counted in blocks of 256 for every format: what of a file is not pixels is small beside the doubt in `share`.
    """

    def blocks(height: int, width: int) -> int:
        each = sum(-(-tall // _SIDE) * -(-wide // _SIDE) for tall, wide in level_sizes(height, width)[:levels])
        return each * form.image.pages * form.planes

    written = form.written
    packed = blocks(written.height, written.width) * _SIDE * _SIDE * form.dtype.itemsize * share
    return int(packed) + blocks(form.image.height, form.image.width) * _EMPTY


@dataclass
class PartialBlock:
    """A block that some tiles have yet to write to. place: where in the page it lies, with the pixels that it has."""

    place: Region
    pixels: np.ndarray
    missing: int
    """Pixels that are to be written and were not."""

    @classmethod
    def empty(cls, place: Region, wanted: Region, dtype: np.dtype[Any]) -> PartialBlock:
        """A block of zeros, which is full when the part of `wanted` in it is written."""
        inside = place.intersection(wanted)
        return cls(place, np.zeros((place.height, place.width), dtype), inside.height * inside.width)

    def take(self, region: Region, pixels: np.ndarray) -> bool:
        """Take its part of a region's pixels (h, w); returns whether it is full now."""
        shared = self.place.intersection(region)
        part = pixels[shared.moved(-region.y, -region.x).slices]
        self.pixels[shared.moved(-self.place.y, -self.place.x).slices] = part
        self.missing -= part.size
        return self.missing == 0


class PartialBlocks:
    """The blocks of a mask that wait for more tiles, by what the mask knows them by.

    wanted: what will be written of each page.
    """

    def __init__(self, wanted: Region, dtype: np.dtype[Any]) -> None:
        self._wanted, self._dtype = wanted, dtype
        self._blocks: dict[Hashable, PartialBlock] = {}

    def take(self, name: Hashable, place: Region, region: Region, pixels: np.ndarray) -> np.ndarray | None:
        """Give a block its part of a region's pixels (h, w). Returns the block's own (h, w) when it is full, once."""
        block = self._blocks.get(name)
        if block is None:
            block = self._blocks[name] = PartialBlock.empty(place, self._wanted, self._dtype)
        if not block.take(region, pixels):
            return None
        del self._blocks[name]
        return block.pixels

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels that wait."""
        return sum(block.pixels.nbytes for block in self._blocks.values())

    def clear(self) -> None:
        self._blocks.clear()
