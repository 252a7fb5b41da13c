"""Two masks of an image against each other: where they differ as a picture, and how often as counts of pixels."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from unet_deploy.errors import UnetDeployError
from unet_deploy.images import ImageInfo, ImageSource
from unet_deploy.system.colours import BLUE, PURPLE, VERMILION
from unet_deploy.tiling import Region
from unet_deploy.viewing.overview import Open
from unet_deploy.viewing.pixels import Pixels

SAME, ONLY_FIRST, ONLY_SECOND, OTHER = range(1, 5)
"""What a pixel is that either mask has a label at: the same in both, of one alone, or of another class in each."""
COLOURS = np.array([(110, 110, 110), VERMILION, BLUE, PURPLE], np.uint8)
"""(4, 3), theirs, as sheets of evaluations have them."""
_BLOCK = 2048
"""Side of the squares of each mask that are read at once."""


def difference(first: np.ndarray, second: np.ndarray, *, by_class: bool) -> np.ndarray:
    """Return what each pixel is, uint8, 0 where neither mask has a label. by_class: whether labels are classes in both.

    Numbers of objects say nothing of each other: there only whether there is an object counts.

    >>> difference(np.array([0, 1, 1, 0, 1]), np.array([0, 1, 0, 1, 2]), by_class=True).tolist()
    [0, 1, 2, 3, 4]
    """
    here, there = first != 0, second != 0
    kinds = np.zeros(first.shape, np.uint8)
    kinds[here & there] = SAME
    kinds[here & ~there] = ONLY_FIRST
    kinds[there & ~here] = ONLY_SECOND
    if by_class:
        kinds[here & there & (first != second)] = OTHER
    return kinds


def difference_tile(first: Pixels, second: Pixels, *, by_class: bool) -> Pixels:
    """Return the same of tiles, (1, h, w); what one of them has no data of yet is no label."""
    return Pixels(difference(_labels(first), _labels(second), by_class=by_class))


def _labels(pixels: Pixels) -> np.ndarray:
    return pixels.values if pixels.there is None else np.where(pixels.there, pixels.values, 0)


@dataclass(frozen=True)
class Counts:
    """Pixels of a page, as far as they are counted."""

    share: float
    """How much of the page is counted, 0 to 1."""
    same: int
    only_first: int
    only_second: int
    other: int


class Counting:
    """Counts a page in a thread of its own, which opens both files anew.

    after: one that is given up, whose thread ends first, so that only one reads the files.
    """

    def __init__(self, first: Open, second: Open, page: int, *, by_class: bool, after: Counting | None = None) -> None:
        if after is not None:
            after.give_up()
        self.page = page
        self.failed: UnetDeployError | None = None
        """What ended it."""
        self._open, self._by_class = (first, second), by_class
        self._found = np.zeros(5, np.int64)
        self._share = 0.0
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._count, args=(after,), name="counting", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> Counts:
        """What is counted so far."""
        return Counts(self._share, *map(int, self._found[1:]))

    def give_up(self) -> None:
        """Let it end with the band that it is at."""
        self._given_up.set()

    def wait(self) -> None:
        """Wait until it has ended."""
        self._thread.join()

    def _count(self, after: Counting | None) -> None:
        if after is not None:
            after.wait()
        try:
            with self._open[0]() as first, self._open[1]() as second:
                blocks = _blocks(first.info)
                for number, block in enumerate(blocks, start=1):
                    if self._given_up.is_set():
                        return
                    labels = [source.crop(_page_of(source, self.page), block)[0] for source in (first, second)]
                    kinds = difference(*labels, by_class=self._by_class)
                    self._found = self._found + np.bincount(kinds.ravel(), minlength=5)
                    self._share = number / len(blocks)
        except UnetDeployError as error:
            self.failed = error


def _blocks(info: ImageInfo) -> list[Region]:
    """Squares that cover a page, those at its end cut off."""
    return [
        Region(y, x, _BLOCK, _BLOCK).intersection(info.region)
        for y in range(0, info.height, _BLOCK)
        for x in range(0, info.width, _BLOCK)
    ]


def _page_of(source: ImageSource, page: int) -> int:
    return 0 if source.info.pages == 1 else page
