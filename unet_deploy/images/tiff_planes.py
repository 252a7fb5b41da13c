"""The stored samples of a TIFF, region by region: of strips, of tiles, and of pixels that lie plain in the file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import TiffFile, TiffFrame, TiffPage, TiffPageSeries

from unet_deploy.errors import ImageError
from unet_deploy.images.cache import CACHE_BYTES, BlockCache
from unet_deploy.images.claimed import claim_of
from unet_deploy.tiling import Region

MOST_SEGMENT_BYTES = 1 << 30
"""A strip or tile is decoded whole, so it may not be larger."""

_JPEG_COMPRESSIONS = (6, 7, 33007, 34892)
_PICTURES = (7, 33007, 34892, 33003, 33004, 33005, 34712, 34887, 34927, 34933, 22610, 34934, 50001, 50002, 52546)
"""Compressions by codecs that go by a header of their own: JPEG, 2000, XR and XL, LERC, PNG, WebP."""

_MOST_TIMES = 4
"""How many times its own pixels a strip or tile may claim: some writers pad the last ones."""


class TiffPlanes:
    """The planes of a series, which are alike in all but their pixels, by their number in file order.

    count: how many there are to be.
    Raises ImageError where their layout is not read, or not all of their pixels are in the file.
    """

    def __init__(self, file: TiffFile, series: TiffPageSeries, count: int, path: Path) -> None:
        if series.keyframe is None:
            raise ImageError(f"{path}: holds no image at this level")
        self._file, self._series, self.count, self._path = file, series, count, path
        self._page: TiffPage = series.keyframe
        self._cache: BlockCache[tuple[int, int]] = BlockCache(CACHE_BYTES)
        self.cache_bytes = 0
        """The most bytes of decoded pixels that it keeps."""
        check_structure(self._page, path)
        self._raw_offsets = self._find_raw()
        self._check_extent()
        if self._raw_offsets is None:
            self.cache_bytes = min(CACHE_BYTES, self._page.nbytes * count)

    def read(self, plane: int, region: Region) -> np.ndarray:
        """Return the stored values (samples, h, w) of a region inside a plane."""
        return self._read_raw(plane, region) if self._raw_offsets else self._read_segments(plane, region)

    # -- what the file promises ------------------------------------------------------------------------------

    def _find_raw(self) -> list[int] | None:
        """Return the file offsets of the planes where pixels lie there plain, one row after another; else None."""
        page, count = self._page, self.count
        if not page.is_contiguous or not page.is_final or page.dtype is None or page.dtype.kind == "b":
            return None
        plane_bytes = page.nbytes
        if self._series.dataoffset is not None:
            return [self._series.dataoffset + plane * plane_bytes for plane in range(count)]
        if len(self._series) < count or not all(map(self._is_in_a_row, range(count))):
            return None
        return [self._frame(plane).dataoffsets[0] for plane in range(count)]

    def _is_in_a_row(self, plane: int) -> bool:
        """Whether the strips or tiles of a plane follow one another in the file: tifffile has seen the first page's."""
        frame = self._frame(plane)
        ends = map(sum, zip(frame.dataoffsets, frame.databytecounts, strict=False))
        return all(end == start for end, start in zip(ends, frame.dataoffsets[1:], strict=False))

    def _check_extent(self) -> None:
        """Raise ImageError unless all pixels lie inside the file, before any is believed."""
        page, size = self._page, self._file.filehandle.size
        if self._raw_offsets is not None:
            if max(self._raw_offsets) + page.nbytes > size:
                raise self._truncated()
            return
        if len(self._series) < self.count:
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

    # -- pixels ---------------------------------------------------------------------------------------------

    def _read_raw(self, plane: int, region: Region) -> np.ndarray:
        """Return the stored values (samples, h, w) of a region: whole rows at once, else of each row what it has."""
        assert self._raw_offsets is not None
        assert self._page.dtype is not None
        page, dtype = self._page, self._page.dtype.newbyteorder(self._file.byteorder)
        planar = page.planarconfig == 2 and page.samplesperpixel > 1
        separate, samples = (page.samplesperpixel, 1) if planar else (1, page.samplesperpixel)
        pixel = samples * dtype.itemsize
        out = np.empty((separate, region.height, region.width * samples), dtype)
        rows = region.height if region.width == page.imagewidth else 1
        file = self._file.filehandle
        for s in range(separate):
            for row in range(0, region.height, rows):
                line = (s * page.imagelength + region.y + row) * page.imagewidth + region.x
                file.seek(self._raw_offsets[plane] + line * pixel)
                part: Any = out[s, row : row + rows].view(np.uint8).data
                if file.readinto(part) != part.nbytes:
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


def _paste(out: np.ndarray, region: Region, segment: np.ndarray, y: int, x: int) -> None:
    """Copy the part of a (h, w, samples) segment at (y, x) that lies in the region into (samples, h, w)."""
    top, left = max(y, region.y), max(x, region.x)
    bottom, right = min(y + segment.shape[0], region.bottom), min(x + segment.shape[1], region.right)
    part = segment[top - y : bottom - y, left - x : right - x]
    out[:, top - region.y : bottom - region.y, left - region.x : right - region.x] = np.moveaxis(part, -1, 0)


def check_structure(page: TiffPage, path: Path) -> None:
    """Raise ImageError unless the pixels of a page are grey values in a layout that is read."""
    if page.imagelength < 1 or page.imagewidth < 1 or page.samplesperpixel < 1:
        raise ImageError(f"{path}: claims {page.imagelength} x {page.imagewidth} pixels; save it again")
    if page.dtype is None:
        bits = page.bitspersample
        raise ImageError(f"{path}: pixels of {bits} bits in this format are not read; save 8, 16 or 32 bits")
    if page.dtype.kind not in "buif":
        raise ImageError(f"{path}: pixels of type {page.dtype} are no grey values; save integers or floats")
    if page.imagedepth != 1:
        raise ImageError(f"{path}: is stored as one volume; save its slices as pages")


def plane_numbers(series: TiffPageSeries, path: Path) -> np.ndarray:
    """Return (pages, C) numbers of planes in file order, for each page and each step of the C axis.

    Axes of samples that a plane holds are none of these. Raises ImageError where a plane is not what Y and X say, as
    where channels come last but are not stored so: nothing says then how the picture lies.
    """
    page = series.keyframe
    assert page is not None
    axes, shape = series.axes, series.shape
    held = 3 if page.samplesperpixel > 1 else 2
    own = dict(zip(axes[-held:], shape[-held:], strict=True))
    sides = (own.pop("Y", None), own.pop("X", None))
    turned = axes.find("X") < axes.find("Y")
    if sides != (page.imagelength, page.imagewidth) or turned or any(axis not in "SC" for axis in own):
        stored = " x ".join(map(str, page.shape))
        raise ImageError(
            f"{path}: says that its axes are {axes}, {' x '.join(map(str, shape))}, but its planes are {stored}; "
            "save it with channels before Y and X"
        )
    lead, sizes = axes[:-held], shape[:-held]
    numbers = np.arange(math.prod(sizes)).reshape(sizes)
    colours = [at for at, axis in enumerate(lead) if axis in "CS"]
    numbers = np.moveaxis(numbers, colours, range(-len(colours), 0)) if colours else numbers
    return numbers.reshape(-1, math.prod(sizes[at] for at in colours))
