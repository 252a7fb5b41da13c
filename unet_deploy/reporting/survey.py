"""What is seen of an image while its tiles stream by: all that a report needs of every pixel, in bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from heapq import nlargest

import numpy as np

from unet_deploy.images import ImageInfo
from unet_deploy.masks.overlay import Overlay, canvas_bytes
from unet_deploy.model.card import ModelCard
from unet_deploy.model.decision import Decision
from unet_deploy.stream.pipeline import DoneTile
from unet_deploy.tiling import Region

FIELD = 256
"""Side in pixels of the fields of which some are shown, laid edge to edge from the corner of what is segmented."""

_MOST_FIELDS = 1 << 18
"""Of a page, for which doubts are added up; of a larger page fields are larger."""

_BAND = 256
"""Rows of a tile that are looked at together: a tile may be large, and is float32 for a moment."""

_KEPT = 8
"""Of the fields of all pages, those of most doubt."""


@dataclass(frozen=True, order=True)
class DoubtfulField:
    """A field, and how much the model is in doubt there."""

    doubt: float
    """The sum over its pixels of the squares of `Decision.doubts`: so that slopes of clear edges count little."""
    page: int
    y: int
    x: int
    height: int
    width: int

    @property
    def region(self) -> Region:
        """In pixels of the image."""
        return Region(self.y, self.x, self.height, self.width)


def field_at(row: int, column: int, side: int, region: Region) -> Region:
    """Return a field of so many pixels a side by where it lies in the rows of fields of a region, cut to the region."""
    y, x = row * side, column * side
    tall, wide = min(side, region.height - y), min(side, region.width - x)
    return Region(y, x, tall, wide).moved(*region.origin)


class Doubts:
    """Adds up the doubts of each field of a page, and keeps the fields of most doubt. Pages come one after another."""

    def __init__(self, region: Region, decision: Decision) -> None:
        self._region, self._decision = region, decision
        height, width = region.sides
        self._side = FIELD
        while math.ceil(height / self._side) * math.ceil(width / self._side) > _MOST_FIELDS:
            self._side *= 2
        self._page = 0
        self._sums = np.zeros((math.ceil(height / self._side), math.ceil(width / self._side)))
        self._most: list[DoubtfulField] = []

    def add(self, page: int, region: Region, probabilities: np.ndarray) -> None:
        """Take the probabilities (K, h, w) of a region."""
        if page != self._page:
            self._settle()
            self._page = page
        place = region.moved(-self._region.y, -self._region.x)
        rows, columns = (
            np.arange(first, end) // self._side
            for first, end in zip(place.origin, (place.bottom, place.right), strict=True)
        )
        starts = [np.flatnonzero(np.diff(each, prepend=-1)) for each in (rows, columns)]
        down = np.add.reduceat(self._decision.doubts(probabilities) ** 2, starts[0], axis=0, dtype=np.float64)
        self._sums[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += np.add.reduceat(down, starts[1], axis=1)

    def most(self) -> list[DoubtfulField]:
        """Return the fields of most doubt, the first of them first, once all tiles were added."""
        self._settle()
        return sorted(self._most, reverse=True)

    def _settle(self) -> None:
        for at in np.argsort(self._sums, axis=None)[::-1][:_KEPT].tolist():
            row, column = divmod(at, self._sums.shape[1])
            if doubt := float(self._sums[row, column]):
                place = field_at(row, column, self._side, self._region)
                self._most.append(DoubtfulField(doubt, self._page, *place.origin, *place.sides))
        self._most = nlargest(_KEPT, self._most)
        self._sums[...] = 0


class Survey:
    """A consumer of the tiles of what is segmented, whatever their order within a page.

    region: what is segmented of each page. card: of the model as it is open. most: pixels a side of the picture.
    """

    def __init__(self, info: ImageInfo, region: Region, card: ModelCard, *, most: int) -> None:
        self.picture = Overlay(region, info.channels, card.classes, info.orientation, most=most)
        """Of the first page."""
        self.pixels = np.zeros(len(card.classes), np.int64)
        """Of each class, in all pages; those without data are of none."""
        self.without_data = 0
        """Pixels."""
        self.doubts = Doubts(region, card.decision)
        """Of the pixels that this run computed, where the model gives probabilities."""

    def __call__(self, done: DoneTile, /) -> None:
        whole = done.tile.write
        for y in range(whole.y, whole.bottom, _BAND):
            self._add(done.cut(Region(y, whole.x, min(_BAND, whole.bottom - y), whole.width)))

    def _add(self, done: DoneTile) -> None:
        counts = [np.count_nonzero(done.labels == label) for label in range(len(self.pixels))]
        blank = 0 if done.data is None else int(np.count_nonzero(~done.data))
        counts[0] -= blank  # their labels are 0
        self.pixels += counts
        self.without_data += blank
        if done.page == 0:
            self.picture.add(done.tile.write, done.image, done.labels, done.data)
        if done.probabilities is not None:
            self.doubts.add(done.page, done.tile.write, done.probabilities)


def held_bytes(card: ModelCard, most: int) -> int:
    """Return what a survey holds at most, whatever the image; the making of its picture of `most` pixels included."""
    return canvas_bytes(most, most, card.channels, len(card.classes), most) + 3 * 8 * _MOST_FIELDS
