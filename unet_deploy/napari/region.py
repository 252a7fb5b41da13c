"""Which pixels of an image the shapes lie on that a person has drawn over it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from unet_deploy.errors import UsageError
from unet_deploy.tiling import Region


def region_of(shapes: Any, image: Any) -> Region:
    """Return the rectangle of pixels around the selected shapes, or around all where none is selected.

    shapes, image: layers, each with a place of its own. A pixel counts that is touched; its centre is at its number,
    so that the first lies between -0.5 and 0.5. Raises UsageError where there are no shapes, or none on the image.
    """
    chosen = [shapes.data[at] for at in sorted(shapes.selected_data)] or list(shapes.data)
    if not chosen:
        raise UsageError(f"{shapes.name}: has no shape; draw a rectangle around what is to be segmented")
    corners = np.array([_carried(each, shapes, image) for each in np.concatenate(chosen)])
    height, width = sides_of(image)
    y, x = (max(0, math.floor(least + 0.5)) for least in corners.min(axis=0)[-2:])
    bottom, right = (math.ceil(most + 0.5) for most in corners.max(axis=0)[-2:])
    region = Region(y, x, min(bottom, height) - y, min(right, width) - x)
    if min(region.sides) < 1:
        raise UsageError(f"{shapes.name}: lies beside {image.name}; draw a rectangle on it")
    return region


def sides_of(image: Any) -> tuple[int, int]:
    """Return the height and width of an image layer, in its finest pixels."""
    shape = (image.data[0] if image.multiscale else image.data).shape
    height, width = shape[-3:-1] if image.rgb else shape[-2:]
    return height, width


def _carried(point: np.ndarray, shapes: Any, image: Any) -> np.ndarray:
    """A point of one layer in the pixels of another, which may have axes that the first has not."""
    world = np.zeros(max(image.ndim, shapes.ndim))
    world[-shapes.ndim :] = shapes.data_to_world(point)
    return np.asarray(image.world_to_data(world[-image.ndim :]))
