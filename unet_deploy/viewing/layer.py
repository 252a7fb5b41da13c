"""One opened file, and the pixels of its tiles: from the levels of its pyramid, or from an overview of them."""

from __future__ import annotations

import threading

from typing_extensions import Self

from unet_deploy.errors import UsageError
from unet_deploy.images.orientation import upright_sides
from unet_deploy.tiling import Region
from unet_deploy.viewing.cut import Cut, Read, grey_tile, label_tile, rimmed_label_tile
from unet_deploy.viewing.levels import Grid, ShownLevel, level_for, shown_levels
from unet_deploy.viewing.overview import Open, Overview
from unet_deploy.viewing.pixels import Pixels, read_upright
from unet_deploy.viewing.zoom import Zooms, ZoomTile

MOST_READ = 1 << 24
"""Numbers that are read of a file for one tile at most."""
SMALL = 1 << 22
"""Numbers of a page up to which its coarsest level is read at once, and no overview is made of it."""


class Layer:
    """A file that is looked at, its pixels upright. Several threads may ask it; it reads for one after another.

    open_source: opens the file, and opens it anew for the overview. kept_as: what tells its overviews from those of the
    same file that is read otherwise; empty where they are not kept.
    Raises what `open_source` raises. A context manager.
    """

    _cut: Cut

    def __init__(self, open_source: Open, kept_as: str = "") -> None:
        self._open, self._kept_as = open_source, kept_as
        self._lock = threading.Lock()
        self._overview: Overview | None = None
        self._source = open_source()
        self._level = 0
        self.info = self._source.info
        """Of the finest level, as it is stored."""
        self.zooms = Zooms(*upright_sides(self.info))
        self.levels = shown_levels(self.info)

    @property
    def reopen(self) -> Open:
        """Opens the file anew, for another thread."""
        return self._open

    @property
    def overview(self) -> Overview | None:
        """The overview of the page that was asked for last; None where none is needed, or none was begun yet."""
        return self._overview

    @property
    def is_settled(self) -> bool:
        """Whether no overview is being made: tiles look the same when they are asked for again."""
        return self._overview is None or self._overview.share == 1

    def value(self, page: int, y: int, x: int) -> tuple[float, ...]:
        """The stored numbers of a pixel of the finest level, one a channel.

        Raises UsageError for no such page or pixel, and ImageError.
        """
        self._check(page)
        if not (0 <= y < self.zooms.height and 0 <= x < self.zooms.width):
            raise UsageError(f"there is no pixel {y}, {x}; the image is {self.zooms.height} x {self.zooms.width}")
        values: list[float] = self.read(page, self.levels[0], Region(y, x, 1, 1)).values[:, 0, 0].tolist()
        return tuple(values)

    def read(self, page: int, level: ShownLevel, part: Region) -> Pixels:
        """Pixels of a part of a level, both as shown. Raises ImageError."""
        with self._lock:
            if self._level != level.number:
                self._source.turn_to(level.number)
                self._level = level.number
            return read_upright(self._source, page, part)

    def close(self) -> None:
        """Let go of the file; what makes an overview ends by itself, and one that is made is kept first."""
        with self._lock:
            if self._overview is not None:
                self._overview.give_up()
                if self._overview.share == 1:
                    self._overview.wait()
            self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _grid_of(self, page: int, tile: ZoomTile) -> tuple[Grid, Read]:
        """What a tile is cut from. Raises as `value`, and what ended the making of an overview."""
        self._check(page)
        level = level_for(self.levels, tile.step)
        overview = self._overview_for(page, tile, level)
        if overview is None:
            return level, lambda part: self.read(page, level, part)
        if overview.failed is not None:
            raise overview.failed
        return overview.grid, overview.read

    def _overview_for(self, page: int, tile: ZoomTile, level: ShownLevel) -> Overview | None:
        """The overview that a tile is cut from: one that is fine enough and finished, or where a level is too much."""
        if level is not self.levels[-1] or level.numbers() <= SMALL:
            return None
        overview = self._overview_of(page)
        is_quicker = overview.share == 1 and overview.grid.step_y <= tile.step
        return overview if is_quicker or level.numbers(level.part(tile.region)) > MOST_READ else None

    def _overview_of(self, page: int) -> Overview:
        """The overview of a page, begun where there is none; that of another page is given up."""
        with self._lock:
            before = self._overview
            if before is None or before.page != page:
                self._overview = Overview(self._open, page, self.levels[-1], self.zooms, self._cut, self._kept_as)
                self._overview.begin(before)
                return self._overview
            return before

    def _check(self, page: int) -> None:
        if not 0 <= page < self.info.pages:
            raise UsageError(f"there is no page {page}; there are {self.info.pages}, counted from 0")


class GreyLayer(Layer):
    """An image: its tiles are grey values."""

    _cut = staticmethod(grey_tile)

    def tile(self, page: int, tile: ZoomTile) -> Pixels:
        """The means of what the pixels of a tile show, (C, h, w). Raises UsageError for no such page, ImageError."""
        grid, read = self._grid_of(page, tile)
        return grey_tile(grid, read, tile)


class RimmedLayer(Layer):
    """What is drawn with outlines: of each pixel of the screen, the first of the stored ones that it shows."""

    _cut = staticmethod(label_tile)

    def tile(self, page: int, tile: ZoomTile) -> Pixels:
        """The numbers of a tile and of one pixel around it, (C, h + 2, w + 2). Raises as that of an image."""
        grid, read = self._grid_of(page, tile)
        return rimmed_label_tile(grid, read, tile)


class LabelLayer(RimmedLayer):
    """A mask: its tiles are labels. Raises UsageError for a file that has none, as probabilities have none."""

    def __init__(self, open_source: Open, kept_as: str = "") -> None:
        super().__init__(open_source, kept_as)
        if self.info.channels != 1 or self.info.dtype.kind not in "bui":
            self.close()
            what = f"{self.info.channels} channels of {self.info.dtype}"
            raise UsageError(f"{self.info.name}: has {what} and no labels; give it as an image")


class ProbabilityLayer(RimmedLayer):
    """Probabilities of classes, a channel each. Raises UsageError for a file that has none."""

    def __init__(self, open_source: Open, kept_as: str = "") -> None:
        super().__init__(open_source, kept_as)
        if self.info.dtype.kind != "f":
            self.close()
            raise UsageError(f"{self.info.name}: has {self.info.dtype} and no probabilities; give it as an image")
