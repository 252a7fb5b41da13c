"""The levels of a file as arrays, the finest first, down to one that is small enough to be shown whole.

Where the file has no such level it is made of the coarsest there is, once it is looked at: band by band, and kept.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache

from unet_deploy.images import ImageInfo
from unet_deploy.napari.lazy import LazyArray, ReadPage
from unet_deploy.tiling import Region
from unet_deploy.viewing.cut import Cut
from unet_deploy.viewing.layer import SMALL, Layer
from unet_deploy.viewing.levels import Grid, ShownLevel
from unet_deploy.viewing.overview import Overview, overview_grid
from unet_deploy.viewing.pixels import Pixels

_OVERVIEWS = 4
"""Of as many pages, which are kept in memory."""


@dataclass(frozen=True)
class Levels:
    """The levels of a file, of all its channels."""

    layer: Layer
    grids: tuple[Grid, ...]
    reads: tuple[ReadPage, ...]
    """How each is read."""

    @classmethod
    def of(cls, layer: Layer, cut: Cut, kept_as: str) -> Levels:
        """Those of an opened file. cut: how its pixels become fewer. kept_as: what tells overviews of it from others.

        Of a level of the file and one that is made of it, no pixel is read yet.
        """
        grids: list[Grid] = list(layer.levels)
        reads = [_reading(layer, level) for level in layer.levels]
        if layer.levels[-1].numbers() > SMALL:
            grids.append(overview_grid(layer.levels[-1], layer.zooms))
            reads.append(_Overviews(layer, cut, kept_as).read)
        return cls(layer, tuple(grids), tuple(reads))

    def arrays(self, channel: int | None = 0) -> list[LazyArray]:
        """The levels of a channel, (..., H, W) each; None for a picture of all channels, (..., H, W, C)."""
        return [self._array(grid, read, channel) for grid, read in zip(self.grids, self.reads, strict=True)]

    def _array(self, grid: Grid, read: ReadPage, channel: int | None) -> LazyArray:
        info = self.layer.info
        shape, dtype = (*lead_of(info), grid.height, grid.width), info.dtype
        if channel is None:
            return LazyArray(read, (*shape, info.channels), dtype, is_picture=True)
        return LazyArray(_of_channel(read, channel), shape, dtype)


def lead_of(info: ImageInfo) -> tuple[int, ...]:
    """Return the sizes of the axes that pages are counted along; none where there is but one page."""
    sizes = tuple(axis.size for axis in info.page_axes)
    return sizes or ((info.pages,) if info.pages > 1 else ())


def opened_data(arrays: list[LazyArray]) -> dict[str, Any]:
    """Return what tells napari that there are levels, where there are several."""
    return {"multiscale": True} if len(arrays) > 1 else {}


def _reading(layer: Layer, level: ShownLevel) -> ReadPage:
    return lambda page, region: layer.read(page, level, region)


def _of_channel(read: ReadPage, channel: int) -> ReadPage:
    def one(page: int, region: Region) -> Pixels:
        pixels = read(page, region)
        return Pixels(pixels.values[channel : channel + 1], pixels.there)

    return one


class _Overviews:
    """The overviews of the pages of a file, each made when it is first asked for. Several threads may ask."""

    def __init__(self, layer: Layer, cut: Cut, kept_as: str) -> None:
        self._layer, self._cut, self._kept_as = layer, cut, kept_as
        self._made: LRUCache[int, Overview] = LRUCache(_OVERVIEWS)
        self._lock = threading.Lock()

    def read(self, page: int, region: Region) -> Pixels:
        """A part of the overview of a page, once it is made. Raises ImageError and ResourceError."""
        overview = self._of(page)
        overview.wait()
        if overview.failed is not None:
            raise overview.failed
        return overview.read(region)

    def _of(self, page: int) -> Overview:
        with self._lock:
            if page not in self._made:
                layer = self._layer
                overview = Overview(layer.reopen, page, layer.levels[-1], layer.zooms, self._cut, self._kept_as)
                overview.begin()
                self._made[page] = overview
            return self._made[page]
