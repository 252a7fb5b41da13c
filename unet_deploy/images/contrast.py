"""Between which grey values pictures show an image: percentiles, so that a few bright pixels do not darken the rest."""

from __future__ import annotations

import numpy as np

SHOWN = (0.5, 99.7)
"""The percentiles that become black and white."""


def stretched(grey: np.ndarray) -> np.ndarray:
    """Stretch grey values, float32 and overwritten, to 0..255 between the percentiles, all channels alike.

    Where both are one value, what there is of others is shown between the least and the largest.

    >>> stretched(np.array([3, 3, 3, 5], np.float32)).round().tolist()
    [0.0, 0.0, 0.0, 255.0]
    """
    low, high = np.percentile(grey, SHOWN)
    if high <= low:
        low, high = grey.min(), grey.max()
    grey -= low
    grey *= 255 / (high - low if high > low else 1)
    return np.clip(grey, 0, 255, out=grey)
