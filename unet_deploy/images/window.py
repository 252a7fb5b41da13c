"""A part of an image as an image of its own, which still sees what lies around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from unet_deploy.errors import UsageError
from unet_deploy.images import ImageInfo, ImageSource
from unet_deploy.tiling import Region


class Window(ImageSource):
    """A region of another source, in coordinates of its own. What is read beyond it is the image's, not a mirror.

    page: the only one that it has, as its page 0; all by default.
    """

    def __init__(self, source: ImageSource, region: Region, *, page: int | None = None) -> None:
        self._source, self._region, self._first = source, region, page or 0
        pages = source.info.pages if page is None else 1
        self.info = replace(source.info, pages=pages, height=region.height, width=region.width)
        self.cache_bytes = source.cache_bytes

    def crop(self, page: int, region: Region) -> np.ndarray:
        return self._source.crop(self._first + page, region.moved(self._region.y, self._region.x))

    def read(self, page: int, region: Region) -> np.ndarray:
        return self._source.read(self._first + page, region.moved(self._region.y, self._region.x))

    def close(self) -> None:
        """The source is its owner's."""


def parse_region(text: str) -> Region:
    """'y,x,height,width' in pixels. Raises UsageError."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(part.isdigit() for part in parts) or 0 in map(int, parts[2:]):
        raise UsageError(f"--roi {text}: give y,x,height,width in pixels, for example 2000,3000,1024,1024")
    return Region(*map(int, parts))


def check_inside(region: Region, info: ImageInfo) -> None:
    """Raise UsageError unless a region lies in the image."""
    if region.bottom > info.height or region.right > info.width:
        raise UsageError(
            f"{info.name}: the region ends at ({region.bottom}, {region.right}), "
            f"but the image at ({info.height}, {info.width})"
        )


def aligned(region: Region, stride: int) -> Region:
    """The region from the next multiples of the stride on, up and left: tiles pool as they do in the whole image."""
    y, x = region.y // stride * stride, region.x // stride * stride
    return Region(y, x, region.bottom - y, region.right - x)
