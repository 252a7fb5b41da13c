"""How far masks lie beside what a model sees: tools differ in where they put the middle of a pixel."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np


class Displacement(NamedTuple):
    """Pixels down and right of what a model sees that the masks lie."""

    down: float
    right: float


NOWHERE = Displacement(0.0, 0.0)


def displacement(probabilities: np.ndarray, labels: np.ndarray) -> Displacement:
    """Measure how far the masks lie from what a model sees, to a fraction of a pixel.

    probabilities: (K, H, W); labels: (H, W) class indices. The shift at which the two correlate most: uphill pixel by
    pixel, then the top of a parabola in each axis. (0, 0) where they hardly correlate: that says nothing of the masks.
    """
    planes = [(p.astype(np.float32), (labels == k).astype(np.float32)) for k, p in enumerate(probabilities)]
    planes = [(p, t) for p, t in planes if p.std() > 0 and t.std() > 0]
    reach = min(labels.shape) // 4
    if not planes or not reach:
        return NOWHERE

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
    here = agreement(*best)
    if here < len(planes) / 3:
        return NOWHERE
    down, right = best
    return Displacement(
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
