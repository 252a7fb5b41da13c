"""What is seen of an image while it streams by, added up in squares: all that choosing regions needs of its pixels.

A region is 2 x 2 cells, and begins at any cell, so that regions lie half a side apart:

    |_a_|_b_|_c_|_d_|        regions of this row   ab  bc  cd
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from unet_deploy.errors import UsageError
from unet_deploy.images.grey import GreyScale
from unet_deploy.model.card import ModelCard
from unet_deploy.stream.pipeline import DoneTile
from unet_deploy.tiling import Region

BYTES = 25
"""For a pixel of the tile that is being added up."""


@dataclass(frozen=True)
class Grid:
    """The whole cells of a part of an image, in its middle: less than half a cell is left over on each side.

    >>> grid = Grid.over(Region(0, 0, 70, 100), side=32)
    >>> grid
    Grid(y=3, x=2, cell=16, rows=4, columns=6)
    >>> grid.region_at(0, 4)
    Region(y=3, x=66, height=32, width=32)
    """

    y: int
    x: int
    cell: int
    """Pixels a side."""
    rows: int
    columns: int

    @classmethod
    def over(cls, part: Region, side: int, name: str = "image") -> Grid:
        """The grid for regions of a side in pixels, made even. Raises UsageError where not one lies in the part."""
        cell = max(1, -(-side // 2))
        if min(part.sides) < 2 * cell:
            raise UsageError(
                f"{name}: {part.height} x {part.width} pixels are less than one region of {2 * cell} pixels a side; "
                "annotate all of it, or give a smaller --side"
            )
        rows, columns = (length // cell for length in part.sides)
        y, x = (first + length % cell // 2 for first, length in zip(part.origin, part.sides, strict=True))
        return cls(y, x, cell, rows, columns)

    @property
    def covered(self) -> Region:
        return Region(self.y, self.x, self.rows * self.cell, self.columns * self.cell)

    def region_at(self, row: int, column: int) -> Region:
        """The region of the cells (row, column) to (row + 1, column + 1)."""
        return Region(self.y + row * self.cell, self.x + column * self.cell, 2 * self.cell, 2 * self.cell)

    def meeting(self, region: Region) -> tuple[range, range]:
        """The rows and the columns of the regions that share pixels with another one, in the grid or beyond.

        >>> Grid(y=3, x=2, cell=16, rows=4, columns=6).meeting(Region(35, 50, 10, 1))
        (range(1, 3), range(2, 4))
        """
        spans = (self.y, region.y, region.bottom), (self.x, region.x, region.right)
        ends = [((start - first) // self.cell - 1, -((first - stop) // self.cell)) for first, start, stop in spans]
        return range(*ends[0]), range(*ends[1])


@dataclass(frozen=True, eq=False)
class Sums:
    """Over the pixels of each cell, or of each region, that hold data: arrays (..., rows, columns) float64."""

    pixels: np.ndarray
    """How many there are."""
    doubt: np.ndarray
    """Squares of `Decision.doubts`: what is near to a coin's toss counts, and the slopes of clear edges little."""
    borders: np.ndarray
    """Pairs of neighbours of different classes, in both directions."""
    texture: np.ndarray
    """Squared differences of neighbours' grey values, of all channels."""
    found: np.ndarray
    """(K - 1, rows, columns): pixels of each class but the background."""
    grey: np.ndarray
    """(C, rows, columns): grey values as the network sees them."""
    grey_squared: np.ndarray

    @classmethod
    def of(cls, sums: np.ndarray, classes: int) -> Sums:
        """Of all of them in this order, (4 + K - 1 + 2 C, rows, columns)."""
        pixels, doubt, borders, texture, *rest = sums
        found, grey = np.split(np.stack(rest), [classes - 1])
        grey, squared = np.split(grey, 2)
        return cls(pixels, doubt, borders, texture, found, grey, squared)


def _planes(channels: int, classes: int) -> int:
    """How many numbers are added up of each cell."""
    return 4 + classes - 1 + 2 * channels


def held_bytes(grid: Grid, channels: int, classes: int) -> int:
    """What the sums of a page take, with those of its regions and what candidates are made of."""
    return 4 * 8 * _planes(channels, classes) * grid.rows * grid.columns


class Cells:
    """A consumer of a page's tiles that adds up what is in the cells of a grid; whatever the tiles, the same.

    grey: of the page. card: of the model as it is open.
    """

    def __init__(self, grid: Grid, grey: GreyScale, card: ModelCard) -> None:
        self._grid, self._decision, self._classes = grid, card.decision, len(card.classes)
        self._grey = grey.offset[:, None, None], grey.scale[:, None, None]
        self._sums = np.zeros((_planes(card.channels, self._classes), grid.rows, grid.columns))
        self._seams = [_Seam(grid.covered) for _ in range(1 + card.channels)]

    def __call__(self, done: DoneTile, /) -> None:
        inside = done.tile.write.intersection(self._grid.covered)
        if not inside.height or not inside.width:
            return
        part = done.cut(inside)
        place = inside.moved(-self._grid.y, -self._grid.x)
        rows, columns = (
            np.arange(first, end) // self._grid.cell
            for first, end in zip(place.origin, (place.bottom, place.right), strict=True)
        )
        there = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        starts = [np.flatnonzero(np.diff(each, prepend=-1)) for each in (rows, columns)]
        for sums, plane in zip(self._sums, self._added(part, place), strict=True):
            known = plane if part.data is None else np.where(part.data, plane, 0)
            down = np.add.reduceat(known, starts[0], axis=0, dtype=np.float64)
            sums[there] += np.add.reduceat(down, starts[1], axis=1)

    def _added(self, part: DoneTile, place: Region) -> Iterator[np.ndarray]:
        """What is added up, (h, w) each, in the order of `Sums.of`; one after another, for a tile may be large."""
        if part.probabilities is None:
            raise UsageError("this model answers with labels alone, and does not say what it is unsure of")
        yield np.ones(part.labels.shape, np.uint8)
        yield self._decision.doubts(part.probabilities) ** 2
        down, right = self._seams[0].differences(part.labels.astype(np.int16), place)
        yield (down != 0).astype(np.uint8) + (right != 0)
        offset, scale = self._grey
        grey = np.clip((part.image - offset) * scale, -1, 2)
        texture = np.zeros(part.labels.shape, np.float32)
        for seam, channel in zip(self._seams[1:], grey, strict=True):
            down, right = seam.differences(channel, place)
            texture += down**2 + right**2
        yield texture
        yield from (part.labels == label for label in range(1, self._classes))
        yield from grey
        yield from grey**2

    @property
    def regions(self) -> Sums:
        """The sums of every region, (..., rows - 1, columns - 1)."""
        cells = self._sums
        return Sums.of(cells[:, :-1, :-1] + cells[:, 1:, :-1] + cells[:, :-1, 1:] + cells[:, 1:, 1:], self._classes)


class _Seam:
    """The last row and column of the tiles before: neighbours may lie in two tiles, which come row by row."""

    def __init__(self, covered: Region) -> None:
        self._above, self._left = np.zeros(covered.width, np.float32), np.zeros(covered.height, np.float32)

    def differences(self, plane: np.ndarray, place: Region) -> tuple[np.ndarray, np.ndarray]:
        """By how much each pixel of a plane (h, w) differs from that above it and that to its left.

        place: of the plane, counted from the first pixel of all; what has no neighbour there differs by 0.
        """
        rows, columns = place.slices
        above = self._above[columns] if place.y else plane[0]
        left = self._left[rows] if place.x else plane[:, 0]
        down = np.diff(plane, axis=0, prepend=above[None].astype(plane.dtype))
        right = np.diff(plane, axis=1, prepend=left[:, None].astype(plane.dtype))
        self._above[columns], self._left[rows] = plane[-1], plane[:, -1]
        return down, right
