"""How far two masks cover the same pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Overlap:
    """Pixels of one class: in both masks, in the prediction, in the truth."""

    both: int
    predicted: int
    true: int

    @classmethod
    def of(cls, predicted: np.ndarray, truth: np.ndarray) -> Overlap:
        """Count two bool masks of one shape.

        >>> Overlap.of(np.array([True, True, False]), np.array([False, True, True]))
        Overlap(both=1, predicted=2, true=2)
        """
        return cls(int((predicted & truth).sum()), int(predicted.sum()), int(truth.sum()))

    @property
    def dice(self) -> float:
        """2 |A and B| / (|A| + |B|); 1 when both masks are empty."""
        total = self.predicted + self.true
        return 2 * self.both / total if total else 1.0

    @property
    def iou(self) -> float:
        """|A and B| / |A or B|; 1 when both masks are empty."""
        union = self.predicted + self.true - self.both
        return self.both / union if union else 1.0

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(self.both + other.both, self.predicted + other.predicted, self.true + other.true)


def soft_dice(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean over classes of 2 sum(p t) / sum(p^2 + t^2), for (K, H, W) probabilities and (H, W) class indices.

    NVIDIA's UNet_Medical example reports this one, background included (runtime/losses.py).
    """
    scores = []
    for k, p in enumerate(probabilities.astype(np.float64)):
        t = labels == k
        scores.append((2 * p[t].sum() + 1e-6) / ((p**2).sum() + t.sum() + 1e-6))
    return float(np.mean(scores))
