"""How good a segmentation is: overlap, objects, and the partitions of the ISBI 2012 challenge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

THRESHOLDS = tuple(np.arange(50, 100, 5) / 100)
"""Intersection over union 0.5, 0.55 ... 0.95."""


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) of two bool masks; 1 when both are empty."""
    total = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / total if total else 1.0


def iou(predicted: np.ndarray, truth: np.ndarray) -> float:
    """|A and B| / |A or B| of two bool masks; 1 when both are empty."""
    union = int((predicted | truth).sum())
    return int((predicted & truth).sum()) / union if union else 1.0


def soft_dice(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean over classes of 2 sum(p t) / sum(p^2 + t^2), for (K, H, W) probabilities and (H, W) class indices.

    NVIDIA's UNet_Medical example reports this one, background included (runtime/losses.py).
    """
    scores = []
    for k, p in enumerate(probabilities.astype(np.float64)):
        t = labels == k
        scores.append((2 * p[t].sum() + 1e-6) / ((p**2).sum() + t.sum() + 1e-6))
    return float(np.mean(scores))


def displacement(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """How many pixels down and right of what a model sees the masks lie, to a fraction of a pixel.

    probabilities: (K, H, W); labels: (H, W) class indices. The shift at which the two correlate most: uphill pixel by
    pixel, then the top of a parabola in each axis. (0, 0) where they hardly correlate: that says nothing of the masks.
    """
    planes = [(p.astype(np.float32), (labels == k).astype(np.float32)) for k, p in enumerate(probabilities)]
    planes = [(p, t) for p, t in planes if p.std() > 0 and t.std() > 0]
    reach = min(labels.shape) // 4
    if not planes or not reach:
        return 0.0, 0.0

    @cache
    def agreement(down: int, right: int) -> float:
        height, width = labels.shape
        there = (slice(max(0, down), height + min(0, down)), slice(max(0, right), width + min(0, right)))
        here = (slice(max(0, -down), height - max(0, down)), slice(max(0, -right), width - max(0, right)))
        return sum(_correlation(p[here], t[there]) for p, t in planes)

    best = (0, 0)
    while max(map(abs, best)) < reach:
        around = [(best[0] + y, best[1] + x) for y, x in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))]
        if (top := max(around, key=lambda shift: agreement(*shift))) == best:
            break
        best = top
    if agreement(*best) < len(planes) / 3:
        return 0.0, 0.0
    down, right = best
    here = agreement(down, right)
    return (
        down + _top(agreement(down - 1, right), here, agreement(down + 1, right)),
        right + _top(agreement(down, right - 1), here, agreement(down, right + 1)),
    )


def _top(before: float, here: float, after: float) -> float:
    """Where the parabola through values at -1, 0 and 1 is highest; 0 where it has no top."""
    bend = 2 * here - before - after
    return (after - before) / (2 * bend) if bend > 0 else 0.0


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm else 0.0


@dataclass(frozen=True)
class Matches:
    """Objects found (true), invented (false) and missed."""

    true: int
    false: int
    missed: int

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); 1 when there is nothing to find and nothing was found."""
        total = 2 * self.true + self.false + self.missed
        return 2 * self.true / total if total else 1.0

    def __add__(self, other: Matches) -> Matches:
        return Matches(self.true + other.true, self.false + other.false, self.missed + other.missed)


def match_objects(predicted: np.ndarray, truth: np.ndarray, thresholds: Sequence[float]) -> list[Matches]:
    """Match two (H, W) int label images, 0 the background, at each threshold of intersection over union.

    From 0.5 up a match is unique: an object can exceed that with one other only. Equality counts as a match except
    at 0.5, where two could tie. Raises ValueError below 0.5.
    """
    if min(thresholds) < 0.5:
        raise ValueError("matches are unique from an intersection over union of 0.5 up")
    both, ours, theirs = _intersections(predicted, truth)
    overlaps = both.pixels / (ours.pixels[both.a] + theirs.pixels[both.b] - both.pixels)
    results = []
    for threshold in thresholds:
        hits = int((overlaps > threshold).sum() if threshold == 0.5 else (overlaps >= threshold).sum())
        results.append(Matches(hits, len(ours.ids) - hits, len(theirs.ids) - hits))
    return results


def seg_measure(predicted: np.ndarray, truth: np.ndarray) -> tuple[float, int]:
    """The cell tracking challenge's SEG, as the sum over true objects of their Jaccard index, and their number.

    A true object's partner covers more than half of it, so there is one at most; without one it counts 0.
    """
    both, ours, theirs = _intersections(predicted, truth)
    matched = both.pixels > 0.5 * theirs.pixels[both.b]
    union = ours.pixels[both.a] + theirs.pixels[both.b] - both.pixels
    return float((both.pixels / union)[matched].sum()), len(theirs.pixels)


def mergers(predicted: np.ndarray, truth: np.ndarray) -> dict[int, int]:
    """Objects of the prediction that more than half of several true objects lies in, and how many those are."""
    both, ours, theirs = _intersections(predicted, truth)
    inside = both.a[both.pixels > 0.5 * theirs.pixels[both.b]]
    places, held = np.unique(inside, return_counts=True)
    return dict(zip(ours.ids[places[held > 1]].tolist(), held[held > 1].tolist(), strict=True))


def count_merged(predicted: np.ndarray, truth: np.ndarray) -> int:
    """True objects that lie more than half in an object of the prediction which holds another one as well.

    The first of each such group does not count: two nuclei that became one are one merger.
    """
    return sum(held - 1 for held in mergers(predicted, truth).values())


# -- partitions: the measures of the ISBI 2012 challenge -------------------------------------------------------


@dataclass(frozen=True)
class PartitionScore:
    """How far two partitions of the true foreground agree (Arganda-Carreras et al. 2015); 1, 1 and 0 at best."""

    v_rand: float
    """2 sum p_ij^2 / (sum a_i^2 + sum b_j^2)."""
    v_info: float
    """2 I(A, B) / (H(A) + H(B))."""
    rand_error: float
    """1 - F-score of the pairs of distinct pixels that lie in one segment."""


def compare_partitions(predicted: np.ndarray, truth: np.ndarray) -> PartitionScore:
    """Compare two (H, W) int label images where the truth is not 0; predicted pixels of 0 are segments of one pixel.

    An empty truth leaves nothing to compare: 1, 1 and 0.
    """
    inside = truth != 0
    total = int(inside.sum())
    if total == 0:
        return PartitionScore(1.0, 1.0, 0.0)
    both, ours, _ = _intersections(predicted[inside], truth[inside])
    single = total - int(both.pixels.sum())
    true_sizes = np.unique(truth[inside], return_counts=True)[1]

    def squares(sizes: np.ndarray, singles: int) -> float:
        return float((sizes.astype(np.float64) ** 2).sum()) + singles

    def entropy(sizes: np.ndarray, singles: int) -> float:
        share = sizes / total
        return float(-(share * np.log(share)).sum()) + singles / total * np.log(total)

    joint, mine, theirs = (both.pixels, single), (ours.pixels, single), (true_sizes, 0)
    information = entropy(*mine) + entropy(*theirs) - entropy(*joint)
    entropies = entropy(*mine) + entropy(*theirs)
    pairs, one_side = squares(*joint) - total, squares(*mine) + squares(*theirs) - 2 * total
    return PartitionScore(
        v_rand=2 * squares(*joint) / (squares(*mine) + squares(*theirs)),
        v_info=2 * information / entropies if entropies > 0 else 1.0,
        rand_error=1 - 2 * pairs / one_side if one_side else 0.0,
    )


def partition(foreground: np.ndarray) -> np.ndarray:
    """Segments of a (H, W) bool mask with borders of one pixel between them, (H, W) int32; 0 the borders.

    The 4-connected components grow into the background until they meet: a 4-connected watershed.
    """
    from skimage.segmentation import watershed

    markers, _ = ndimage.label(foreground)
    flat = np.zeros(foreground.shape, np.uint8)
    return watershed(flat, markers, connectivity=1, watershed_line=True).astype(np.int32)


def pixel_error(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Share of pixels that differ between two bool masks.

    What the ISBI 2012 challenge lists under this name is another measure: 1 - Dice of the foreground.
    """
    return float((predicted != truth).mean())


REACH = 20
"""Pixels around one that would cut an object in which its parts may still be joined, as in the challenge's script."""


def warping_error(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Share of pixels that are splits and mergers, once the truth was warped towards the prediction.

    Both are (H, W) bool masks (Jain et al. 2010, section 4).
    """
    return float(splits_and_mergers(predicted, warp(predicted, truth)).mean())


def splits_and_mergers(predicted: np.ndarray, warped: np.ndarray) -> np.ndarray:
    """Where a prediction (H, W) bool still differs from the warped truth in what is one object: (H, W) bool.

    Of the pixels that differ, those that touch several objects when they are taken out themselves, as in the ISBI 2012
    challenge (WarpingError of Fiji's Trainable Segmentation, minimum splits and mergers); holes and lone objects are
    none.
    """
    objects, count = ndimage.label(warped)
    last = ndimage.maximum_filter(objects, 3, mode="constant")
    first = ndimage.minimum_filter(np.where(warped, objects, count + 1), 3, mode="constant", cval=count + 1)
    found = predicted & ~warped & (first < last)
    parted = warped & ~predicted & _rings().parted[_ring(np.pad(warped, 1))]
    around = np.pad(warped, REACH)
    for y, x in np.argwhere(parted):
        found[y, x] = _cuts(around[y : y + 2 * REACH + 1, x : x + 2 * REACH + 1])
    return found


def _cuts(window: np.ndarray) -> bool:
    """Do the neighbours of the middle pixel lie in several objects of the window without it?"""
    left = window.copy()
    left[REACH, REACH] = False
    beside = ndimage.label(left)[0][REACH - 1 : REACH + 2, REACH - 1 : REACH + 2]
    return len(np.unique(beside[beside > 0])) > 1


def warp(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The truth (H, W) bool, as near to the prediction as its topology lets it come, pixel by pixel.

    Pixels that differ flip wherever that changes no topology (Jain et al. 2010, section 4): foreground 4-connected,
    background 8-connected, background beyond the image. Those of one in four lattices have no neighbour in common, so
    they may flip together.
    """
    simple = _rings().simple
    warped, target = np.pad(truth, 1), np.pad(predicted, 1)
    flipped = True
    while flipped:
        flipped = False
        for top, left in ((0, 0), (0, 1), (1, 0), (1, 1)):
            here = (slice(1 + top, -1, 2), slice(1 + left, -1, 2))
            change = (warped[here] != target[here]) & simple[_ring(warped, top, left, 2)]
            warped[here] ^= change
            flipped = flipped or bool(change.any())
    return warped[1:-1, 1:-1]


_NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


def _ring(padded: np.ndarray, top: int = 0, left: int = 0, step: int = 1) -> np.ndarray:
    """The neighbours that are foreground, a bit each in the order of _NEIGHBOURS, of every step-th pixel.

    padded: (H + 2, W + 2) bool; of its inner pixels the one at (top, left) is the first.
    """
    height, width = padded.shape
    code = np.zeros((len(range(1 + top, height - 1, step)), len(range(1 + left, width - 1, step))), np.uint8)
    for bit, (y, x) in enumerate(_NEIGHBOURS):
        there = padded[1 + top + y : height - 1 + y : step, 1 + left + x : width - 1 + x : step]
        code |= there.astype(np.uint8) << bit
    return code


@dataclass(frozen=True)
class _Rings:
    """What holds of a pixel by its neighbours that are foreground, (256,) bool each."""

    simple: np.ndarray
    """It may change sides: one 4-connected part of them is beside it, and the others are one 8-connected part."""
    parted: np.ndarray
    """They are several 4-connected parts without it."""


@cache
def _rings() -> _Rings:
    simple, parted = np.zeros(256, bool), np.zeros(256, bool)
    beside = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)
    for code in range(256):
        foreground = np.zeros((3, 3), bool)
        for bit, (y, x) in enumerate(_NEIGHBOURS):
            foreground[1 + y, 1 + x] = code >> bit & 1
        background = ~foreground
        background[1, 1] = False
        parts, count = ndimage.label(foreground)
        _, holes = ndimage.label(background, np.ones((3, 3)))
        simple[code] = len(np.unique(parts[beside & foreground])) == 1 and holes == 1
        parted[code] = count > 1
    return _Rings(simple, parted)


# -- which objects meet ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Objects:
    ids: np.ndarray
    pixels: np.ndarray


@dataclass(frozen=True)
class _Meetings:
    """Pairs of objects that share pixels: their places in the two lists of objects, and how many pixels."""

    a: np.ndarray
    b: np.ndarray
    pixels: np.ndarray


def _intersections(predicted: np.ndarray, truth: np.ndarray) -> tuple[_Meetings, _Objects, _Objects]:
    """All pairs of numbered objects that meet, and the objects of either side; 0 is none."""
    ours, theirs = (_Objects(*np.unique(labels[labels != 0], return_counts=True)) for labels in (predicted, truth))
    shared = (predicted != 0) & (truth != 0)
    a, b = np.searchsorted(ours.ids, predicted[shared]), np.searchsorted(theirs.ids, truth[shared])
    pairs, pixels = np.unique(a * max(1, len(theirs.ids)) + b, return_counts=True)
    return _Meetings(*np.divmod(pairs, max(1, len(theirs.ids))), pixels), ours, theirs
