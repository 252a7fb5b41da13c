"""How good a segmentation is. NumPy and SciPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    overlaps, found, expected = _overlaps(predicted, truth)
    results = []
    for threshold in thresholds:
        hits = int((overlaps > threshold).sum() if threshold == 0.5 else (overlaps >= threshold).sum())
        results.append(Matches(hits, found - hits, expected - hits))
    return results


def _overlaps(predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Intersection over union of all pairs that meet, and the numbers of objects on either side."""
    a_ids, a_area = np.unique(predicted[predicted != 0], return_counts=True)
    b_ids, b_area = np.unique(truth[truth != 0], return_counts=True)
    both = (predicted != 0) & (truth != 0)
    a, b = np.searchsorted(a_ids, predicted[both]), np.searchsorted(b_ids, truth[both])
    pairs, together = np.unique(a * len(b_ids) + b, return_counts=True)
    a, b = np.divmod(pairs, max(1, len(b_ids)))
    return together / (a_area[a] + b_area[b] - together), len(a_ids), len(b_ids)
