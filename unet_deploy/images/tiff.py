"""TIFF in all its shapes, read region by region: only the strips or tiles that a region touches are decoded."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import TiffFile, TiffPage, TiffPageSeries

from unet_deploy.errors import ImageError, reason
from unet_deploy.images import ImageInfo, ImageSource, check_channel, check_level
from unet_deploy.images.carried import lost_note, writable
from unet_deploy.images.channels import Channel, channel_number, usable_names
from unet_deploy.images.directories import check_directories, layout_of
from unet_deploy.images.earth import EarthTag, earth_tags
from unet_deploy.images.on_map import on_map
from unet_deploy.images.orientation import ORIENTATION, lying_note, orientation_of
from unet_deploy.images.samples import Meaning, Samples, meaning_of
from unet_deploy.images.sizes import LevelPlace, PixelSizes, page_axes, usable_sizes
from unet_deploy.images.state import stamp_of, state_of_file
from unet_deploy.images.tiff_planes import TiffPlanes, check_structure, plane_numbers
from unet_deploy.images.tiff_sizes import claimed_sizes, resolution_tags
from unet_deploy.images.tiff_tags import claimed_names, mask_series, nodata_of, note_on, stored_of, stored_value
from unet_deploy.tiling import Region

# tifffile and its decoders report damage by logging, and go on; what matters of it is raised here as one line.
for _name in ("tifffile", "imagecodecs"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class TiffSource(ImageSource):
    """The first series of a TIFF file, at full resolution or another level of its pyramid.

    Samples and the C axis are channels; all other axes but Y and X make pages, in file order. Pixels keep the stored
    layout, whatever the orientation tag says: the mask carries the same tag, so that both lie alike in viewers that
    heed it and in those that do not (Fiji, QuPath, napari). What numbers with a colour table, or min-is-white, mean
    says `meaning`; JPEG's YCbCr becomes RGB; alpha is not a channel. Where alpha is 0, or a page that is a transparency
    mask, there is no data.
    Raises ImageError.
    """

    def __init__(
        self, path: Path, *, channel: Channel | None = None, level: int = 0, meaning: Meaning = "auto"
    ) -> None:
        self._path = path
        self._meaning: Meaning = meaning
        self._channel = channel
        try:
            self._stamp = stamp_of(path)
            check_directories(path)
            self._file = TiffFile(path, _multifile=False)  # other files are not opened on this one's word
        except ImageError:
            raise
        except OSError as error:
            raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error
        except Exception as error:
            raise ImageError(f"{path}: is not a readable TIFF ({reason(error)}); save it again") from error
        self.turn_to(level)

    def reopened(self, level: int) -> TiffSource:
        return TiffSource(self._path, channel=self._channel, level=level, meaning=self._meaning)

    def turn_to(self, level: int) -> None:
        try:
            self._open(self._channel, level)
        except ImageError:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise ImageError(f"{self._path}: its TIFF structure is damaged ({reason(error)}); save it again") from error

    def _open(self, channel: Channel | None, level: int) -> None:
        all_series = self._file.series
        if not all_series or all_series[0].keyframe is None:
            raise ImageError(f"{self._path}: holds no image")
        levels = all_series[0].levels
        check_level(level, len(levels), self._path)
        series: TiffPageSeries = levels[level]
        if series.keyframe is None:
            raise ImageError(f"{self._path}: holds no image at level {level}")
        self._page: TiffPage = series.keyframe
        check_structure(self._page, self._path)
        self._numbers = plane_numbers(series, self._path)
        self._planes = TiffPlanes(self._file, series, self._numbers.size, self._path)
        masks = mask_series(self._file, self._page)
        self._mask = self._open_mask(masks)
        self.cache_bytes = self._planes.cache_bytes + (self._mask.cache_bytes if self._mask else 0)
        self._means: Samples = meaning_of(stored_of(self._file, self._page), self._meaning)
        channels = self._numbers.shape[1] * self._means.count
        names = usable_names(claimed_names(self._file, channels), channels)
        number = channel_number(channel, names, self._path)
        check_channel(number, channels, self._path)
        self._chosen = range(channels) if number is None else range(number, number + 1)
        nodata = nodata_of(self._page, self._means)
        finest = all_series[0].keyframe
        claimed, unit_note = claimed_sizes(self._file, finest)
        lead = zip(series.axes.lower(), series.shape, strict=True)
        pages = page_axes([(axis, size) for axis, size in lead if axis not in "cyxs"])
        sizes, size_note = usable_sizes(claimed, pages)
        place = LevelPlace.of(
            level, (finest.imagelength, finest.imagewidth), (self._page.imagelength, self._page.imagewidth)
        )
        sizes = sizes.at(place)
        earth, nowhere = earth_tags(finest, place)
        orientation = orientation_of(self._page.tags.valueof(ORIENTATION))
        tags, lost = writable(_carried_tags(self._page, sizes, earth))
        notes = (
            note_on(self._file, self._means.note, nodata, [each for each in all_series[1:] if each not in masks]),
            self._mask_note(masks),
            lying_note(orientation),
            unit_note,
            size_note,
            place.note,
            lost_note(lost + nowhere),
        )
        self.info = ImageInfo(
            name=str(self._path),
            pages=len(self._numbers),
            channels=len(self._chosen),
            height=self._page.imagelength,
            width=self._page.imagewidth,
            dtype=self._dtype(),
            sizes=sizes,
            page_axes=pages,
            place=place,
            on_map=on_map(finest),
            levels=_sides(levels) if len(levels) > 1 else (),
            tags=tags,
            nodata=nodata,
            bands=self._means.bands,
            channel_names=names[self._chosen.start : self._chosen.stop],
            orientation=orientation,
            note="; ".join(filter(None, notes)),
        )

    def crop(self, page: int, region: Region) -> np.ndarray:
        by_plane: dict[int, np.ndarray] = {}
        channels = []
        for channel in self._chosen:
            index, sample = divmod(channel, self._means.count)
            plane = int(self._numbers[page, index])
            if plane not in by_plane:
                by_plane[plane] = self._means.values(self._read(self._planes, page, plane, region))
            channels.append(by_plane[plane][sample])
        return np.stack(channels)

    def crop_valid(self, page: int, region: Region) -> np.ndarray | None:
        if self._means.alpha is None and self._mask is None:
            return None
        there = np.ones(region.sides, np.bool_)
        for index in sorted({channel // self._means.count for channel in self._chosen}):
            plane = int(self._numbers[page, index])
            if self._means.alpha is not None:
                there &= self._read(self._planes, page, plane, region)[self._means.alpha] > 0
            if self._mask is not None:
                number = min(plane if self._mask.count == self._numbers.size else page, self._mask.count - 1)
                there &= self._read(self._mask, page, number, region)[0] > 0
        return there

    def state(self) -> str:
        return state_of_file(self._path, self._stamp, layout_of)

    def close(self) -> None:
        self._file.close()

    def _open_mask(self, masks: list[TiffPageSeries]) -> TiffPlanes | None:
        """The transparency masks of the planes: one for each, for each page, or for all; None for any other number."""
        if not masks or len(masks[0]) not in (1, len(self._numbers), self._numbers.size):
            return None
        return TiffPlanes(self._file, masks[0], len(masks[0]), self._path)

    def _mask_note(self, masks: list[TiffPageSeries]) -> str:
        if not masks:
            return ""
        read = "where its transparency mask is 0 there is no data"
        return read if self._mask else "its transparency masks are not as many as its pages, and are not read"

    def _dtype(self) -> np.dtype[Any]:
        assert self._page.dtype is not None
        if self._means.colours is not None:
            return self._means.colours.dtype
        return np.dtype(np.uint8) if self._page.dtype.kind == "b" else self._page.dtype.newbyteorder("=")

    def _read(self, planes: TiffPlanes, page: int, plane: int, region: Region) -> np.ndarray:
        """Return what is stored of a page in a region, (samples, h, w). Raises ImageError."""
        try:
            return planes.read(plane, region)
        except (ImageError, MemoryError):
            raise
        except Exception as error:
            raise ImageError(f"{self._path}: page {page} cannot be decoded ({reason(error)}); save it again") from error


def _sides(levels: list[TiffPageSeries]) -> tuple[tuple[int, int], ...]:
    pages = [level.keyframe for level in levels if level.keyframe is not None]
    return tuple((page.imagelength, page.imagewidth) for page in pages)


def _carried_tags(page: TiffPage, sizes: PixelSizes, earth: list[EarthTag]) -> dict[str, Any]:
    """Return the tags that a mask takes over. earth: those that lay it on Earth."""
    tags = resolution_tags(page, sizes)
    if 34675 in page.tags and isinstance(page.tags[34675].value, bytes):
        tags["iccprofile"] = page.tags[34675].value
    extra = []
    if orientation_of(page.tags.valueof(ORIENTATION)) == page.tags.valueof(ORIENTATION):
        tag = page.tags[ORIENTATION]
        extra = [(tag.code, tag.dtype, tag.count, stored_value(tag), True)]
    if extra or earth:
        tags["extratags"] = extra + earth
    return tags
