"""Which regions to take: those that together stand for most of what a model is unsure of.

How much a region would teach is how unsure the model is in it (uncertainty sampling, by the margin between the two
likeliest classes: Settles, "Active Learning Literature Survey", 2009, section 3.1). The most unsure of all are often
alike, and teach the same thing ten times; so regions are taken one by one such that they cover what is unsure:

    sum over all regions i of   doubt(i) * the largest sqrt(doubt(j)) * likeness(i, j) of any region j that was taken

But for the root this is "uncertainty coverage" (Bae, Oliveira and Sutherland, "Uncertainty Herding", ICLR 2025), and
with doubts and likenesses of 0 or 1 the maximum set cover of "Suggestive Annotation" (Yang et al., MICCAI 2017). The
root prefers, of regions that stand for the same ones, those that the model is unsure of itself. The greedy choice comes
within 1 - 1/e of the best sum. Unlike core-sets (Sener and Savarese, ICLR 2018), which seek what lies farthest from all
that was taken, it does not spend a region on each speck of dust that looks like nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from typing_extensions import Self

from unet_deploy.suggestion.cells import Sums

MOST = 1500
"""Candidates that are compared, each with each: they take 9 MB. Of more, the most unsure of neighbours are."""

LEAST = 0.005
"""Of a region, what must be found or unsure: 18 x 18 pixels of 256 x 256, less than an object that a model knows."""

KNOWN = 0.5
"""Of a region, what must hold data."""

FEW = 0.1
"""Of a region, what is taken to be found where less is: beside a few pixels any doubt would be large."""

_APART = 3.0
"""Standard deviations beyond which no feature counts more: one that is far off must not make all others alike."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Regions to choose from, of any number of pages and images."""

    places: np.ndarray
    """(n, 4) int: image, page, and row and column of the first cell."""
    doubts: np.ndarray
    """(n,) float64."""
    features: np.ndarray
    """(n, F) float64: what makes regions alike or not."""

    @classmethod
    def of(cls, sums: Sums, page: int) -> Self:
        """Those of a page that are not empty, of the image 0."""
        rows, columns = np.nonzero(worth_a_look(sums))
        places = np.stack([np.zeros_like(rows), np.full_like(rows, page), rows, columns], axis=1)
        return cls(places, doubt(sums)[rows, columns], features(sums)[:, rows, columns].T)

    def of_image(self, number: int) -> Self:
        """The same, counted as those of another image."""
        return replace(self, places=np.column_stack([np.full(len(self), number), self.places[:, 1:]]))

    def apart_from(self, rows: range, columns: range) -> Self:
        """Without those whose first cell lies in these rows and columns."""
        row, column = self.places[:, 2], self.places[:, 3]
        there = (row >= rows.start) & (row < rows.stop) & (column >= columns.start) & (column < columns.stop)
        return type(self)(self.places[~there], self.doubts[~there], self.features[~there])

    def __len__(self) -> int:
        return len(self.doubts)

    def __add__(self, other: Self) -> Self:
        return type(self)(
            np.concatenate([self.places, other.places]),
            np.concatenate([self.doubts, other.doubts]),
            np.concatenate([self.features, other.features]),
        )

    def thinned(self, most: int = MOST) -> Self:
        """At most so many: of each so many that follow each other the one of the largest doubt."""
        if len(self) <= most:
            return self
        starts = np.arange(most) * len(self) // most
        order = np.lexsort((-self.doubts, np.searchsorted(starts, np.arange(len(self)), "right")))
        kept = order[starts]
        return type(self)(self.places[kept], self.doubts[kept], self.features[kept])


def doubt(sums: Sums) -> np.ndarray:
    """How unsure a model is of each region, beside the pixels of the region and beside those that it found in it.

    It is the geometric mean of the two: by pixels alone regions win that are full of objects, each of which has a
    border that nobody could be sure of; by what was found, those with a speck that may be one.
    """
    found = np.maximum(sums.found.sum(axis=0), FEW * sums.pixels)
    return sums.doubt / np.sqrt(np.maximum(sums.pixels * found, 1))


def features(sums: Sums) -> np.ndarray:
    """What makes regions alike, (F, ...): brightness, contrast and texture, each class, how thick it is, and doubt."""
    pixels = np.maximum(sums.pixels, 1)
    grey = sums.grey / pixels
    contrast = np.sqrt(np.maximum(sums.grey_squared / pixels - grey**2, 0))
    found = sums.found / pixels
    thickness = np.log1p(sums.found.sum(axis=0) / np.maximum(sums.borders, 1))
    return np.stack([*grey, *contrast, np.sqrt(sums.texture / pixels), *found, thickness, doubt(sums)])


def worth_a_look(sums: Sums) -> np.ndarray:
    """Whether there is something in each region, bool."""
    seen = sums.found.sum(axis=0) + sums.doubt
    return (sums.pixels > KNOWN * sums.pixels.max()) & (seen >= LEAST * sums.pixels)


def choose(candidates: Candidates, count: int) -> list[int]:
    """The indices of at most so many that do not overlap, in the order of what each adds; the same every time.

    Regions half a side apart may leave gaps that no other fits into; where too few are left, those of every other row
    and column, which lie side by side, are taken if they are more.
    """
    anywhere = np.ones(len(candidates), bool)
    chosen = _cover(candidates, count, anywhere)
    if len(chosen) == count:
        return chosen
    return max(chosen, _cover(candidates, count, (candidates.places[:, 2:] % 2 == 0).all(axis=1)), key=len)


def _cover(candidates: Candidates, count: int, free: np.ndarray) -> list[int]:
    """Take one after another of those that are free, (n,) bool: that which adds most to what is covered of all."""
    stands_for = alike(candidates.features) * np.sqrt(candidates.doubts, dtype=np.float32)
    covered = np.zeros(len(candidates), np.float32)
    chosen: list[int] = []
    while len(chosen) < count and free.any():
        adds = candidates.doubts @ np.maximum(stands_for - covered[:, None], 0)
        best = int(np.argmax(np.where(free, adds, -1)))
        chosen.append(best)
        np.maximum(covered, stands_for[:, best], out=covered)
        free = free & ~_overlapping(candidates.places, candidates.places[best])
    return chosen


def alike(features: np.ndarray) -> np.ndarray:
    """How much alike each two of (n, F) are, (n, n) float32 from 0 to 1.

    1/e where they lie a standard deviation of all apart in each feature.
    """
    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    scaled = np.clip(scaled, -_APART, _APART)
    squares = (scaled**2).sum(axis=1)
    apart = squares[:, None] + squares - 2 * scaled @ scaled.T
    return np.exp(-np.maximum(apart, 0) / features.shape[1]).astype(np.float32)


def _overlapping(places: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Which regions share pixels with one, itself among them, (n,) bool."""
    same_page = (places[:, :2] == taken[:2]).all(axis=1)
    return same_page & (np.abs(places[:, 2:] - taken[2:]) < 2).all(axis=1)
