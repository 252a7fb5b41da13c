"""The pixels of a tile of the screen, cut from a level of a pyramid or from an overview."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unet_deploy.tiling import Region
from unet_deploy.viewing.levels import Grid
from unet_deploy.viewing.pixels import Pixels
from unet_deploy.viewing.shrink import mean, places
from unet_deploy.viewing.zoom import ZoomTile

Read = Callable[[Region], Pixels]
"""Reads a part of a grid, in its own pixels."""
Cut = Callable[[Grid, Read, ZoomTile], Pixels]
"""Makes the pixels of a tile; those of a grid that is coarser than the screen become larger ones."""


def grey_tile(grid: Grid, read: Read, tile: ZoomTile) -> Pixels:
    """Return the means of what the pixels of a tile show, (C, h, w)."""
    part = grid.part(tile.region)
    rows = places(tile.rows, tile.step, grid.step_y, grid.height) - part.y
    columns = places(tile.columns, tile.step, grid.step_x, grid.width) - part.x
    return mean(read(part), rows, columns)


def label_tile(grid: Grid, read: Read, tile: ZoomTile) -> Pixels:
    """Return the first of the labels that each pixel of a tile shows, (1, h, w): what the pyramids of masks hold."""
    return _first(grid, read, tile, tile.rows, tile.columns)


def rimmed_label_tile(grid: Grid, read: Read, tile: ZoomTile) -> Pixels:
    """Return the same with one pixel around the tile, (1, h + 2, w + 2); around the image is its border again."""
    return _first(grid, read, tile, _with_rim(tile.rows), _with_rim(tile.columns))


def _first(grid: Grid, read: Read, tile: ZoomTile, numbers_y: range, numbers_x: range) -> Pixels:
    rows = places(numbers_y, tile.step, grid.step_y, grid.height)
    columns = places(numbers_x, tile.step, grid.step_x, grid.width)
    y, x = int(rows[0]), int(columns[0])
    pixels = read(Region(y, x, int(rows[-1]) + 1 - y, int(columns[-1]) + 1 - x))
    at = np.ix_(rows - y, columns - x)
    return Pixels(pixels.values[:, at[0], at[1]], None if pixels.there is None else pixels.there[at])


def _with_rim(numbers: range) -> range:
    return range(numbers.start - 1, numbers.stop + 1)
