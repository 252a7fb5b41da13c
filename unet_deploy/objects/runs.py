"""Connected components by runs: the stretches of a row that hold one class. What touches what is found per run.

A block of labels has far fewer runs than pixels, and one pass over them links all classes at once, background
included. The seam between two tiles is a block too, two rows high: the last line of one, the first of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

Connectivity = Literal[4, 8]
"""Neighbours that a pixel of an object has. The background, where holes matter, takes the other."""


class Borders(NamedTuple):
    """The outermost lines of pixels of a block: top and bottom (w,), left and right (h,)."""

    top: np.ndarray
    bottom: np.ndarray
    left: np.ndarray
    right: np.ndarray


@dataclass(frozen=True)
class Runs:
    """The rows of a block cut where the label changes; arrays of one value a run, in raster order.

        0 0 1 1 0 2        run   0 0 1 1 2 3
        0 1 1 1 0 2              4 5 5 5 6 7

    >>> runs = Runs.of(np.array([[0, 0, 1, 1, 0, 2], [0, 1, 1, 1, 0, 2]], np.uint8))
    >>> runs.starts.tolist(), runs.lengths.tolist()
    ([0, 2, 4, 5, 6, 7, 10, 11], [2, 2, 1, 1, 1, 3, 1, 1])
    >>> runs.labels.tolist()
    [0, 1, 0, 2, 0, 1, 0, 2]
    """

    height: int
    """Pixels of the block, as is `width`."""
    width: int
    starts: np.ndarray
    """(n,) intp, the index of the first pixel of each run in the raveled block."""
    lengths: np.ndarray
    """(n,) intp, pixels."""
    labels: np.ndarray
    """(n,) of the dtype of the block."""

    @classmethod
    def of(cls, block: np.ndarray) -> Runs:
        """Cut a block (h, w) of integers into its runs."""
        height, width = block.shape
        begins = np.ones(block.shape, bool)
        np.not_equal(block[:, 1:], block[:, :-1], out=begins[:, 1:])
        starts = np.flatnonzero(begins)
        return cls(height, width, starts, np.diff(starts, append=block.size), block[begins])

    def __len__(self) -> int:
        return len(self.starts)

    def borders(self, values: np.ndarray) -> Borders:
        """Return the outermost pixels of the block, painted with one value a run."""
        rows = np.flatnonzero(self.starts % self.width == 0)
        first, last = slice(0, np.append(rows, len(self))[1]), slice(rows[-1], None)
        return Borders(
            np.repeat(values[first], self.lengths[first]),
            np.repeat(values[last], self.lengths[last]),
            values[rows],
            values[np.append(rows[1:], len(self)) - 1],
        )

    def painted(self, values: np.ndarray) -> np.ndarray:
        """Return the block (height, width) painted with one value a run."""
        return np.repeat(values, self.lengths).reshape(self.height, self.width)

    @property
    def in_row(self) -> np.ndarray:
        """Pairs (2, n) intp of runs that follow one another in a row."""
        right = np.flatnonzero(self.starts % self.width)
        return np.stack([right - 1, right])


@dataclass(frozen=True)
class Touching:
    """How runs of neighbouring rows touch. Pairs are (2, n) intp, indices of runs.

        0 0 1 1 0 2        run   0 0 1 1 2 3      1 and 5 are of one object: 2 edges are between them, and 3 pairs
        0 1 1 1 0 2              4 5 5 5 6 7      of pixels meet at a corner; 3 and 7 share an edge

    >>> touching = Touching.of(Runs.of(np.array([[0, 0, 1, 1, 0, 2], [0, 1, 1, 1, 0, 2]])), 8, holes=False)
    >>> touching.joined.tolist(), touching.straight.tolist(), touching.diagonal.tolist()
    ([[3, 1], [7, 5]], [1, 2], [0, 3])

    At a corner where two pixels of an object face two of the background, connectivity 8 joins the object, and 4 the
    background:

        1 0        run   0 1
        0 1              2 3

    >>> corner = Runs.of(np.array([[1, 0], [0, 1]]))
    >>> Touching.of(corner, 8, holes=True).joined.tolist(), Touching.of(corner, 4, holes=True).joined.tolist()
    ([[0], [3]], [[1], [2]])
    """

    joined: np.ndarray
    """Pairs of one object, or of one background component."""
    straight: np.ndarray
    """(n,) int64, along how many pixel edges the pairs of `joined` touch."""
    diagonal: np.ndarray
    """(n,) int64, across how many pixel corners they do: a pair of pixels is one across a corner where its object
    holds a third of the four, or where the connectivity joins it."""
    beside: np.ndarray
    """Pairs of background and object that share a pixel edge. It is empty without holes, as are those below."""
    corner: np.ndarray
    """(n,) intp, runs of background that meet an object at a corner such that filling them changes how many of its
    corners are joined, each time by 1."""
    crossing: np.ndarray
    """Pairs of background runs on both sides of a corner that joins an object."""

    @classmethod
    def of(cls, runs: Runs, connectivity: Connectivity, *, holes: bool) -> Touching:
        """Find what touches in a block. With holes, background is joined too, with the other connectivity."""
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
    """Count the pixel edges that overlapping runs share, and their pairs of pixels at a corner; (n,) int64 each."""
    starts, ends = runs.starts, runs.starts + runs.lengths
    (top, low), (top_end, low_end) = starts[pairs], ends[pairs]
    top, top_end = top + runs.width, top_end + runs.width
    straight = np.minimum(top_end, low_end) - np.maximum(top, low)
    diagonal = 2 * straight - 1 + (top_end != low_end) - (top == low)
    return straight, diagonal


def background_first(pairs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return those of the pairs (2, n) that are of background and an object, as (background, object)."""
    first, second = labels[pairs] == 0
    return np.concatenate([pairs[:, first & ~second], pairs[::-1, second & ~first]], axis=1)


def components(pairs: np.ndarray, count: int) -> tuple[int, np.ndarray]:
    """Return how many components `count` nodes make when these pairs are joined, and the one of each, (count,) int32.

    They are numbered by their first nodes. Trees are hung from smaller nodes and made flat in turn, all pairs at once,
    as Shiloach and Vishkin do (J. Algorithms 3, 1982): SciPy is as fast, and takes a fifth of a second to be loaded.

    >>> count, owner = components(np.array([[0, 3], [2, 4]]), 5)
    >>> count, owner.tolist()
    (3, [0, 1, 0, 2, 2])
    """
    nodes = np.arange(count, dtype=np.int32)
    roots, (ours, theirs) = nodes.copy(), pairs
    while len(ours):
        one, other = roots[ours], roots[theirs]
        apart = one != other
        ours, theirs, one, other = (each[apart] for each in (ours, theirs, one, other))
        np.minimum.at(roots, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(nearer := roots[roots], roots):
            roots = nearer
    firsts = roots == nodes
    return int(np.count_nonzero(firsts)), (np.cumsum(firsts, dtype=np.int32) - 1)[roots]
