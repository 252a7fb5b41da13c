"""Connected components by runs: the stretches of a row that hold one class. What touches what is found per run.

A block of labels has far fewer runs than pixels, and one pass over them links all classes at once, background
included. The seam between two tiles is a block too, two rows high: the last line of one, the first of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Connectivity = Literal[4, 8]
"""Neighbours that a pixel of an object has. The background, where holes matter, takes the other."""


class Borders(NamedTuple):
    """Lines of pixels: top and bottom (w,), left and right (h,)."""

    top: np.ndarray
    bottom: np.ndarray
    left: np.ndarray
    right: np.ndarray


@dataclass(frozen=True)
class Runs:
    """The rows of a (height, width) block cut where the label changes; arrays of one value a run, in raster order.

    starts: intp, the index of the first pixel in the raveled block. lengths: intp, pixels. labels: as the block's.
    """

    height: int
    width: int
    starts: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, block: np.ndarray) -> Runs:
        """block: (h, w) integers."""
        height, width = block.shape
        begins = np.ones(block.shape, bool)
        np.not_equal(block[:, 1:], block[:, :-1], out=begins[:, 1:])
        starts = np.flatnonzero(begins)
        return cls(height, width, starts, np.diff(starts, append=block.size), block[begins])

    def __len__(self) -> int:
        return len(self.starts)

    def borders(self, values: np.ndarray) -> Borders:
        """The outermost pixels of the block, painted with one value a run."""
        rows = np.flatnonzero(self.starts % self.width == 0)
        first, last = slice(0, np.append(rows, len(self))[1]), slice(rows[-1], None)
        return Borders(
            np.repeat(values[first], self.lengths[first]),
            np.repeat(values[last], self.lengths[last]),
            values[rows],
            values[np.append(rows[1:], len(self)) - 1],
        )

    def painted(self, values: np.ndarray) -> np.ndarray:
        """(height, width) of one value a run."""
        return np.repeat(values, self.lengths).reshape(self.height, self.width)

    @property
    def in_row(self) -> np.ndarray:
        """(2, n) intp, runs that follow one another in a row."""
        right = np.flatnonzero(self.starts % self.width)
        return np.stack([right - 1, right])


@dataclass(frozen=True)
class Touching:
    """How runs of neighbouring rows touch; pairs are (2, n) intp, indices of runs.

    joined: pairs of one object, or of one background component. straight and diagonal, (n,) int64, say along how
    many pixel edges and across how many pixel corners: a pair of pixels is one across a corner where its object
    holds a third of the four, or where the connectivity joins it.
    beside: (background, object) that share a pixel edge; with holes alone, as are those below.
    corner: (n,) intp, runs of background that meet an object at a corner such that filling them changes how many of
    its corners are joined, each time by 1.
    crossing: pairs of background runs on both sides of a corner that joins an object.
    """

    joined: np.ndarray
    straight: np.ndarray
    diagonal: np.ndarray
    beside: np.ndarray
    corner: np.ndarray
    crossing: np.ndarray

    @classmethod
    def of(cls, runs: Runs, connectivity: Connectivity, *, holes: bool) -> Touching:
        """holes: join the background too, with the other connectivity."""
        starts, labels, width = runs.starts, runs.labels, runs.width
        index = np.repeat(np.arange(len(runs), dtype=np.int32), runs.lengths)
        second, last = np.searchsorted(starts, [width, (runs.height - 1) * width])
        # Two runs overlap where one of them begins. Where both do, the pair is met from below alone.
        lower, upper = np.arange(second, len(runs)), index[starts[second:] - width]
        flush = starts[upper] + width == starts[lower]
        over = np.arange(last)
        under = index[starts[:last] + width]
        ragged = starts[:last] + width != starts[under]
        pairs = np.stack([np.concatenate([upper, over[ragged]]), np.concatenate([lower, under[ragged]])])
        same = labels[pairs[0]] == labels[pairs[1]]
        joined = pairs[:, same if holes else same & (labels[pairs[0]] != 0)]
        straight, diagonal = _shared(runs, joined)

        # Four pixels a b / c d around the corner where two runs begin, one above the other: a != b and c != d.
        flush &= starts[lower] % width != 0
        b, d = upper[flush], lower[flush]
        a, c = b - 1, d - 1
        corners = np.concatenate([np.stack([a, d, b, c]), np.stack([b, c, a, d])], axis=1)
        corners = corners[:, labels[corners[0]] == labels[corners[1]]]
        is_object = labels[corners[0]] != 0
        tied = corners[:2, is_object if connectivity == 8 else ~is_object & holes]
        joined = np.concatenate([joined, tied], axis=1)
        straight = np.concatenate([straight, np.zeros(tied.shape[1], np.int64)])
        diagonal = np.concatenate([diagonal, np.ones(tied.shape[1], np.int64)])
        if not holes:
            none = np.zeros((2, 0), np.intp)
            return cls(joined, straight, diagonal, none, none[0], none)

        others = corners[2:, is_object]
        open_ends = (labels[others] == 0).sum(axis=0)
        crossing = others[:, open_ends == 2]
        if connectivity == 8:
            half = others[:, open_ends == 1]
            corner = np.where(labels[half[0]] == 0, half[0], half[1])
        else:
            corner, crossing = crossing[0], crossing[:, :0]
        return cls(joined, straight, diagonal, background_first(pairs, labels), corner, crossing)


def _shared(runs: Runs, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixel edges that overlapping runs share, and pairs of their pixels that meet at a corner; (n,) int64 each."""
    starts, ends = runs.starts, runs.starts + runs.lengths
    (top, low), (top_end, low_end) = starts[pairs], ends[pairs]
    top, top_end = top + runs.width, top_end + runs.width
    straight = np.minimum(top_end, low_end) - np.maximum(top, low)
    diagonal = 2 * straight - 1 + (top_end != low_end) - (top == low)
    return straight, diagonal


def background_first(pairs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of (2, n) pairs those of background and an object, as (background, object)."""
    first, second = labels[pairs] == 0
    return np.concatenate([pairs[:, first & ~second], pairs[::-1, second & ~first]], axis=1)


def components(pairs: np.ndarray, count: int) -> tuple[int, np.ndarray]:
    """How many components `count` nodes make when these pairs are joined, and (count,) int32, the one of each."""
    graph = coo_array((np.ones(pairs.shape[1], np.int8), (pairs[0], pairs[1])), shape=(count, count))
    return connected_components(graph, directed=False)
