"""The outline of a mask, as a shape: where a program keeps pixels of an object in place of its line."""

from __future__ import annotations

import numpy as np

from unet_deploy.annotations.shapes import Polygon
from unet_deploy.objects.outlines import outlines
from unet_deploy.tiling import Region


def traced(mask: np.ndarray, y: int = 0, x: int = 0) -> tuple[Polygon, ...]:
    """The polygons along the pixel edges of a mask (h, w) bool whose first pixel is at y, x; none for none.

    >>> [[ring.tolist() for ring in polygon] for polygon in traced(np.array([[False, True]]), 5, 7)]
    [[[[8.0, 5.0], [9.0, 5.0], [9.0, 6.0], [8.0, 6.0]]]]
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return ()
    top, left = int(rows[0]), int(columns[0])
    held = mask[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.uint32)
    (outline,) = outlines([(Region(0, 0, *held.shape), held)])
    return tuple(tuple(ring + np.array([x + left, y + top], np.float64) for ring in each) for each in outline.polygons)
