"""A whole page, small: what zoomed-out tiles are made of where a file has no pyramid, or one that ends too early.

It is made in the background, band by band from the top, and may be looked at meanwhile: what is not made yet holds no
data. Its pixels are squares of a power of two of the finest level, as those of the screen are. One that is finished is
kept, so that it is there at once the next time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict

import numpy as np

from unet_deploy.errors import ImageError, ResourceError, UnetDeployError, reason
from unet_deploy.images import ImageSource
from unet_deploy.system.cache import key_of
from unet_deploy.tiling import Region
from unet_deploy.viewing.cut import Cut
from unet_deploy.viewing.kept import keep, load
from unet_deploy.viewing.levels import Grid, ShownLevel
from unet_deploy.viewing.pixels import Pixels, read_upright
from unet_deploy.viewing.zoom import Zooms, ZoomTile

MOST = 1 << 23
"""Numbers of an overview: 32 MB of float32."""
_BAND = 1 << 23
"""Numbers that are read at once, where that is a square of the image for one pixel of the overview at least."""

_VERSION = 1
"""Of what is kept: it changes when an overview of the same pixels does."""

Open = Callable[[], ImageSource]


class Overview:
    """The overview of a page; a thread of its own makes it once `begin` was called.

    open_source: opens the file anew for that thread. level: what of it is read. cut: how its pixels become fewer.
    kept_as: what tells it from others of the same pixels; empty for one that is not kept.
    """

    def __init__(
        self, open_source: Open, page: int, level: ShownLevel, zooms: Zooms, cut: Cut, kept_as: str = ""
    ) -> None:
        self.page = page
        self.failed: UnetDeployError | None = None
        """What ended its making."""
        self._open, self._level, self._zooms, self._cut, self._kept_as = open_source, level, zooms, cut, kept_as
        self.grid = overview_grid(level, zooms)
        self._values: np.ndarray | None = None
        self._there = np.zeros((self.grid.height, self.grid.width), np.bool_)
        self._made = 0
        self._given_up = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, after: Overview | None = None) -> None:
        """Begin to make it. after: one that is given up, whose thread ends first, so that only one reads the file."""
        if after is not None:
            after.give_up()
        self._thread = threading.Thread(target=self._make, args=(after,), name="overview", daemon=True)
        self._thread.start()

    @property
    def share(self) -> float:
        """How much of it is made, 0 to 1."""
        return self._made / self.grid.height

    def read(self, part: Region) -> Pixels:
        """A part of it, (C, h, w), as far as it is made."""
        values, there = self._values, self._there[part.slices]
        if values is None:
            return Pixels(np.zeros((self._level.channels, *part.sides), np.uint8), there)
        return Pixels(values[(slice(None), *part.slices)], None if there.all() else there)

    def give_up(self) -> None:
        """Let its thread end with the band that it is at."""
        self._given_up.set()

    def wait(self) -> None:
        """Wait until its thread has ended."""
        if self._thread is not None:
            self._thread.join()

    def _make(self, after: Overview | None) -> None:
        if after is not None:
            after.wait()
        try:
            with self._open() as source:
                source.turn_to(self._level.number)
                key = self._key(source)
                if not (key and self._take(load(key, (self._level.channels, *self._there.shape)))):
                    self._read(source)
                    if key and self.share == 1 and self._key(source) == key:
                        keep(key, Pixels(self._whole(), self._there))
        except UnetDeployError as error:
            self.failed = error
        except MemoryError:
            self.failed = ResourceError("out of memory for the overview; close other programs")
        except Exception as error:
            self.failed = ImageError(f"the overview cannot be made ({reason(error)}); save the image again")

    def _key(self, source: ImageSource) -> str:
        """What it is kept under; empty where it is not kept. It changes when the file does. Raises ImageError."""
        state = source.state() if self._kept_as else ""
        what = self._kept_as, self.page, asdict(self._level), asdict(self.grid)
        return key_of(_VERSION, state, *what) if state else ""

    def _take(self, kept: Pixels | None) -> bool:
        """Have what was kept; whether there was something."""
        if kept is None or kept.there is None:
            return False
        self._values, self._there, self._made = kept.values, kept.there, self.grid.height
        return True

    def _read(self, source: ImageSource) -> None:
        for block in self._blocks():
            if self._given_up.is_set():
                return
            self._add(block, self._cut(self._level, lambda part: read_upright(source, self.page, part), block))

    def _whole(self) -> np.ndarray:
        assert self._values is not None
        return self._values

    def _blocks(self) -> Iterator[ZoomTile]:
        """Blocks of whole pixels of it, row by row: whole rows of them, where these are not too large."""
        height, width, step = self._zooms.height, self._zooms.width, int(self.grid.step_y)
        per_pixel = self._level.channels * (step / self._level.step_y) * (step / self._level.step_x)
        columns = max(1, min(self.grid.width, int(4 * _BAND / per_pixel)))
        rows = max(1, int(_BAND / (per_pixel * columns)))
        for y in range(0, height, rows * step):
            for x in range(0, width, columns * step):
                region = Region(y, x, min(rows * step, height - y), min(columns * step, width - x))
                yield ZoomTile(region, step)

    def _add(self, block: ZoomTile, pixels: Pixels) -> None:
        if self._values is None:
            self._values = np.zeros((len(pixels.values), *self._there.shape), pixels.values.dtype)
        at = slice(block.rows.start, block.rows.stop), slice(block.columns.start, block.columns.stop)
        self._values[(slice(None), *at)] = pixels.values
        self._there[at] = True if pixels.there is None else pixels.there
        if block.columns.stop == self.grid.width:
            self._made = block.rows.stop


def overview_grid(level: ShownLevel, zooms: Zooms) -> Grid:
    """Return the pixels of an overview of a level: at least twice as coarse, and no more than MOST.

    >>> overview_grid(ShownLevel(20_000, 20_000, 1.0, 1.0, channels=1), Zooms(20_000, 20_000))
    Grid(height=2500, width=2500, step_y=8.0, step_x=8.0)
    """
    step = 2
    while step < 2 * max(level.step_y, level.step_x) or _numbers(level, zooms, step) > MOST:
        step *= 2
    return Grid(-(-zooms.height // step), -(-zooms.width // step), float(step), float(step))


def _numbers(level: ShownLevel, zooms: Zooms, step: int) -> int:
    return level.channels * -(-zooms.height // step) * -(-zooms.width // step)
