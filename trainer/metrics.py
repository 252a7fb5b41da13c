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
    """Share of pixels that differ between two bool masks."""
    return float((predicted != truth).mean())


def warping_error(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Share of pixels that lie in splits and mergers, once the truth was warped towards the prediction.

    Both are (H, W) bool masks. Warping flips pixels that differ wherever that changes no topology (Jain et al. 2010,
    section 4; foreground 4-connected, background 8-connected, background beyond the image). Of the parts that still
    differ, those count that join true objects or cut one, as in the ISBI 2012 challenge (WarpingError of Fiji's
    Trainable Segmentation, minimum splits and mergers); holes, lost and invented objects do not.
    """
    warped = _warped(predicted, truth)
    objects, _ = ndimage.label(warped)
    boxes = ndimage.find_objects(objects)
    added, _ = ndimage.label(predicted & ~warped)
    gone, _ = ndimage.label(warped & ~predicted, np.ones((3, 3)))
    wrong = 0
    for number, box in enumerate(ndimage.find_objects(added), start=1):
        around = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
        part = added[around] == number
        met = objects[around][ndimage.binary_dilation(part)]
        if len(np.unique(met[met > 0])) > 1:
            wrong += int(part.sum())
    for number, box in enumerate(ndimage.find_objects(gone), start=1):
        part = gone[box] == number
        for cut in np.unique(objects[box][part]):
            left = (objects[boxes[cut - 1]] == cut) & (gone[boxes[cut - 1]] != number)
            if ndimage.label(left)[1] > 1:
                wrong += int((part & (objects[box] == cut)).sum())
    return wrong / truth.size


def _warped(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The truth, as near to the prediction as its topology lets it come, pixel by pixel.

    Pixels of one in four lattices have no neighbour in common, so those of a lattice may flip together.
    """
    simple = _simple_points()
    warped, target = np.pad(truth, 1), np.pad(predicted, 1)
    height, width = truth.shape
    flipped = True
    while flipped:
        flipped = False
        for top, left in ((0, 0), (0, 1), (1, 0), (1, 1)):
            code = np.zeros((len(range(top, height, 2)), len(range(left, width, 2))), np.uint8)
            for bit, (y, x) in enumerate(_NEIGHBOURS):
                code |= (
                    warped[1 + y + top : 1 + y + height : 2, 1 + x + left : 1 + x + width : 2].astype(np.uint8) << bit
                )
            here = (slice(1 + top, 1 + height, 2), slice(1 + left, 1 + width, 2))
            change = (warped[here] != target[here]) & simple[code]
            warped[here] ^= change
            flipped = flipped or bool(change.any())
    return warped[1:-1, 1:-1]


_NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


@cache
def _simple_points() -> np.ndarray:
    """(256,) bool by the neighbours that are foreground, in the order of _NEIGHBOURS: may the pixel change sides?

    It may when one 4-connected part of its foreground neighbours is beside it, and its background neighbours are one
    8-connected part.
    """
    simple = np.zeros(256, bool)
    beside = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)
    for code in range(256):
        foreground = np.zeros((3, 3), bool)
        for bit, (y, x) in enumerate(_NEIGHBOURS):
            foreground[1 + y, 1 + x] = code >> bit & 1
        background = ~foreground
        background[1, 1] = False
        parts, _ = ndimage.label(foreground)
        _, holes = ndimage.label(background, np.ones((3, 3)))
        simple[code] = len(np.unique(parts[beside & foreground])) == 1 and holes == 1
    return simple


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
