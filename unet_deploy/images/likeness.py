"""Whether an image is the one that a mask was made of, wherever it lies by now and however it is packed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import product

import numpy as np

from unet_deploy.errors import ImageError
from unet_deploy.images import ImageSource
from unet_deploy.tiling import Region

_SQUARES, _SIDE = 3, 64
"""So many squares each way, spread evenly, of so many pixels a side."""

_AT_ONCE = 1 << 18
"""Pixels of an image that is read as a whole."""


def likeness(source: ImageSource) -> str:
    """Return a hash of how large an image is and of some squares of its first page, at the level that is read.

    A copy has the same, in another format too; what differs between the squares alone is not seen. Empty where a
    square cannot be read.
    """
    info = source.info
    digest = sha256(repr((info.pages, info.channels, info.height, info.width, info.dtype.str[1:])).encode())
    places = product(spread_over(info.height, _SIDE), spread_over(info.width, _SIDE))
    squares = [Region(y, x, min(_SIDE, info.height), min(_SIDE, info.width)) for y, x in places]
    try:
        for pixels in _read(source, squares):
            digest.update(np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes())
    except ImageError:
        return ""
    return digest.hexdigest()[:24]


def spread_over(side: int, square: int) -> list[int]:
    """Where squares begin that are spread evenly along a side, in pixels; fewer where it is too short for several."""
    return sorted({round(at) for at in np.linspace(0, max(0, side - square), _SQUARES)})


def _read(source: ImageSource, squares: Sequence[Region]) -> Iterator[np.ndarray]:
    """Pixels (C, h, w) of each square; a small image is read once, because a square takes whole strips of it."""
    whole = source.info.region
    if whole.height * whole.width <= _AT_ONCE:
        page = source.crop(0, whole)
        yield from (page[(..., *each.slices)] for each in squares)
    else:
        yield from (source.crop(0, each) for each in squares)
