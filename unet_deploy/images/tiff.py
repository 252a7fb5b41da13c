"""TIFF in all its shapes, read region by region: only the strips or tiles that a region touches are decoded."""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from tifffile import TiffFile, TiffFrame, TiffPage, TiffPageSeries

from unet_deploy.errors import ImageError, reason
from unet_deploy.images import ImageInfo, ImageSource, check_channel, check_level
from unet_deploy.images.cache import CACHE_BYTES, BlockCache
from unet_deploy.images.carried import lost_note, size_note, usable_size, writable
from unet_deploy.images.claimed import claim_of
from unet_deploy.images.directories import check_directories
from unet_deploy.images.samples import Meaning, Samples, meaning_of
from unet_deploy.images.tiff_tags import nodata_of, note_on, samples_of, stored_of, stored_value
from unet_deploy.tiling import Region

# tifffile and its decoders report damage by logging, and go on; what matters of it is raised here as one line.
for _name in ("tifffile", "imagecodecs"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

MOST_SEGMENT_BYTES = 1 << 30
"""A strip or tile is decoded whole, so it may not be larger."""

COARSEST_UM = 50.0
"""Resolutions coarser than this (508 dpi) are a printer's or a screen's, not a microscope's."""

_CARRIED = (274, 33550, 33922, 34264, 34735, 34736, 34737, 42113)
"""Tags that hold for the mask as they are: orientation, the place on Earth (OGC GeoTIFF 1.1, section 7), no data."""

_AT_ANY_LEVEL = (274, 42113)

_JPEG_COMPRESSIONS = (6, 7, 33007, 34892)
_PICTURES = (7, 33007, 34892, 33003, 33004, 33005, 34712, 34887, 34927, 34933, 22610, 34934, 50001, 50002, 52546)
"""Compressions by codecs that go by a header of their own: JPEG, 2000, XR and XL, LERC, PNG, WebP."""

_MOST_TIMES = 4
"""How many times its own pixels a strip or tile may claim: some writers pad the last ones."""
_MICRON = {"micron", "microns", "um", "µm", "μm", "\\u00b5m", "micrometer"}
_UM_PER_UNIT = {"pm": 1e-6, "nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}


class TiffSource(ImageSource):
    """The first series of a TIFF file, at full resolution or another level of its pyramid.

    Samples and the C axis are channels; all other axes but Y and X make pages, in file order. Pixels keep the stored
    layout, whatever the orientation tag says: the mask carries the same tag. What numbers with a colour table, or
    min-is-white, mean says `meaning`; JPEG's YCbCr becomes RGB; alpha is not a channel.
    Raises ImageError.
    """

    def __init__(self, path: Path, *, channel: int | None = None, level: int = 0, meaning: Meaning = "auto") -> None:
        self._path = path
        self._meaning: Meaning = meaning
        self._channel = channel
        self._cache: BlockCache[tuple[int, int]] = BlockCache(CACHE_BYTES)
        try:
            check_directories(path)
            self._file = TiffFile(path, _multifile=False)  # other files are not opened on this one's word
        except ImageError:
            raise
        except OSError as error:
            raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error
        except Exception as error:
            raise ImageError(f"{path}: is not a readable TIFF ({reason(error)}); save it again") from error
        self.turn_to(level)

    def turn_to(self, level: int) -> None:
        self._cache.clear()
        self.cache_bytes = 0
        try:
            self._open(self._channel, level)
        except ImageError:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise ImageError(f"{self._path}: its TIFF structure is damaged ({reason(error)}); save it again") from error

    def _open(self, channel: int | None, level: int) -> None:
        all_series = self._file.series
        if not all_series or all_series[0].keyframe is None:
            raise ImageError(f"{self._path}: holds no image")
        levels = all_series[0].levels
        check_level(level, len(levels), self._path)
        self._series: TiffPageSeries = levels[level]
        if self._series.keyframe is None:
            raise ImageError(f"{self._path}: holds no image at level {level}")
        self._page: TiffPage = self._series.keyframe
        self._check_structure()
        self._planes = _plane_numbers(self._series)
        self._raw_offsets = self._find_raw()
        self._check_extent()
        if self._raw_offsets is None:
            self.cache_bytes = min(CACHE_BYTES, self._page.nbytes * self._planes.size)
        samples, alpha = samples_of(self._page)
        self._means: Samples = meaning_of(stored_of(self._file, self._page), self._meaning)
        if self._means.colours is not None:
            samples = len(self._means.colours)
        channels = self._planes.shape[1] * samples
        check_channel(channel, channels, self._path)
        self._samples = samples
        self._chosen = range(channels) if channel is None else range(channel, channel + 1)
        nodata = nodata_of(self._page, self._means)
        finest = all_series[0].keyframe
        claimed = _pixel_size(self._file, finest)
        size = usable_size(claimed)
        size = size and size * finest.imagewidth / self._page.imagewidth
        tags, lost = writable(_carried_tags(self._page, size, at_full_size=level == 0))
        notes = note_on(self._file, self._means.note, nodata, alpha), size_note(claimed), lost_note(lost)
        self.info = ImageInfo(
            name=str(self._path),
            pages=len(self._planes),
            channels=len(self._chosen),
            height=self._page.imagelength,
            width=self._page.imagewidth,
            dtype=self._dtype(),
            pixel_size_um=size,
            levels=_sides(levels) if len(levels) > 1 else (),
            tags=tags,
            nodata=nodata,
            note="; ".join(filter(None, notes)),
        )

    def crop(self, page: int, region: Region) -> np.ndarray:
        by_plane: dict[int, np.ndarray] = {}
        channels = []
        for channel in self._chosen:
            index, sample = divmod(channel, self._samples)
            plane = int(self._planes[page, index])
            if plane not in by_plane:
                by_plane[plane] = self._read_plane(page, plane, region)
            channels.append(by_plane[plane][sample])
        return np.stack(channels)

    def close(self) -> None:
        self._cache.clear()
        self._file.close()

    # -- what the file promises ------------------------------------------------------------------------------

    def _check_structure(self) -> None:
        """Raise ImageError unless the pixels are grey values in a layout that is read."""
        page, path = self._page, self._path
        if page.imagelength < 1 or page.imagewidth < 1 or page.samplesperpixel < 1:
            raise ImageError(f"{path}: claims {page.imagelength} x {page.imagewidth} pixels; save it again")
        if page.dtype is None:
            bits = page.bitspersample
            raise ImageError(f"{path}: pixels of {bits} bits in this format are not read; save 8, 16 or 32 bits")
        if page.dtype.kind not in "buif":
            raise ImageError(f"{path}: pixels of type {page.dtype} are no grey values; save integers or floats")
        if page.imagedepth != 1:
            raise ImageError(f"{path}: is stored as one volume; save its slices as pages")

    def _find_raw(self) -> list[int] | None:
        """Return the file offsets of the planes where pixels lie there plain, one row after another; else None."""
        page, count = self._page, self._planes.size
        if not page.is_contiguous or not page.is_final or page.dtype is None or page.dtype.kind == "b":
            return None
        plane_bytes = page.nbytes
        if self._series.dataoffset is not None:
            return [self._series.dataoffset + plane * plane_bytes for plane in range(count)]
        if len(self._series) < count:
            return None
        return [self._frame(plane).dataoffsets[0] for plane in range(count)]

    def _check_extent(self) -> None:
        """Raise ImageError unless all pixels lie inside the file, before any is believed."""
        page, size = self._page, self._file.filehandle.size
        if self._raw_offsets is not None:
            if max(self._raw_offsets) + page.nbytes > size:
                raise self._truncated()
            return
        if len(self._series) < self._planes.size:
            raise ImageError(f"{self._path}: has fewer pages than its metadata say; save it again")
        offsets = np.asarray(page.dataoffsets, np.float64)
        counts = np.asarray(page.databytecounts, np.float64)
        needed = self._segment_rows * self._segment_columns * (page.samplesperpixel if page.planarconfig == 2 else 1)
        if len(offsets) < needed or len(counts) < needed:
            raise ImageError(f"{self._path}: has {len(offsets)} of {needed} strips or tiles; copy it again")
        if (offsets + counts).max(initial=0) > size:
            raise self._truncated()
        if not counts.any():
            raise ImageError(f"{self._path}: holds no pixels at all; save it again")
        tall, wide = self._segment_shape
        samples = page.samplesperpixel if page.planarconfig == 1 else 1
        decoded = tall * wide * samples * (page.dtype.itemsize if page.dtype else 1)
        if decoded > MOST_SEGMENT_BYTES:
            raise ImageError(
                f"{self._path}: one strip or tile decodes to {decoded / 1e9:.3g} GB; save it as a tiled TIFF"
            )

    def _truncated(self) -> ImageError:
        return ImageError(f"{self._path}: the file ends before its pixels do; copy it again")

    def _dtype(self) -> np.dtype[Any]:
        assert self._page.dtype is not None
        if self._means.colours is not None:
            return self._means.colours.dtype
        return np.dtype(np.uint8) if self._page.dtype.kind == "b" else self._page.dtype.newbyteorder("=")

    # -- pixels ----------------------------------------------------------------------------------------------

    def _read_plane(self, page: int, plane: int, region: Region) -> np.ndarray:
        """Return the grey values of a plane in a region, (samples, h, w). Raises ImageError."""
        try:
            stored = self._read_raw(plane, region) if self._raw_offsets else self._read_segments(plane, region)
            return self._means.values(stored)
        except (ImageError, MemoryError):
            raise
        except Exception as error:
            raise ImageError(f"{self._path}: page {page} cannot be decoded ({reason(error)}); save it again") from error

    def _read_raw(self, plane: int, region: Region) -> np.ndarray:
        """Return the stored values (samples, h, w) of a region, read row by row: a wide image costs no more than it."""
        assert self._raw_offsets is not None
        assert self._page.dtype is not None
        page, dtype = self._page, self._page.dtype.newbyteorder(self._file.byteorder)
        planar = page.planarconfig == 2 and page.samplesperpixel > 1
        separate, samples = (page.samplesperpixel, 1) if planar else (1, page.samplesperpixel)
        pixel = samples * dtype.itemsize
        out = np.empty((separate, region.height, region.width * samples), dtype)
        file = self._file.filehandle
        for s in range(separate):
            for row in range(region.height):
                line = (s * page.imagelength + region.y + row) * page.imagewidth + region.x
                file.seek(self._raw_offsets[plane] + line * pixel)
                if file.readinto(out[s, row].view(np.uint8).data) != region.width * pixel:
                    raise self._truncated()
        if planar:
            return out.astype(dtype.newbyteorder("="), copy=False)
        pixels = out.reshape(region.height, region.width, samples)
        return np.moveaxis(pixels, -1, 0).astype(dtype.newbyteorder("="), copy=False)

    @property
    def _segment_shape(self) -> tuple[int, int]:
        page = self._page
        if page.is_tiled:
            return page.tilelength, page.tilewidth
        return min(page.rowsperstrip or page.imagelength, page.imagelength), page.imagewidth

    @property
    def _segment_rows(self) -> int:
        return math.ceil(self._page.imagelength / self._segment_shape[0])

    @property
    def _segment_columns(self) -> int:
        return math.ceil(self._page.imagewidth / self._segment_shape[1])

    def _read_segments(self, plane: int, region: Region) -> np.ndarray:
        """Decode the strips or tiles that a region touches, and return its stored values (samples, h, w)."""
        page = self._page
        assert page.dtype is not None
        tall, wide = self._segment_shape
        rows, columns = self._segment_rows, self._segment_columns
        separate = page.samplesperpixel if page.planarconfig == 2 else 1
        parts = []
        for s in range(separate):
            first = s * rows * columns
            out: np.ndarray | None = None
            for r in range(region.y // tall, -(-region.bottom // tall)):
                for c in range(region.x // wide, -(-region.right // wide)):
                    segment = self._segment(plane, first + r * columns + c, r * tall, c * wide)
                    if out is None:
                        shape = (segment.shape[2], region.height, region.width)
                        out = np.empty(shape, segment.dtype)
                    _paste(out, region, segment, r * tall, c * wide)
            assert out is not None
            parts.append(out)
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _segment(self, plane: int, index: int, y: int, x: int) -> np.ndarray:
        """Return a decoded strip or tile, (h, w, samples), from the cache or the file; it begins at y, x."""
        key = (plane, index)
        if key in self._cache:
            return self._cache[key]
        segment = self._decode(plane, index)
        page = self._page
        tall, wide = self._segment_shape
        needed = (min(tall, page.imagelength - y), min(wide, page.imagewidth - x))
        if segment.shape[0] < needed[0] or segment.shape[1] < needed[1]:
            raise self._truncated()
        self._cache[key] = segment
        return segment

    def _decode(self, plane: int, index: int) -> np.ndarray:
        page, frame = self._page, self._frame(plane)
        offset, count = frame.dataoffsets[index], frame.databytecounts[index]
        file = self._file.filehandle
        data = None
        if count:
            if offset + count > file.size:
                raise self._truncated()
            file.seek(offset)
            data = file.read(count)
        if data and page.compression in _PICTURES and not page.jpegheader:
            self._check_claim(data)
        tables = {}
        if page.compression in _JPEG_COMPRESSIONS:
            tables = {"jpegtables": frame.jpegtables, "jpegheader": page.jpegheader}
        pixels, _, shape = page.decode(data, index, **tables)
        if pixels is None:  # a sparse file leaves out what is empty
            return np.full(shape[1:], page.nodata, page.dtype)
        return pixels[0]

    def _check_claim(self, data: bytes) -> None:
        """Raise ImageError where a strip or tile holds a picture far larger than itself, before that is decoded."""
        tall, wide = self._segment_shape
        claim = claim_of(data)
        if claim and claim.height * claim.width > _MOST_TIMES * tall * wide:
            raise ImageError(
                f"{self._path}: a strip or tile of {tall} x {wide} pixels holds a picture that claims "
                f"{claim.height} x {claim.width}; save it again"
            )

    def _frame(self, plane: int) -> TiffPage | TiffFrame:
        frame = self._series.pages[plane]
        if frame is None:
            raise ImageError(f"{self._path}: page {plane} is missing; the rest of this series lies in another file")
        return frame


def _sides(levels: list[TiffPageSeries]) -> tuple[tuple[int, int], ...]:
    pages = [level.keyframe for level in levels if level.keyframe is not None]
    return tuple((page.imagelength, page.imagewidth) for page in pages)


def _paste(out: np.ndarray, region: Region, segment: np.ndarray, y: int, x: int) -> None:
    """Copy the part of a (h, w, samples) segment at (y, x) that lies in the region into (samples, h, w)."""
    top, left = max(y, region.y), max(x, region.x)
    bottom, right = min(y + segment.shape[0], region.bottom), min(x + segment.shape[1], region.right)
    part = segment[top - y : bottom - y, left - x : right - x]
    out[:, top - region.y : bottom - region.y, left - region.x : right - region.x] = np.moveaxis(part, -1, 0)


def _plane_numbers(series: TiffPageSeries) -> np.ndarray:
    """Return (pages, C) numbers of planes in file order, for each page and each step of the C axis."""
    lead = [(axis, size) for axis, size in zip(series.axes, series.shape, strict=True) if axis not in "YXS"]
    numbers = np.arange(math.prod(size for _, size in lead)).reshape([size for _, size in lead])
    colours = [at for at, (axis, _) in enumerate(lead) if axis == "C"]
    numbers = np.moveaxis(numbers, colours, range(-len(colours), 0)) if colours else numbers
    return numbers.reshape(-1, math.prod(lead[at][1] for at in colours))


def _pixel_size(file: TiffFile, page: TiffPage) -> float | None:
    """Return the size of a pixel in micrometres, by OME metadata, ImageJ's unit, or the resolution tags."""
    if file.is_ome and file.ome_metadata:
        pixels = ElementTree.fromstring(file.ome_metadata).find(".//{*}Pixels")
        if pixels is not None and pixels.get("PhysicalSizeX"):
            unit = _UM_PER_UNIT.get(pixels.get("PhysicalSizeXUnit", "µm"))
            return float(pixels.get("PhysicalSizeX", "0")) * unit if unit else None
    if file.is_svs and (found := re.search(r"\bMPP\s*=\s*([0-9.]+)", page.description)):
        return float(found[1])
    per_unit = page.resolution[0] if 282 in page.tags else 0
    if not per_unit or not math.isfinite(per_unit):
        return None
    if file.imagej_metadata:
        return 1 / per_unit if str(file.imagej_metadata.get("unit")).lower() in _MICRON else None
    um = {2: 25_400, 3: 10_000}.get(int(page.resolutionunit), 0) / per_unit
    return um if 0 < um <= COARSEST_UM else None


def _carried_tags(page: TiffPage, pixel_size_um: float | None, *, at_full_size: bool) -> dict[str, Any]:
    """Return the tags that a mask takes over. Where a coarser level lies on Earth, its own tags seldom say."""
    tags: dict[str, Any] = {}
    if pixel_size_um:
        tags.update(resolution=(1e4 / pixel_size_um,) * 2, resolutionunit=3)
    if 282 in page.tags and 283 in page.tags and int(page.resolutionunit) != 1 and min(page.resolution) > 0:
        tags.update(resolution=page.resolution, resolutionunit=int(page.resolutionunit))
    if 34675 in page.tags and isinstance(page.tags[34675].value, bytes):
        tags["iccprofile"] = page.tags[34675].value
    extra = [page.tags[code] for code in _CARRIED if code in page.tags and (at_full_size or code in _AT_ANY_LEVEL)]
    if extra:
        tags["extratags"] = [(tag.code, tag.dtype, tag.count, stored_value(tag), True) for tag in extra]
    return tags
