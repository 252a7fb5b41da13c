"""Which pixels a tile of a zoom shows. Integer arithmetic only: no pixel is read here.

Zooms are counted as viewers of deep zooms count them: the last is one to one, each before it half as large, and at
zoom 0 the whole image is one pixel. An image of 5 x 3 pixels has four, and in tiles of 2 pixels, the second last is

    | 0,0   | 1,0 |        3 x 2 pixels, each of 2 x 2 of the image; where the image ends they show less of it
"""

from __future__ import annotations

from dataclasses import dataclass

from unet_deploy.errors import UsageError
from unet_deploy.tiling import Region

TILE = 256
"""Side of a tile in pixels of the screen."""


@dataclass(frozen=True)
class ZoomTile:
    """A square of a zoom, which may be cut off where the image ends."""

    region: Region
    """What of the image it shows, in pixels of the finest level as it is shown."""
    step: int
    """How many of these one of its pixels is high and wide."""

    @property
    def rows(self) -> range:
        """The numbers of its rows among those of the whole zoom."""
        first = self.region.y // self.step
        return range(first, first - (-self.region.height // self.step))

    @property
    def columns(self) -> range:
        """The numbers of its columns among those of the whole zoom."""
        first = self.region.x // self.step
        return range(first, first - (-self.region.width // self.step))


@dataclass(frozen=True)
class Zooms:
    """All zooms of an image of these sides, in pixels of the finest level as it is shown."""

    height: int
    width: int

    @property
    def last(self) -> int:
        """The zoom at which a pixel of the screen is one of the image.

        >>> Zooms(5, 3).last, Zooms(1, 1).last, Zooms(256, 4).last
        (3, 0, 8)
        """
        return (max(self.height, self.width) - 1).bit_length()

    def step(self, zoom: int) -> int:
        """How many pixels of the image one of the screen is wide. Raises UsageError for a zoom that there is not."""
        if not 0 <= zoom <= self.last:
            raise UsageError(f"there is no zoom {zoom}; there are 0 to {self.last}")
        return 1 << (self.last - zoom)

    def tiles(self, zoom: int) -> tuple[int, int]:
        """How many rows and columns of tiles a zoom has."""
        side = TILE * self.step(zoom)
        return -(-self.height // side), -(-self.width // side)

    def tile(self, zoom: int, column: int, row: int) -> ZoomTile:
        """A tile by its place. Raises UsageError for a place that there is not."""
        rows, columns = self.tiles(zoom)
        if not (0 <= row < rows and 0 <= column < columns):
            raise UsageError(f"there is no tile {column}, {row} at zoom {zoom}; there are {columns} x {rows}")
        step = self.step(zoom)
        y, x = row * TILE * step, column * TILE * step
        region = Region(y, x, min(TILE * step, self.height - y), min(TILE * step, self.width - x))
        return ZoomTile(region, step)
