"""Which pixels lie in polygons: those whose centre does, by the same rule as outlines are drawn along pixel edges.

A line through the centres of a row of pixels is crossed by the edges of a polygon, each from its upper end to just
above its lower one. From each crossing on, inside and outside change places: from the first pixel whose centre is not
left of it.

    centres      0.5  1.5  2.5  3.5  4.5
    crossings          |1.2       |3.5
    inside             [1    2  )              pixels 1 and 2

so polygons that share an edge share no pixel, leave none between them, and shifting both changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unet_deploy.annotations.shapes import Polygon, Ring
from unet_deploy.tiling import Region


@dataclass(frozen=True)
class Spans:
    """Runs of pixels in rows, none of them empty; (n,) int64 each."""

    owner: np.ndarray
    """The index of the polygon."""
    row: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """The pixels of each, (n,) int64."""
        return self.stop - self.start

    def pixels(self, width: int) -> np.ndarray:
        """The index of every pixel, row by row of an image of this width: (m,) int64."""
        lengths = self.lengths
        return np.repeat(self.row * width + self.start - (lengths.cumsum() - lengths), lengths) + np.arange(
            lengths.sum()
        )

    def some(self, which: slice) -> Spans:
        """Some of them, in their order."""
        return Spans(self.owner[which], self.row[which], self.start[which], self.stop[which])

    def cut(self, region: Region) -> Spans:
        """What of them lies in a region, in its rows and columns."""
        start, stop = (np.clip(end - region.x, 0, region.width) for end in (self.start, self.stop))
        row = self.row - region.y
        there = (stop > start) & (row >= 0) & (row < region.height)
        return Spans(self.owner[there], row[there], start[there], stop[there])


@dataclass(frozen=True)
class Crossings:
    """Where the edges of polygons cross the centres of rows; (n,) int64 each."""

    polygon: np.ndarray
    ring: np.ndarray
    """Its index among those of all polygons."""
    row: np.ndarray
    column: np.ndarray
    """The first pixel whose centre is not left of it; the width of the image where there is none."""
    turn: np.ndarray
    """1 where the edge goes down, -1 where it goes up."""

    @classmethod
    def of(cls, polygons: Sequence[Polygon], size: tuple[int, int]) -> Crossings:
        """Find those in an image (H, W). What lies outside of it counts at its border."""
        height, width = size
        rings = [(at, ring) for at, polygon in enumerate(polygons) for ring in polygon if len(ring)]
        lengths = np.array([len(ring) for _, ring in rings], np.intp)
        owner = np.array([at for at, _ in rings], np.int64)
        x, y, next_x, next_y = _edges([ring for _, ring in rings], lengths)
        first, last = (np.clip(np.ceil(end - 0.5), 0, height).astype(np.int64) for end in _sorted(y, next_y))
        counts = last - first
        edge = np.repeat(np.arange(len(counts)), counts)
        row = np.arange(len(edge)) - np.repeat(counts.cumsum() - counts - first, counts)
        slope = (next_x[edge] - x[edge]) / (next_y[edge] - y[edge])
        at = x[edge] + (row + 0.5 - y[edge]) * slope
        column = np.clip(np.ceil(at - 0.5), 0, width).astype(np.int64)
        ring = np.repeat(np.arange(len(rings)), lengths)[edge]
        return cls(owner[ring], ring, row, column, np.where(next_y > y, 1, -1)[edge])

    def spans(self) -> Spans:
        """The pixels of each polygon: those between its first and second crossing in a row, its third and fourth.

        >>> square = np.array([[1.0, 0.0], [3.5, 0.0], [3.5, 2.0], [1.0, 2.0]])
        >>> spans = Crossings.of([(square,)], (4, 5)).spans()
        >>> spans.row.tolist(), spans.start.tolist(), spans.stop.tolist()
        ([0, 1], [1, 1], [3, 3])
        """
        order = np.lexsort((self.column, self.row, self.polygon))
        start, stop = self.column[order[::2]], self.column[order[1::2]]
        there = stop > start
        which = order[::2][there]
        return Spans(self.polygon[which], self.row[which], start[there], stop[there])

    def crossed(self) -> tuple[int, float, float] | None:
        """The first polygon with a ring that crosses itself, and x and y of a pixel where that shows; None for none.

        A ring goes once around each point inside, and always in the same direction. Where it crosses itself it goes
        around some of them in the other one, or twice.
        """
        order = np.lexsort((self.column, self.row, self.ring))
        ring, row, column = self.ring[order], self.row[order], self.column[order]
        around = self.turn[order].cumsum()  # 0 again after each row
        seen = np.flatnonzero((np.diff(column, append=0) > 0) & (np.diff(row, append=-1) == 0) & (around != 0))
        ring, around = ring[seen], around[seen]
        direction = np.zeros(int(ring.max(initial=-1)) + 1, np.int64)
        direction[ring] = around
        wrong = np.flatnonzero((around != direction[ring]) | (np.abs(around) > 1))
        if not len(wrong):
            return None
        found = order[seen[wrong[0]]]
        return int(self.polygon[found]), self.column[found] + 0.5, self.row[found] + 0.5


def _edges(rings: Sequence[Ring], lengths: np.ndarray) -> tuple[np.ndarray, ...]:
    """The x and y of both ends of all edges of rings, the one that closes each included."""
    points = np.concatenate([np.zeros((0, 2)), *rings])
    ends = lengths.cumsum()
    following = np.arange(1, len(points) + 1)
    following[ends - 1] = ends - lengths
    return (*points.T, *points[following].T)


def _sorted(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.minimum(one, other), np.maximum(one, other)
