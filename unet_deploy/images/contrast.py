"""Between which grey values pictures show an image: percentiles, so that a few bright pixels do not darken the rest."""

from __future__ import annotations

import numpy as np

SHOWN = (0.5, 99.7)
"""The percentiles that become black and white."""

Contrast = tuple[float, float]
"""The grey values that become black and white."""


def contrast_of(grey: np.ndarray) -> Contrast:
    """Return the percentiles of grey values; the least and the largest where these are one."""
    low, high = np.percentile(grey, SHOWN)
    if high <= low:
        low, high = grey.min(), grey.max()
    return low, high


def stretched(grey: np.ndarray, contrast: Contrast | None = None) -> np.ndarray:
    """Stretch grey values, float32 and overwritten, to 0..255, all channels alike. contrast: by default their own.

    >>> stretched(np.array([3, 3, 3, 5], np.float32)).round().tolist()
    [0.0, 0.0, 0.0, 255.0]
    """
    low, high = contrast or contrast_of(grey)
    grey -= low
    grey *= 255 / (high - low if high > low else 1)
    return np.clip(grey, 0, 255, out=grey)
