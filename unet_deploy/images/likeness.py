"""Whether an image is the one that a mask was made of, wherever it lies by now and however it is packed."""

from __future__ import annotations

from hashlib import sha256

import numpy as np

from unet_deploy.errors import ImageError
from unet_deploy.images import ImageSource
from unet_deploy.tiling import Region

_SQUARES, _SIDE = 3, 64
"""So many squares each way, spread evenly, of so many pixels a side."""


def likeness(source: ImageSource) -> str:
    """Return a hash of how large an image is and of some squares of its first page, at the level that is read.

    A copy has the same, in another format too; what differs between the squares alone is not seen. Empty where a
    square cannot be read.
    """
    info = source.info
    digest = sha256(repr((info.pages, info.channels, info.height, info.width, info.dtype.str[1:])).encode())
    for y in spread_over(info.height, _SIDE):
        for x in spread_over(info.width, _SIDE):
            part = Region(y, x, min(_SIDE, info.height), min(_SIDE, info.width))
            try:
                pixels = source.crop(0, part)
            except ImageError:
                return ""
            digest.update(np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()[:24]


def spread_over(side: int, square: int) -> list[int]:
    """Where squares begin that are spread evenly along a side, in pixels; fewer where it is too short for several."""
    return sorted({round(at) for at in np.linspace(0, max(0, side - square), _SQUARES)})
