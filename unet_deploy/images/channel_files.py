"""An image whose channels are files of their own, one each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np

from unet_deploy.errors import ImageError
from unet_deploy.images import ImageInfo, ImageSource, check_channel
from unet_deploy.images.channels import channel_number, usable_names
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.tiling import Region


def open_channels(paths: Sequence[Path], names: Sequence[str] = (), reading: Reading = AS_SAID) -> ImageSource:
    """Open files as the channels of one image, or the one of them that `reading` wants.

    names: what the channels are called; empty where they have no names.
    Raises ImageError as `open_image`, and for files of several channels or of different sizes.
    """
    called = usable_names(names, len(paths))
    number = channel_number(reading.channel, called, paths[0])
    check_channel(number, len(paths), paths[0])
    alone = replace(reading, channel=None)
    with ExitStack() as opened:
        sources = [opened.enter_context(alone.open(path)) for path in paths]
        for source in sources:
            _check_alike(source.info, sources[0].info)
        chosen = sources if number is None else [sources[number]]
        wanted = called if number is None else called[number : number + 1]
        opened.pop_all()
    for source in sources:
        if source not in chosen:
            source.close()
    return ChannelFiles(chosen, wanted)


def _check_alike(info: ImageInfo, first: ImageInfo) -> None:
    """Raise ImageError unless a file is one channel, and like the first one."""
    if info.channels != 1:
        raise ImageError(f"{info.name}: has {info.channels} channels, but is one channel of an image; save it as grey")
    (ours, words), (theirs, others) = map(_shape, (info, first))
    if ours != theirs:
        raise ImageError(f"{info.name}: is {words}, but {first.name} is {others}; channels of an image are alike")


def _shape(info: ImageInfo) -> tuple[tuple[object, ...], str]:
    """What channels of an image have in common, and in words."""
    pages = f"{info.pages} pages of " if info.pages > 1 else ""
    words = f"{pages}{info.height} x {info.width} pixels {info.dtype}"
    return (info.pages, info.height, info.width, info.dtype, info.orientation), words


class ChannelFiles(ImageSource):
    """Sources of one channel each, alike in all but that, as the channels of one image; closes them with itself."""

    def __init__(self, sources: Sequence[ImageSource], names: tuple[str, ...] = ()) -> None:
        self._sources = tuple(sources)
        self.cache_bytes = sum(source.cache_bytes for source in sources)
        self.asked_nodata = sources[0].asked_nodata
        self.info = replace(sources[0].info, channels=len(sources), channel_names=names, levels=())

    def crop(self, page: int, region: Region) -> np.ndarray:
        return np.concatenate([source.crop(page, region) for source in self._sources])

    def crop_valid(self, page: int, region: Region) -> np.ndarray | None:
        valid = [source.crop_valid(page, region) for source in self._sources]
        there = [each for each in valid if each is not None]
        return reduce(np.logical_and, there) if there else None

    def state(self) -> str:
        return " ".join(source.state() for source in self._sources)

    def close(self) -> None:
        for source in self._sources:
            source.close()
