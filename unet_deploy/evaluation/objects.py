"""How many objects were found, invented, missed or merged, and how well each true one is covered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from unet_deploy.evaluation.contingency import Contingency
from unet_deploy.objects.parts import objects_of
from unet_deploy.objects.rules import Rules

IOU_THRESHOLDS = tuple(np.arange(50, 100, 5) / 100)
"""Intersection over union 0.5, 0.55 ... 0.95."""


def connected_objects(foreground: np.ndarray) -> np.ndarray:
    """Number the 4-connected components of a (H, W) bool mask: (H, W) int32, 0 the background."""
    labels, _ = ndimage.label(foreground)
    return labels.astype(np.int32)


def objects_found(labels: np.ndarray, rules: Rules, probabilities: np.ndarray | None = None) -> np.ndarray:
    """Number what counts as an object in the foreground of (H, W) classes or bool: (H, W) int32, 0 the background.

    probabilities: (K, H, W), as of `objects_of`.
    """
    return objects_of((labels > 0).astype(np.uint8), rules, probabilities).astype(np.int32)


def without_small(objects: np.ndarray, min_size: int) -> np.ndarray:
    """Numbered objects (H, W) without those of fewer pixels."""
    small = np.bincount(objects.reshape(-1)) < min_size
    return np.where(small[objects], objects.dtype.type(0), objects)


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
    table = Contingency.of(predicted, truth)
    overlaps = table.iou
    results = []
    for threshold in thresholds:
        hits = int((overlaps > threshold).sum() if threshold == 0.5 else (overlaps >= threshold).sum())
        results.append(Matches(hits, len(table.predicted.ids) - hits, len(table.truth.ids) - hits))
    return results


@dataclass(frozen=True)
class Jaccard:
    """The Jaccard indices of true objects: their sum, and how many objects there are."""

    total: float
    objects: int

    @property
    def mean(self) -> float | None:
        """SEG; None where there is no object, and so nothing to say."""
        return float(self.total / self.objects) if self.objects else None

    def __add__(self, other: Jaccard) -> Jaccard:
        return Jaccard(self.total + other.total, self.objects + other.objects)


def seg_measure(predicted: np.ndarray, truth: np.ndarray) -> Jaccard:
    """Measure the cell tracking challenge's SEG of two (H, W) int label images, 0 the background.

    A true object's partner covers more than half of it, so there is one at most; without one it counts 0.
    """
    table = Contingency.of(predicted, truth)
    return Jaccard(float(table.iou[table.holds_most].sum()), len(table.truth.ids))


def mergers(predicted: np.ndarray, truth: np.ndarray) -> dict[int, int]:
    """Objects of the prediction that more than half of several true objects lies in, and how many those are."""
    table = Contingency.of(predicted, truth)
    places, inside = np.unique(table.rows[table.holds_most], return_counts=True)
    several = inside > 1
    return dict(zip(table.predicted.ids[places[several]].tolist(), inside[several].tolist(), strict=True))


def count_merged(predicted: np.ndarray, truth: np.ndarray) -> int:
    """True objects that lie more than half in an object of the prediction which holds another one as well.

    The first of each such group does not count: two nuclei that became one are one merger.
    """
    return sum(inside - 1 for inside in mergers(predicted, truth).values())
