"""Probabilities whose classes lie in the pages of a file, as in a TIFF without further words: as channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from unet_deploy.images import ImageSource
from unet_deploy.tiling import Region


class PlanesAsChannels(ImageSource):
    """A source of (pages * planes) pages of one channel as one of (pages) of (planes), which it takes over."""

    def __init__(self, source: ImageSource, planes: int) -> None:
        self._source, self._planes = source, planes
        self.asked_nodata = source.asked_nodata
        self.info = replace(source.info, pages=source.info.pages // planes, channels=planes, page_axes=())

    def crop(self, page: int, region: Region) -> np.ndarray:
        first = page * self._planes
        return np.concatenate([self._source.crop(at, region) for at in range(first, first + self._planes)])

    def turn_to(self, level: int) -> None:
        self._source.turn_to(level)

    def state(self) -> str:
        return self._source.state()

    def close(self) -> None:
        self._source.close()


def as_channels(source: ImageSource, planes: int) -> ImageSource:
    """Return a source whose channels are so many planes, where its pages are; any other as it is."""
    info = source.info
    if planes > 1 and info.channels == 1 and info.pages % planes == 0:
        return PlanesAsChannels(source, planes)
    return source
