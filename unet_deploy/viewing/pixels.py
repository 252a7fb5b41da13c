"""Pixels of an image as they are shown, and which of them hold data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unet_deploy.images import ImageSource
from unet_deploy.images.orientation import stored_region, upright
from unet_deploy.tiling import Region


@dataclass(frozen=True)
class Pixels:
    """What of an image is to be shown."""

    values: np.ndarray
    """(C, h, w), grey values or labels."""
    there: np.ndarray | None = None
    """(h, w) bool, which of them hold data; None where all do."""


def read_upright(source: ImageSource, page: int, part: Region) -> Pixels:
    """Read a part of the level that a source is turned to; the part and its pixels are as shown. Raises ImageError."""
    region, orientation = stored_region(part, source.info), source.info.orientation
    values = source.crop(page, region)
    there = source.data_in(page, region, values)
    return Pixels(upright(values, orientation), None if there is None else upright(there, orientation))
