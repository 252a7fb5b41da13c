"""Where the tiles of an image lie. Integer arithmetic only: no pixel is read here.

A U-Net of valid convolutions turns an input of side n into an output of side n - 2 * margin. What a tile writes is
right to its last pixel when it reads `margin` pixels more on every side. A row of 8 pixels shows what happens
otherwise, under a network that adds up three neighbours, whose margin is 1:

>>> row = np.array([0, 0, 0, 1, 1, 0, 0, 0])
>>> def network(start, stop, pixels):  # the answer for pixels start..stop-1 of a row that is mirrored at its ends
...     return np.convolve(pixels[mirror(start - 1, stop + 1, len(pixels))], [1, 1, 1], "valid")
>>> network(0, 8, row)  # the whole row at once
array([0, 0, 1, 2, 2, 1, 0, 0])
>>> np.concatenate([network(0, 4, row[:4]), network(0, 4, row[4:])])  # two halves, each mirrored: a seam
array([0, 0, 1, 1, 1, 1, 0, 0])
>>> np.concatenate([network(0, 4, row), network(4, 8, row)])  # two halves that read one pixel of each other: none
array([0, 0, 1, 2, 2, 1, 0, 0])

Max-pooling fixes a phase besides: two tiles agree on the pixels they share only when their origins differ by a
multiple of `stride` (16 for the original network). Every plan keeps to that, so a tiled answer equals the answer for
the whole image in one pass; it costs the few surplus output pixels (4 for the original) that a tile then drops.

There is one coordinate system, the image's: a plan for a part of an image begins elsewhere, and its tiles are still
in pixels of the image.
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
    """A half-open rectangle in image pixels: its first pixel is at (y, x). It may hang over the image."""

    y: int
    x: int
    height: int
    width: int

    @property
    def origin(self) -> tuple[int, int]:
        """The first pixel, (y, x)."""
        return self.y, self.x

    @property
    def sides(self) -> Sides:
        return self.height, self.width

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
        """Where its pixels are in an array of the whole image."""
        return slice(self.y, self.bottom), slice(self.x, self.right)

    def slices_in(self, other: Region) -> tuple[slice, slice]:
        """Where its pixels are in an array of another region, inside which it lies.

        >>> Region(100, 40, 8, 8).slices_in(Region(96, 32, 64, 64))
        (slice(4, 12, None), slice(8, 16, None))
        """
        return self.moved(-other.y, -other.x).slices


@dataclass(frozen=True, slots=True)
class Tile:
    """One step of a plan: what the network reads, and what of its answer is written.

    read.y, read.x
    +---------------------------+
    |  halo, `margin` pixels    |
    |    write.y, write.x       |    The network's answer for `read` begins exactly at the first pixel of `write`.
    |   +--------------------+  |    Where it is larger than `write`, the surplus on the right and below is
    |   |       write        |  |    dropped: the next tile begins there, or the image ends.
    |   |                    |  |
    |   +--------------------+  |    `read` may hang over the image, and is mirrored there.
    |     surplus               |    `write` is inside it; the writes of a plan cover its region exactly once.
    |  halo                     |
    +---------------------------+
    """

    read: Region
    write: Region

    def divided(self, geometry: Geometry, most: Sides) -> list[Tile]:
        """Tiles of at most `most` that write the same pixels from what this one reads, with the same answer."""
        return list(plan_tiles(*self.write.sides, geometry, tile=most, origin=self.write.origin))


def legal_side(least: int, geometry: Geometry) -> int:
    """The smallest input side, in pixels, that the network accepts and that is at least `least`."""
    steps = max(0, math.ceil((least - geometry.base) / geometry.stride))
    return geometry.base + steps * geometry.stride


def least_side(geometry: Geometry) -> int:
    """The smallest side of a network's input that tiles may have: their answers are a stride apart at least.

    >>> from types import SimpleNamespace
    >>> least_side(SimpleNamespace(margin=92, stride=16, base=188))
    204
    """
    return legal_side(2 * geometry.margin + geometry.stride, geometry)


def mirror(start: int, stop: int, size: int) -> np.ndarray:
    """Indices into an axis of `size` pixels for positions start..stop-1, mirrored at both borders.

    The border pixel is not repeated (d c b | a b c d | c b a), as often as it takes, so a margin may be wider
    than the image. Returns (stop - start,) intp. Section 3 of Ronneberger et al. 2015: missing context is
    extrapolated by mirroring.

    >>> mirror(-3, 7, 4)
    array([3, 2, 1, 0, 1, 2, 3, 2, 1, 0])
    """
    if size == 1:
        return np.zeros(stop - start, np.intp)
    period = 2 * (size - 1)
    folded = np.abs(np.arange(start, stop, dtype=np.intp)) % period
    return np.where(folded < size, folded, period - folded)


@dataclass(frozen=True)
class TilePlan(Sequence[Tile]):
    """The tiles of a region of an image, row by row, made as they are asked for.

    region: what the tiles write, together and each pixel once; the whole image, or a part of it. A part has the
    answer of the whole where its origin is a multiple of the stride, see `aligned`.
    step_y, step_x: pixels between neighbouring tile origins, multiples of the stride.
    least: the smallest input (height, width) that the runtime takes; what a tile at the border lacks is mirrored.

    >>> from types import SimpleNamespace
    >>> original = SimpleNamespace(margin=92, stride=16, base=188)  # Ronneberger et al. 2015
    >>> plan = plan_tiles(1000, 1500, original, tile=572, origin=(32, 64))
    >>> len(plan), plan.rows, plan.columns
    (12, 3, 4)
    >>> plan[0]
    Tile(read=Region(y=-60, x=-28, height=572, width=572), write=Region(y=32, x=64, height=384, width=384))
    """

    region: Region
    step_y: int
    step_x: int
    margin: int
    stride: int
    base: int
    least: Sides = (0, 0)

    @property
    def height(self) -> int:
        return self.region.height

    @property
    def width(self) -> int:
        return self.region.width

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
        y, x = self.region.y + row * self.step_y, self.region.x + column * self.step_x
        write = Region(y, x, self.step_y, self.step_x).intersection(self.region)
        sides = (self._input_side(side, least) for side, least in zip(write.sides, self.least, strict=True))
        return Tile(Region(y - self.margin, x - self.margin, *sides), write)

    def touching(self, region: Region) -> list[Tile]:
        """The tiles that write something of a region."""
        part = region.intersection(self.region)
        if not part.height or not part.width:
            return []
        top, left = part.y - self.region.y, part.x - self.region.x
        rows = range(top // self.step_y, -(-(top + part.height) // self.step_y))
        columns = range(left // self.step_x, -(-(left + part.width) // self.step_x))
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
        """Pixels that the network reads for every pixel that is written: 1 is no halo at all."""
        heights = sum(self._tile(r * self.columns).read.height for r in range(self.rows))
        widths = sum(self._tile(c).read.width for c in range(self.columns))
        return heights * widths / (self.height * self.width)


def plan_tiles(
    height: int,
    width: int,
    geometry: Geometry,
    *,
    tile: int | Sides,
    least: Sides = (0, 0),
    origin: tuple[int, int] = (0, 0),
) -> TilePlan:
    """Cut height x width pixels into tiles whose network input is at most `tile` pixels, a side or (height, width).

    least: no input is smaller than this (height, width); equal to `tile`, all inputs have one shape.
    origin: the first pixel (y, x) in the image, for a part of one.
    Raises UsageError when `tile` is too small for the network.

    >>> from types import SimpleNamespace
    >>> original = SimpleNamespace(margin=92, stride=16, base=188)
    >>> [tile.write.x for tile in plan_tiles(384, 1000, original, tile=572)]
    [0, 384, 768]
    """
    if height < 1 or width < 1:
        raise ValueError(f"an image of {height} x {width} pixels has nothing to cut")
    tall, wide = (tile, tile) if isinstance(tile, int) else tile
    step_y, step_x = _step(height, geometry, tall), _step(width, geometry, wide)
    region = Region(*origin, height, width)
    return TilePlan(region, step_y, step_x, geometry.margin, geometry.stride, geometry.base, least)


def aligned(region: Region, stride: int) -> Region:
    """The region from the next multiples of the stride on, up and left: tiles pool there as they do in the whole image.

    >>> aligned(Region(301, 517, 100, 100), 16)
    Region(y=288, x=512, height=113, width=105)
    """
    y, x = region.y // stride * stride, region.x // stride * stride
    return Region(y, x, region.bottom - y, region.right - x)


def _step(side: int, geometry: Geometry, tile: int) -> int:
    """Pixels between tile origins: the largest multiple of the stride, or what one tile for all takes."""
    stride, least = geometry.stride, least_side(geometry)
    if tile < least:
        raise UsageError(f"--tile-size {tile}: this model needs at least {least} pixels a side")
    largest_input = geometry.base + (tile - geometry.base) // stride * stride
    most = (largest_input - 2 * geometry.margin) // stride * stride
    return min(most, -(-side // stride) * stride)
