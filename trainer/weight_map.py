"""How much each pixel counts in the loss: equation 2 of Ronneberger et al. 2015.

w(x) = w_c(x) + w0 * exp(-(d1(x) + d2(x))^2 / (2 sigma^2)), with d1 and d2 the distances in pixels to the
nearest and the second nearest object.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

REACH = 6
"""In sigmas: beyond it the border term is below 1.6e-7."""


def border_weights(objects: np.ndarray, *, w0: float = 10.0, sigma: float = 5.0) -> np.ndarray:
    """The border term for object labels (H, W) int, 0 the background; (H, W) float32.

    It is 0 inside objects: what has to be learned is the gap (figure 3d).
    """
    nearest = np.full(objects.shape, np.inf, np.float32)
    second = nearest.copy()
    reach = int(np.ceil(REACH * sigma))
    for label, box in enumerate(ndimage.find_objects(objects), start=1):
        if box is None:
            continue
        window = tuple(slice(max(0, s.start - reach), s.stop + reach) for s in box)
        distance = ndimage.distance_transform_edt(objects[window] != label).astype(np.float32)
        near, next_ = nearest[window], second[window]
        np.minimum(next_, np.maximum(near, distance), out=next_)
        np.minimum(near, distance, out=near)
    weights = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    return np.where(objects == 0, weights, 0).astype(np.float32)


def class_weights(counts: Sequence[int] | np.ndarray, *, balance: float = 1.0) -> np.ndarray:
    """w_c for pixel counts of K classes: proportional to frequency^-balance, averaging 1 over all pixels.

    balance 1 gives every class the same share of the loss, as in the paper; 0 counts every pixel alike.
    Returns (K,) float32.
    """
    frequency = np.asarray(counts, np.float64) / np.sum(counts)
    weights = frequency**-balance
    return (weights / (frequency * weights).sum()).astype(np.float32)
