"""Pictures in: one file for each family of formats, each an `ImageSource`. `open_image` is the door."""

from __future__ import annotations

import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import Self

from unet_deploy.errors import ImageError, address
from unet_deploy.images.channels import Channel, numbered_names
from unet_deploy.images.nodata import holds_data
from unet_deploy.images.samples import Meaning
from unet_deploy.images.sizes import LevelPlace, PageAxis, PixelSizes
from unet_deploy.model.card import ModelCard
from unet_deploy.system.extras import require
from unet_deploy.tiling import Region, mirror

if TYPE_CHECKING:
    from unet_deploy.images.on_map import OnMap

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".svs")
RASTER_SUFFIXES = (".png", ".jpg", ".jpeg")
NPY_SUFFIX = ".npy"
"""Of masks alone."""
SILENCE = 20.0
"""Seconds that a server may be silent before it is asked again."""

MOST_PIXELS = 1 << 46
"""Of all pages together: 10 megapixels a second take 80 days for them. An image that claims more is damaged."""

_ZARR_FILES = ("zarr.json", ".zattrs", ".zgroup", ".zarray")


@dataclass(frozen=True)
class ImageInfo:
    """What an image is, known before a pixel is decoded. Raises ImageError for a size that no image has."""

    name: str
    """The file as errors name it."""
    pages: int
    """Planes that are segmented one by one: TIFF pages, z slices, time points."""
    channels: int
    height: int
    width: int
    dtype: np.dtype[Any]
    sizes: PixelSizes = field(default_factory=PixelSizes)
    """Of the pixels that are read, and between pages."""
    page_axes: tuple[PageAxis, ...] = ()
    """What pages are counted along, the slowest first; empty where that has no name."""
    place: LevelPlace = field(default_factory=LevelPlace)
    """Where the pixels that are read lie in those of the finest level."""
    on_map: OnMap | None = None
    """Where the pixels of the finest level lie on a map, where the file says that."""
    levels: tuple[tuple[int, int], ...] = ()
    """(height, width) of every level of the pyramid, the finest first; empty where there is but one."""
    tags: Mapping[str, Any] = field(default_factory=dict)
    """What a mask must carry over, as tifffile writes it: resolution, colour profile, orientation, GeoTIFF keys."""
    nodata: float | None = None
    """The value of pixels that are no data, where the file says one."""
    note: str = ""
    """One line on what of the file is not read (other series), or is not what it seems; empty when there is nothing."""
    bands: str = ""
    """What its channels are, where that is neither grey nor red, green and blue."""
    channel_names: tuple[str, ...] = ()
    """What the file calls each of its channels that are read; empty where it says nothing."""
    orientation: int = 1
    """How the stored pixels lie, by the numbers of TIFF's tag 274; the mask says the same."""

    def __post_init__(self) -> None:
        if self.pages * self.height * self.width > MOST_PIXELS:
            size = f"{self.pages} x {self.height} x {self.width}"
            raise ImageError(f"{self.name}: claims {size} pixels, which no image has; copy it or save it again")

    @property
    def pixel_size_um(self) -> float | None:
        """The side of a pixel as one number, as a model has it; None where it is not known."""
        return self.sizes.side_um

    @property
    def stack(self) -> tuple[PageAxis, ...]:
        """What the pages of a mask are counted along: time before slices, as all formats of masks have it.

        Pages that are counted otherwise, or that have no name, are slices in a row; a single page is none.
        """
        if tuple(axis.name for axis in self.page_axes) in (("t",), ("z",), ("t", "z")):
            return tuple(map(self.sizes.along, self.page_axes))
        return (PageAxis("z", self.pages),) if self.pages > 1 else ()

    def steps(self, page: int) -> tuple[tuple[str, int], ...]:
        """Return which step of each named axis a page is, as (("t", 1), ("z", 0)); empty where axes have no name."""
        sizes = [axis.size for axis in self.page_axes]
        at = np.unravel_index(page, sizes) if sizes else ()
        return tuple((axis.name, int(step)) for axis, step in zip(self.page_axes, at, strict=True))

    @property
    def region(self) -> Region:
        """All of a page."""
        return Region(0, 0, self.height, self.width)


class ImageSource(ABC):
    """An image that is read region by region. A context manager; not safe to read from two threads."""

    info: ImageInfo
    cache_bytes: int = 0
    """The most bytes of decoded pixels that it keeps."""
    asked_nodata: float | None = None
    """The value of pixels that are no data, where the user says one; it goes before the file's."""

    @abstractmethod
    def crop(self, page: int, region: Region) -> np.ndarray:
        """The pixels of a region that lies inside the image: (C, h, w) of `info.dtype`, not to be written to.

        Raises ImageError when the file cannot be decoded there.
        """

    def read(self, page: int, region: Region) -> np.ndarray:
        """The pixels of any region, mirrored where it hangs over the image: (C, h, w) of `info.dtype`."""
        inside, mirrored = self._inside(region)
        return mirrored(self.crop(page, inside))

    def crop_valid(self, page: int, region: Region) -> np.ndarray | None:
        """Which pixels of a region inside the image the file says to be there, bool (h, w); None where it says of all.

        By alpha or by a mask of its own, beside any value that stands for no data. Raises as `crop`.
        """
        return None

    def data_in(self, page: int, region: Region, pixels: np.ndarray) -> np.ndarray | None:
        """Which pixels of a region hold data, bool (h, w); None where all do.

        pixels: (C, h, w), what `read` or `crop` gave of the region.
        """
        inside, mirrored = self._inside(region)
        valid, nodata = self.crop_valid(page, inside), self.nodata
        there = None if valid is None else mirrored(valid)
        if nodata is None:
            return there
        by_value = holds_data(pixels, nodata)
        return by_value if there is None else by_value & there

    @property
    def nodata(self) -> float | None:
        """The value of pixels that are no data: what the user says, or else the file."""
        return self.info.nodata if self.asked_nodata is None else self.asked_nodata

    @property
    def may_lack_data(self) -> bool:
        """Whether pixels can be no data at all, by their value or because the file says where there is some."""
        return self.nodata is not None or self.crop_valid(0, Region(0, 0, 1, 1)) is not None

    @property
    def stored(self) -> ImageSource:
        """What is decoded: the image itself, or the coarser level that stands for it."""
        return self

    def _inside(self, region: Region) -> tuple[Region, Callable[[np.ndarray], np.ndarray]]:
        """What of the image a region shows, and what makes its pixels (..., h, w) of that: the rest is mirrored."""
        info = self.info
        if region.y >= 0 and region.x >= 0 and region.bottom <= info.height and region.right <= info.width:
            return region, lambda pixels: pixels
        rows = mirror(region.y, region.bottom, info.height)
        columns = mirror(region.x, region.right, info.width)
        top, left = int(rows.min()), int(columns.min())
        inside = Region(top, left, int(rows.max()) + 1 - top, int(columns.max()) + 1 - left)

        def mirrored(pixels: np.ndarray) -> np.ndarray:
            return pixels.take(columns - left, -1).take(rows - top, -2)  # seven times as fast as both at once

        return inside, mirrored

    def turn_to(self, level: int) -> None:
        """Read another level of the pyramid from now on, 0 the finest. Raises ImageError where there is none."""
        check_level(level, 1, self.info.name)

    def reopened(self, level: int) -> ImageSource:
        """The same image, open once more at another level of its pyramid. Raises ImageError where there is none."""
        raise ImageError(f"{self.info.name}: has no level {level} to be opened beside it")

    def state(self) -> str:
        """A hash that changes when what is read of the image does, asked anew of the file each time.

        It holds no secret of a URL, and is empty for pixels in memory. Raises ImageError where the file cannot be
        read, or is not the one any more that was opened.
        """
        return ""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def is_zarr(path: Path) -> bool:
    """Return whether a name is that of a Zarr folder or of something in one, seen from any folder; so are all URLs."""
    whole = os.path.abspath(path)
    if f".zarr{os.sep}" in f"{whole}{os.sep}" or is_url(path) or is_zarr_folder(path):
        return True
    folder = os.path.dirname(whole)
    return os.path.basename(folder) == "labels" and is_zarr_folder(os.path.dirname(folder))


def is_zarr_folder(path: Path | str) -> bool:
    """Return whether a folder holds the metadata of a Zarr."""
    return os.path.isdir(path) and any(os.path.isfile(os.path.join(path, name)) for name in _ZARR_FILES)


def is_url(path: PurePath) -> bool:
    """Return whether a path was made of a URL."""
    return re.match(r"[a-z][a-z0-9+.-]+:/", path.as_posix()) is not None


def url_of(path: PurePath) -> str:
    """Return the URL that a path was made of: paths leave one of two slashes out."""
    return re.sub(r"^([a-z0-9+.-]+):/+", r"\1://", path.as_posix())


def open_image(
    path: Path, *, channel: Channel | None = None, level: int = 0, meaning: Meaning = "auto", timeout: float = SILENCE
) -> ImageSource:
    """Open a TIFF, PNG or JPEG file or an OME-Zarr; `channel` picks one of several, `level` one of a pyramid.

    meaning: what stored numbers stand for where the file has a table of colours, or says that 0 is white.
    timeout: seconds that a server may be silent before it is asked again, twice, and given up.
    Raises ImageError, and UsageError where the zarr package is wanted and missing.
    """
    check_stored(path)
    suffix = path.suffix.lower()
    if is_url(path) and suffix in TIFF_SUFFIXES + RASTER_SUFFIXES:
        raise ImageError(f"{address(url_of(path))}: only OME-Zarr is read from a server; download the file first")
    if path.is_dir() and not is_zarr(path):
        raise ImageError(f"{path}: is a folder and no OME-Zarr; name the images in it")
    if is_zarr(path):
        require("zarr", "zarr")
        from unet_deploy.images.zarr_image import ZarrSource

        return ZarrSource(url_of(path) if is_url(path) else path, channel=channel, level=level, timeout=timeout)
    if suffix == NPY_SUFFIX and meaning == "labels":
        from unet_deploy.images.npy import open_npy

        return open_npy(path)
    if suffix in TIFF_SUFFIXES:
        from unet_deploy.images.tiff import TiffSource

        return TiffSource(path, channel=channel, level=level, meaning=meaning)
    if suffix in RASTER_SUFFIXES:
        from unet_deploy.images.raster import RasterSource

        check_level(level, 1, path)
        return RasterSource(path, channel=channel, meaning=meaning)
    known = " ".join(TIFF_SUFFIXES + RASTER_SUFFIXES)
    raise ImageError(f"{path}: images of type {suffix or 'no suffix'} are not read; convert it to one of {known}")


def open_labels(path: Path) -> ImageSource:
    """Open a mask: its stored numbers are labels, however the file says that they are shown. Raises as `open_image`."""
    return open_image(path, meaning="labels")


def check_stored(path: Path) -> None:
    """Raise ImageError where a name is of nothing, or of a pipe or device, which may never answer or never end."""
    if is_url(path) or path.is_file() or path.is_dir():
        return
    if not path.exists():
        raise ImageError(f"{path}: no such file")
    raise ImageError(f"{path}: is a pipe, socket or device; save the image as a file first")


def check_level(level: int, levels: int, path: Path | str) -> None:
    """Raise ImageError unless a pyramid of so many levels has this one."""
    if not 0 <= level < levels:
        raise ImageError(f"{path}: has no level {level}; it has {levels}, counted from 0, the finest")


def check_channel(channel: int | None, channels: int, path: Path | str) -> None:
    """Raise ImageError unless an image of so many channels has this one."""
    if channel is not None and not 0 <= channel < channels:
        raise ImageError(f"{path}: has no channel {channel}; it has {channels}, counted from 0")


def check_fits(info: ImageInfo, card: ModelCard, *, remedy: str = "") -> None:
    """Raise ImageError unless the model takes as many channels as the image has.

    remedy: what the user can do about it, by default what the options of `segment` can.
    """
    if info.channels == card.channels:
        return
    names = f": {numbered_names(info.channel_names)}" if info.channel_names else ""
    options = f"choose one with --channel{names}" if card.channels == 1 else "choose another model with --model"
    has = "1 channel" if info.channels == 1 else f"{info.channels} channels"
    has += f" ({info.bands})" if info.bands else ""
    raise ImageError(f"{info.name}: {has}, but model {card.name!r} takes {card.channels}; {remedy or options}")


def nearest_level(info: ImageInfo, pixel_size_um: float | None) -> int:
    """Return the level of a pyramid whose pixels are nearest in size; 0 where there is but one.

    Raises ImageError where either size is not known.
    """
    if not info.levels:
        return 0
    if not info.pixel_size_um or not pixel_size_um:
        whose = "the model" if info.pixel_size_um else info.name
        raise ImageError(
            f"{info.name}: the pixel size of {whose} is not known; give --level 0 to {len(info.levels) - 1}"
        )
    pixels = math.prod(info.levels[0])
    sizes = [info.pixel_size_um * math.sqrt(pixels / math.prod(level)) for level in info.levels]
    return min(range(len(sizes)), key=lambda at: abs(math.log(sizes[at] / pixel_size_um)))
