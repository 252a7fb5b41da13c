"""Which regions to take: those that together stand for most of what is there.

A few regions teach what they have in common with the rest. While few are annotated, typical ones teach more than those
that a model is most unsure of (Hacohen, Dekel and Weinshall, "Active Learning on a Budget", ICML 2022), which are odd:
blurred, crowded, or hard for people too. So regions are taken one by one such that they stand for what is there:

    sum over all regions i of   the largest likeness(i, j) of any region j that was taken, or is annotated already

This is "generalized coverage" (Bae, Noh and Sutherland, "Generalized Coverage for More Robust Low-Budget Active
Learning", ECCV 2024), and with likenesses of 0 or 1 the maximum set cover of "Suggestive Annotation" (Yang et al.,
MICCAI 2017). The greedy choice comes within 1 - 1/e of the best sum. Unlike core-sets (Sener and Savarese, ICLR 2018),
which seek what lies farthest from all that was taken, it spends no region on each speck of dust.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from typing_extensions import Self

from unet_deploy.suggestion.cells import Sums

MOST = 1500
"""Candidates that are compared, each with each: they take 9 MB. Of more, a sample is."""

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
    annotated: np.ndarray
    """(n,) bool: whether any of it is annotated already, so that it stands for others and is not to be chosen."""

    @classmethod
    def of(cls, sums: Sums, page: int) -> Self:
        """Those of a page that are not empty, of the image 0."""
        rows, columns = np.nonzero(worth_a_look(sums))
        places = np.stack([np.zeros_like(rows), np.full_like(rows, page), rows, columns], axis=1)
        return cls(places, doubt(sums)[rows, columns], features(sums)[:, rows, columns].T, np.zeros(len(rows), bool))

    def of_image(self, number: int) -> Self:
        """The same, counted as those of another image."""
        return replace(self, places=np.column_stack([np.full(len(self), number), self.places[:, 1:]]))

    def with_annotated(self, rows: range, columns: range) -> Self:
        """The same, of which those are annotated, too, whose first cell lies in these rows and columns."""
        row, column = self.places[:, 2], self.places[:, 3]
        there = (row >= rows.start) & (row < rows.stop) & (column >= columns.start) & (column < columns.stop)
        return replace(self, annotated=self.annotated | there)

    def __len__(self) -> int:
        return len(self.doubts)

    def __add__(self, other: Self) -> Self:
        parts = [[getattr(each, part.name) for each in (self, other)] for part in fields(self)]
        return type(self)(*map(np.concatenate, parts))

    def thinned(self, most: int = MOST) -> Self:
        """At most so many: a sample by their places alone, so that those kept of parts have the same as all."""
        if len(self) <= most:
            return self
        return self.part(np.sort(np.argsort(_lots(self.places), kind="stable")[:most]))

    def part(self, kept: Any) -> Self:
        """Some of them. kept: what picks these from an array."""
        return type(self)(*(getattr(self, each.name)[kept] for each in fields(self)))


def doubt(sums: Sums) -> np.ndarray:
    """How unsure a model is of each region, beside the pixels of the region and beside those that it found in it.

    It is the geometric mean of the two: by pixels alone regions win that are full of objects, each of which has a
    border that nobody could be sure of; by what was found, those with a speck that may be one.
    """
    found = np.maximum(sums.found.sum(axis=0), FEW * sums.pixels)
    return sums.doubt / np.sqrt(np.maximum(sums.pixels * found, 1))


def features(sums: Sums) -> np.ndarray:
    """What makes regions alike, (F, ...): brightness, contrast and texture, each class, and how thick it is."""
    pixels = np.maximum(sums.pixels, 1)
    grey = sums.grey / pixels
    contrast = np.sqrt(np.maximum(sums.grey_squared / pixels - grey**2, 0))
    found = sums.found / pixels
    thickness = np.log1p(sums.found.sum(axis=0) / np.maximum(sums.borders, 1))
    return np.stack([*grey, *contrast, np.sqrt(sums.texture / pixels), *found, thickness])


def worth_a_look(sums: Sums) -> np.ndarray:
    """Whether there is something in each region, bool."""
    seen = sums.found.sum(axis=0) + sums.doubt
    return (sums.pixels > KNOWN * sums.pixels.max()) & (seen >= LEAST * sums.pixels)


def choose(candidates: Candidates, count: int) -> list[int]:
    """The indices of at most so many that do not overlap, in the order of what each adds; the same every time.

    Regions half a side apart may leave gaps that no other fits into; where too few are left, those of every other row
    and column, which lie side by side, are taken if they are more.
    """
    likeness, free = alike(candidates.features), ~candidates.annotated
    chosen = _cover(candidates, likeness, count, free)
    if len(chosen) == count:
        return chosen
    side_by_side = (candidates.places[:, 2:] % 2 == 0).all(axis=1)
    return max(chosen, _cover(candidates, likeness, count, free & side_by_side), key=len)


def _cover(candidates: Candidates, likeness: np.ndarray, count: int, free: np.ndarray) -> list[int]:
    """Take one after another of those that are free, (n,) bool: that which adds most to what is stood for."""
    covered = likeness[:, candidates.annotated].max(axis=1, initial=0)
    chosen: list[int] = []
    while len(chosen) < count and free.any():
        adds = np.maximum(likeness - covered[:, None], 0).sum(axis=0, dtype=np.float64)
        best = int(np.argmax(np.where(free, adds, -1)))
        chosen.append(best)
        np.maximum(covered, likeness[:, best], out=covered)
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


def _lots(places: np.ndarray) -> np.ndarray:
    """Numbers as if drawn for each of some places, (n,) uint64: the steps by which SplitMix64 mixes (Steele 2014)."""
    drawn = np.zeros(len(places), np.uint64)
    for number in places.T.astype(np.uint64):
        drawn = (drawn + number) * np.uint64(0x9E3779B97F4A7C15)
        drawn = (drawn ^ (drawn >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        drawn = (drawn ^ (drawn >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        drawn ^= drawn >> np.uint64(31)
    return drawn


def _overlapping(places: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Which regions share pixels with one, itself among them, (n,) bool."""
    same_page = (places[:, :2] == taken[:2]).all(axis=1)
    return same_page & (np.abs(places[:, 2:] - taken[2:]) < 2).all(axis=1)
