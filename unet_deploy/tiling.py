"""Where the tiles of an image lie. Integer arithmetic only: no pixel is read here.

A U-Net of valid convolutions turns an input of side n into an output of side n - 2 * margin. Its max-pooling
fixes a phase: two tiles agree on the pixels they share only when their origins differ by a multiple of
`stride` (16 for the original network). Every plan keeps to that, so a tiled answer equals the answer for the
whole image in one pass; it costs the few surplus output pixels (4 for the original) that a tile then drops.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, overload

import numpy as np

from unet_deploy.errors import UsageError

Sides = tuple[int, int]
"""(height, width) in pixels."""


class Geometry(Protocol):
    """What tiling must know of a network, all in pixels; legal input sides are base + k * stride."""

    @property
    def margin(self) -> int: ...
    @property
    def stride(self) -> int: ...
    @property
    def base(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Region:
    """A half-open rectangle in image pixels. It may hang over the image."""

    y: int
    x: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        return self.y + self.height

    @property
    def right(self) -> int:
        return self.x + self.width

    def moved(self, y: int, x: int) -> Region:
        return Region(self.y + y, self.x + x, self.height, self.width)

    def intersection(self, other: Region) -> Region:
        """What lies in both; empty, with sides of 0, where they do not meet."""
        y, x = max(self.y, other.y), max(self.x, other.x)
        return Region(y, x, max(0, min(self.bottom, other.bottom) - y), max(0, min(self.right, other.right) - x))

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.y, self.bottom), slice(self.x, self.right)


@dataclass(frozen=True, slots=True)
class Tile:
    """One step of a plan. The network's output for `read` starts exactly at `write`'s first pixel.

    read: what the network sees; where it hangs over the image, the reader mirrors.
    write: what the mask gets; inside the image. The writes of a plan cover it exactly once.
    """

    read: Region
    write: Region

    def divided(self, geometry: Geometry, most: Sides) -> list[Tile]:
        """Tiles of at most `most` that write the same pixels from what this one reads, with the same answer."""
        return [
            Tile(part.read.moved(self.write.y, self.write.x), part.write.moved(self.write.y, self.write.x))
            for part in plan_tiles(self.write.height, self.write.width, geometry, tile=most)
        ]


def legal_side(least: int, geometry: Geometry) -> int:
    """The smallest input side, in pixels, that the network accepts and that is at least `least`."""
    steps = max(0, math.ceil((least - geometry.base) / geometry.stride))
    return geometry.base + steps * geometry.stride


def mirror(start: int, stop: int, size: int) -> np.ndarray:
    """Indices into an axis of `size` pixels for positions start..stop-1, mirrored at both borders.

    The border pixel is not repeated (d c b | a b c d | c b a), as often as it takes, so a margin may be wider
    than the image. Returns (stop - start,) intp. Section 3 of Ronneberger et al. 2015: missing context is
    extrapolated by mirroring.
    """
    if size == 1:
        return np.zeros(stop - start, np.intp)
    period = 2 * (size - 1)
    folded = np.abs(np.arange(start, stop, dtype=np.intp)) % period
    return np.where(folded < size, folded, period - folded)


@dataclass(frozen=True)
class TilePlan(Sequence[Tile]):
    """The tiles of a height x width image, row by row, made as they are asked for.

    step_y, step_x: pixels between neighbouring tile origins, multiples of the stride.
    least: the smallest input (height, width) that the runtime takes; what a tile at the border lacks is mirrored.
    """

    height: int
    width: int
    step_y: int
    step_x: int
    margin: int
    stride: int
    base: int
    least: Sides = (0, 0)

    @property
    def rows(self) -> int:
        return -(-self.height // self.step_y)

    @property
    def columns(self) -> int:
        return -(-self.width // self.step_x)

    def __len__(self) -> int:
        return self.rows * self.columns

    @overload
    def __getitem__(self, index: int) -> Tile: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tile]: ...
    def __getitem__(self, index: int | slice) -> Tile | list[Tile]:
        if isinstance(index, slice):
            return [self._tile(i) for i in range(*index.indices(len(self)))]
        return self._tile(range(len(self))[index])

    def __iter__(self) -> Iterator[Tile]:
        return map(self._tile, range(len(self)))

    def _tile(self, index: int) -> Tile:
        row, column = divmod(index, self.columns)
        y, x = row * self.step_y, column * self.step_x
        height, width = min(self.step_y, self.height - y), min(self.step_x, self.width - x)
        sides = (self._input_side(side, least) for side, least in zip((height, width), self.least, strict=True))
        return Tile(Region(y - self.margin, x - self.margin, *sides), Region(y, x, height, width))

    def touching(self, region: Region) -> list[Tile]:
        """The tiles that write something of a region."""
        rows = range(max(0, region.y // self.step_y), min(self.rows, -(-region.bottom // self.step_y)))
        columns = range(max(0, region.x // self.step_x), min(self.columns, -(-region.right // self.step_x)))
        return [self._tile(row * self.columns + column) for row in rows for column in columns]

    def _input_side(self, write: int, least: int) -> int:
        return legal_side(max(write + 2 * self.margin, least), self)

    @property
    def input_height(self) -> int:
        """Height in pixels of the largest tile that the network sees."""
        return self._input_side(min(self.step_y, self.height), self.least[0])

    @property
    def input_width(self) -> int:
        """Width in pixels of the largest tile that the network sees."""
        return self._input_side(min(self.step_x, self.width), self.least[1])

    @property
    def overhead(self) -> float:
        """Pixels that the network reads for every pixel of the image: 1 is no halo at all."""
        heights = sum(self._tile(r * self.columns).read.height for r in range(self.rows))
        widths = sum(self._tile(c).read.width for c in range(self.columns))
        return heights * widths / (self.height * self.width)


def plan_tiles(height: int, width: int, geometry: Geometry, *, tile: int | Sides, least: Sides = (0, 0)) -> TilePlan:
    """Cut a height x width image into tiles whose network input is at most `tile` pixels, a side or (height, width).

    least: no input is smaller than this (height, width); equal to `tile`, all inputs have one shape.
    Raises UsageError when `tile` is too small for the network.
    """
    if height < 1 or width < 1:
        raise ValueError(f"an image of {height} x {width} pixels has nothing to cut")
    tall, wide = (tile, tile) if isinstance(tile, int) else tile
    step_y, step_x = _step(height, geometry, tall), _step(width, geometry, wide)
    return TilePlan(height, width, step_y, step_x, geometry.margin, geometry.stride, geometry.base, least)


def _step(side: int, geometry: Geometry, tile: int) -> int:
    """Pixels between tile origins: the largest multiple of the stride, or what one tile for all takes."""
    if tile < geometry.base:
        raise UsageError(f"--tile-size {tile}: this model needs at least {geometry.base} pixels a side")
    stride = geometry.stride
    largest_input = geometry.base + (tile - geometry.base) // stride * stride
    most = (largest_input - 2 * geometry.margin) // stride * stride
    if most < stride:
        least = legal_side(2 * geometry.margin + stride, geometry)
        raise UsageError(f"--tile-size {tile}: tiles this small overlap entirely; take at least {least}")
    return min(most, -(-side // stride) * stride)
