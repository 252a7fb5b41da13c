"""How far two partitions of an image agree: the measures of the ISBI 2012 challenge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from unet_deploy.evaluation.contingency import Contingency
from unet_deploy.system.extras import importing


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
    table = Contingency.of(predicted[inside], truth[inside])
    single = total - int(table.pixels.sum())

    def squares(sizes: np.ndarray, singles: int) -> float:
        return float((sizes.astype(np.float64) ** 2).sum()) + singles

    def entropy(sizes: np.ndarray, singles: int) -> float:
        share = sizes / total
        return float(-(share * np.log(share)).sum()) + singles / total * np.log(total)

    joint, mine, theirs = (table.pixels, single), (table.predicted.pixels, single), (table.truth.pixels, 0)
    information = entropy(*mine) + entropy(*theirs) - entropy(*joint)
    entropies = entropy(*mine) + entropy(*theirs)
    pairs, one_side = squares(*joint) - total, squares(*mine) + squares(*theirs) - 2 * total
    return PartitionScore(
        v_rand=2 * squares(*joint) / (squares(*mine) + squares(*theirs)),
        v_info=2 * information / entropies if entropies > 0 else 1.0,
        rand_error=1 - 2 * pairs / one_side if one_side else 0.0,
    )


def partition(foreground: np.ndarray) -> np.ndarray:
    """Grow the segments of a (H, W) bool mask until borders of one pixel are between them: (H, W) int32, 0 the borders.

    The 4-connected components grow into the background until they meet: a 4-connected watershed.
    """
    with importing("skimage", "train"):
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
