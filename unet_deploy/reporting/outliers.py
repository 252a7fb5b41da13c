"""Which of several images are unlike the others, by what was measured of each."""

from __future__ import annotations

import numpy as np

UNLIKE = 3.5
"""From here on a modified z-score is that of an outlier (Iglewicz and Hoaglin 1993, "How to detect and handle
outliers", p. 11)."""

LEAST = 5
"""Images from which it can be said what is usual."""


def scores(values: np.ndarray) -> np.ndarray:
    """Return how far each of (n,) numbers lies from their median, in units of their usual distance from it.

    That is the modified z-score, without its sign: 0.6745 |x - median| / MAD, or |x - median| / (1.2533 mean |x -
    median|) where more than half are the median itself. Numbers that are not finite are not known, and score 0.

    >>> scores(np.array([1.0, 2.0, 3.0, 4.0, 100.0])).round(1).tolist()
    [1.3, 0.7, 0.0, 0.7, 65.4]
    """
    known = np.isfinite(values)
    found = np.zeros(len(values))
    if known.sum() < LEAST:
        return found
    apart = np.abs(values[known] - np.median(values[known]))
    usual = np.median(apart) / 0.6745 or 1.2533 * apart.mean()
    if usual:
        found[known] = apart / usual
    return found
