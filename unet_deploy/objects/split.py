"""Objects that touch are parted where the neck between them is narrow: arithmetic on one component at a time.

The distance to the border has a peak in each of two discs that touch, and a saddle in the neck between them:

    . 1 1 1 . 1 1 1 .        height 2 in both discs, 1 in the neck: the lower peak stands 1 above the saddle
    1 1 2 1 1 1 2 1 1
    . 1 1 1 . 1 1 1 .

A peak that stands at least some depth above the saddle to a higher one is that of an object; the slopes of every other
one go to the object beyond its highest saddle. How far a peak stands above its saddle is its dynamic (Grimaud 1992, "A
new measure of contrast: the dynamics"). The parts are a watershed with the peaks that are left as seeds, which is a
forest over the highest saddles with a tree for each seed (Cousty et al. 2009, "Watershed cuts: minimum spanning forests
and the drop of water principle"). While water falls, peaks are islands that meet at saddles: one that is small when it
meets another may be but a bulge of it (area beside depth: Vachier and Meyer 1995, "Extinction value: a new measurement
of persistence").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unet_deploy.objects.distance import Stack, stacks
from unet_deploy.objects.runs import Connectivity

DEPTH = 1 / 25
"""In diameters, where parting is asked for and nobody says how deep: it did best on nuclei of several laboratories."""

SMOOTHING = 1 / 30
"""Sigma of the Gaussian over distances, in diameters: a ragged border makes peaks, and it takes most of them away."""


@dataclass(frozen=True)
class Parting:
    """How components are parted. Lengths are in pixels."""

    depth: float
    """How far a peak must stand above its saddle."""
    sigma: float
    connectivity: Connectivity
    least: float = 0.0
    """Pixels that each of two parts has when they meet; where one has fewer, they are one part."""

    def parts_of(self, shapes: Sequence[np.ndarray]) -> list[np.ndarray | None]:
        """Return the parts of each shape: (h, w) int32, 1, 2, ... in raster order of their first pixels, 0 outside.

        shapes: (h, w) bool, one connected component each. None stands for a shape that is in one piece.

        >>> discs = np.kron(np.array([[0, 1, 0, 0, 1, 0], [1, 1, 1, 1, 1, 1], [0, 1, 0, 0, 1, 0]]), np.ones((4, 4)))
        >>> [parts] = Parting(0.5, 0.5, 4).parts_of([discs > 0])
        >>> parts[6, ::6].tolist(), Parting(9, 0.5, 4).parts_of([discs > 0])
        ([1, 1, 1, 2], [None])
        """
        found: list[np.ndarray | None] = [None] * len(shapes)
        for stack in stacks(shapes, self.sigma):
            peaks = self._peaks(stack)
            for place in np.flatnonzero(peaks > 1):
                index = stack.which[place]
                height, width = shapes[index].shape
                found[index] = self.parts_by(stack.heights[: height + 2, place, : width + 2])
        return found

    def _peaks(self, stack: Stack) -> np.ndarray:
        """Return how many peaks there are in each shape, (n,), but for some that are no object's.

        Heights of pixels that share an edge differ by 1 at most. So one with a higher neighbour at a corner, whatever
        the connectivity, stands no more than 1 above the way there; or both pixels between them are outside, and it is
        no higher than 1.
        """
        heights = stack.heights
        around = _around(8 if self.depth > 1 else self.connectivity)
        middle = heights[1:-1, :, 1:-1]
        peaks = stack.inside[1:-1, :, 1:-1].copy()
        for y, x in around:
            beside = heights[1 + y : heights.shape[0] - 1 + y, :, 1 + x : heights.shape[2] - 1 + x]
            peaks &= (middle > beside) if (y, x) < (0, 0) else (middle >= beside)
        return peaks.sum(axis=(0, 2))

    def parts_by(self, heights: np.ndarray) -> np.ndarray | None:
        """Return the parts (h, w) of one shape, as `parts_of`, by heights (h + 2, w + 2) above 0, with a frame of 0."""
        width = heights.shape[1]
        flat = heights.ravel()
        pixels = np.flatnonzero(flat).astype(np.int32)
        basins, peaks = self._basins(flat, pixels, width)
        pairs, saddles = self._saddles(flat, pixels, basins, width)
        islands = flat[pixels[peaks]].tolist(), np.bincount(basins).tolist()
        owners = self._joined(*islands, pairs, saddles)
        roots, numbers = np.unique(owners, return_inverse=True)
        if len(roots) == 1:
            return None
        of_pixels = numbers.astype(np.int32)[basins]
        first = np.empty(len(roots), np.int32)  # where an index comes up twice, the last value stays
        first[of_pixels[::-1]] = np.arange(len(pixels) - 1, -1, -1, dtype=np.int32)
        order = np.empty(len(roots), np.int32)
        order[np.argsort(first)] = np.arange(1, len(roots) + 1)
        parts = np.zeros(heights.shape, np.int32)
        parts.ravel()[pixels] = order[of_pixels]
        return parts[1:-1, 1:-1]

    def _basins(self, flat: np.ndarray, pixels: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Let every pixel climb to a peak: (n,) int32 the peak of each, in raster order, and (k,) where those are.

        It goes to the highest of its neighbours and itself, and of two as high to the first in raster order.
        """
        offsets = [y * width + x for y, x in _around(self.connectivity)]
        half = len(offsets) // 2
        best, target = np.full(len(pixels), -1, flat.dtype), pixels.copy()
        for offset in [*offsets[:half], 0, *offsets[half:]]:
            to = pixels + np.int32(offset)
            beside = flat[to]
            higher = beside > best
            np.copyto(best, beside, where=higher)
            np.copyto(target, to, where=higher)
        place = np.zeros(len(flat), np.int32)
        place[pixels] = np.arange(len(pixels), dtype=np.int32)
        climb = place[target]
        peaks = np.flatnonzero(target == pixels)
        while not np.array_equal(further := climb[climb], climb):
            climb = further
        place[peaks] = np.arange(len(peaks), dtype=np.int32)
        return place[climb], peaks

    def _saddles(
        self, flat: np.ndarray, pixels: np.ndarray, basins: np.ndarray, width: int
    ) -> tuple[list[list[int]], list[float]]:
        """Return the basins that touch, in pairs, and the height of the highest way between them; the highest first."""
        owner = np.full(flat.shape, -1, np.int32)
        owner[pixels] = basins
        keys, lows, count = [], [], int(basins.max()) + 1
        for y, x in _around(self.connectivity)[self.connectivity // 2 :]:
            beyond = pixels + np.int32(y * width + x)
            here, there = basins, owner[beyond]
            meet = (there >= 0) & (there != here)
            one, other = here[meet], there[meet]
            keys.append(np.minimum(one, other).astype(np.int64) * count + np.maximum(one, other))
            lows.append(np.minimum(flat[pixels[meet]], flat[beyond[meet]]))
        key, low = np.concatenate(keys), np.concatenate(lows)
        order = np.lexsort((-low, key))
        order = order[np.diff(key[order], prepend=-1) != 0]
        order = order[np.argsort(-low[order], kind="stable")]
        return np.stack(np.divmod(key[order], count), axis=1).tolist(), low[order].tolist()

    def _joined(self, peaks: list[float], areas: list[int], pairs: list[list[int]], saddles: list[float]) -> np.ndarray:
        """Return one of the basins of the part that the basin of each peak belongs to, (k,).

        peaks, areas: their heights, and the pixels of their basins. pairs, saddles: the basins that touch and how high,
        the highest first.

        An island knows its highest peak, a part its pixels. Both parts at the shore are all of their islands where
        these are not deep, or they small: of two parts that stayed apart neither was, and the water only falls.
        """
        areas = areas.copy()
        islands, parts = list(range(len(peaks))), list(range(len(peaks)))
        for (one, other), saddle in zip(pairs, saddles, strict=True):
            lower, higher = sorted((_root(islands, one), _root(islands, other)), key=peaks.__getitem__)
            if lower == higher:
                continue
            islands[lower] = higher
            near, far = _root(parts, one), _root(parts, other)
            if peaks[lower] - saddle < self.depth or min(areas[near], areas[far]) < self.least:
                parts[far] = near
                areas[near] += areas[far]
        return np.array([_root(parts, peak) for peak in range(len(peaks))])


def _around(connectivity: Connectivity) -> list[tuple[int, int]]:
    """Return how far down and right of a pixel its neighbours are, in raster order."""
    near = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    return near if connectivity == 8 else [(y, x) for y, x in near if 0 in (y, x)]


def _root(roots: list[int], of: int) -> int:
    """Return what stands for a peak now; the way there gets shorter each time."""
    while roots[of] != of:
        roots[of] = roots[roots[of]]
        of = roots[of]
    return of
