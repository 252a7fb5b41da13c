"""Compressed TIFF, written in any order and never whole in memory.

Up to a size it is a classic TIFF in strips, which every program opens; beyond it, a tiled BigTIFF with a pyramid.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from tifffile import TiffWriter

from unet_deploy.errors import UsageError
from unet_deploy.images.directories import first_text
from unet_deploy.images.nodata import GDAL_NODATA
from unet_deploy.masks import Keep, MaskForm, MaskFormat, MaskSink, is_ome_name
from unet_deploy.masks.blocks import PartialBlocks, level_sizes, packed_bytes, touched
from unet_deploy.masks.described import band_names, described_options, has_bands, plane_axes
from unet_deploy.masks.origin import DOCUMENT_NAME, Origin, parse_record
from unet_deploy.masks.spool import Spool, read_key, spool_of, sweep
from unet_deploy.system.colours import class_colour
from unet_deploy.system.files import check_free, replacing
from unet_deploy.tiling import Region

BLOCK = 256
"""Side in pixels of a TIFF tile."""

LARGEST_IN_STRIPS = 100_000_000
"""Pixels of a file, all planes together, up to which it is in strips unless another layout is asked for."""

_LARGEST_CLASSIC = (1 << 32) - (1 << 25)
"""Bytes of pixels that a classic TIFF surely holds, however badly they pack: its places have 32 bits."""

LEVEL = 5
"""Of deflate, by libdeflate, which is nearly twice as fast as zlib: beyond it there is little left to gain."""


class _Grid:
    """The blocks of one level of the pyramid, numbered plane by plane and row by row from `first` on."""

    def __init__(self, planes: int, height: int, width: int, first: int) -> None:
        self.planes, self.height, self.width, self.first = planes, height, width, first
        self.rows, self.columns = -(-height // BLOCK), -(-width // BLOCK)
        self.count = planes * self.rows * self.columns

    def number(self, plane: int, row: int, column: int) -> int:
        return self.first + (plane * self.rows + row) * self.columns + column

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Plane, row and column of every block, in order."""
        return (
            (plane, row, column)
            for plane in range(self.planes)
            for row in range(self.rows)
            for column in range(self.columns)
        )


class TiffMaskSink(MaskSink):
    """A multi-page TIFF of (height, width) planes, deflate-compressed: in strips, or in tiles with a pyramid.

    Blocks are compressed as soon as they are full, and kept in a spool beside `path`; `commit` puts them in order
    under the file's name, with OME metadata where the name ends in .ome.tif. Tiles have levels of every second pixel
    for viewers. 8-bit labels have a colour map beside their numbers, for programs that show it. The bytes depend on
    the pixels alone, however often a run was broken off and resumed. The planes of a page of the image are pages of
    the file, one after another; in GeoTIFF they are bands of one page.
    Raises UsageError when `path` exists and is not to be replaced, and as Spool.
    """

    def __init__(self, path: Path, form: MaskForm, keep: Keep) -> None:
        check_free(path, overwrite=keep.replaces(path))
        self._path, self._form, self._replaces = path, form, keep.replaces(path)
        self._planes, self._dtype = form.planes, form.dtype
        self._bands = has_bands(path, form)
        _check_size(path, form)
        self._in_strips = in_strips(form)
        self._levels = _pyramid(form)[: 1 if self._in_strips else None]
        self._partial = PartialBlocks(form.written, form.dtype)
        last = self._levels[-1]
        self._spool = Spool(path, last.first + last.count, keep)
        self.resumed = self._spool.resumed
        self._finished = False

    def write(self, page: int, region: Region, planes: np.ndarray) -> None:
        if planes.shape != (self._planes, region.height, region.width):
            raise ValueError(f"{planes.shape} does not fill {self._planes} planes of {region}")
        for plane, pixels in enumerate(planes, start=page * self._planes):
            for row, column in touched(region, BLOCK):
                if self._levels[0].number(plane, row, column) not in self._spool:
                    self._fill(plane, row, column, region, pixels)

    def has(self, page: int, region: Region) -> bool:
        first = page * self._planes
        return all(
            self._levels[0].number(plane, row, column) in self._spool
            for plane in range(first, first + self._planes)
            for row, column in touched(region, BLOCK)
        )

    def read(self, page: int, region: Region) -> np.ndarray:
        out = np.empty((self._planes, region.height, region.width), self._dtype)
        for at, plane in enumerate(range(page * self._planes, (page + 1) * self._planes)):
            for row, column in touched(region, BLOCK):
                block = Region(row * BLOCK, column * BLOCK, BLOCK, BLOCK)
                shared = block.intersection(region)
                pixels = self._block(self._levels[0].number(plane, row, column))
                out[(at, *shared.moved(-region.y, -region.x).slices)] = pixels[shared.moved(-block.y, -block.x).slices]
        return out

    def commit(self) -> None:
        self._check_whole()
        for finer, coarser in pairwise(self._levels):
            self._shrink(finer, coarser)
        ome = is_ome_name(self._path)
        with (
            replacing(self._path, overwrite=self._replaces) as beside,
            TiffWriter(beside, bigtiff=not self._in_strips, ome=ome) as tiff,
        ):
            described = described_options(self._path, self._form)
            (self._write_strips if self._in_strips else self._write_tiles)(tiff, {**self._tags(), **described})
        self._finished = True

    def keep(self) -> None:
        self._finished = False

    def give_up(self) -> None:
        self._finished = True

    def close(self) -> None:
        self._partial.clear()
        self._spool.close(keep=not self._finished)

    # -- blocks ----------------------------------------------------------------------------------------------

    def _fill(self, plane: int, row: int, column: int, region: Region, pixels: np.ndarray) -> None:
        number = self._levels[0].number(plane, row, column)
        full = self._partial.take(number, Region(row * BLOCK, column * BLOCK, BLOCK, BLOCK), region, pixels)
        if full is not None:
            self._spool.add(number, _compress(full))

    def _block(self, number: int) -> np.ndarray:
        if number not in self._spool:
            return np.zeros((BLOCK, BLOCK), self._dtype)
        pixels = np.frombuffer(imagecodecs.deflate_decode(self._spool.get(number)), self._dtype)
        return pixels.reshape(BLOCK, BLOCK)

    def _check_whole(self) -> None:
        blocks = list(touched(self._form.written, BLOCK))
        base = self._levels[0]
        missing = sum(
            base.number(plane, row, column) not in self._spool for plane in range(base.planes) for row, column in blocks
        )
        if missing:
            raise RuntimeError(f"{self._path}: {missing} blocks were never written")

    def _shrink(self, finer: _Grid, coarser: _Grid) -> None:
        """Every second pixel, block by block: labels cannot be averaged."""
        for plane, row, column in coarser:
            number = coarser.number(plane, row, column)
            sources = [
                (down, right, finer.number(plane, 2 * row + down, 2 * column + right))
                for down in (0, 1)
                for right in (0, 1)
                if 2 * row + down < finer.rows and 2 * column + right < finer.columns
            ]
            if number in self._spool or not any(source in self._spool for _, _, source in sources):
                continue
            half = BLOCK // 2
            pixels = np.zeros((BLOCK, BLOCK), self._dtype)
            for down, right, source in sources:
                corner = (slice(down * half, (down + 1) * half), slice(right * half, (right + 1) * half))
                pixels[corner] = self._block(source)[::2, ::2]
            self._spool.add(number, _compress(pixels))

    def _blocks(self, level: _Grid) -> Iterator[bytes]:
        for block in level:
            number = level.number(*block)
            yield self._spool.get(number) if number in self._spool else _empty_block(self._dtype)

    # -- the file --------------------------------------------------------------------------------------------

    def _write_strips(self, tiff: TiffWriter, tags: dict[str, Any]) -> None:
        (level,) = self._levels
        tiff.write(self._strips(level), shape=self._shape(level), rowsperstrip=BLOCK, **self._format(), **tags)

    def _strips(self, level: _Grid) -> Iterator[bytes]:
        """The rows of blocks one after another, each as a strip, the last of a plane as high as what is left."""
        row = np.empty((BLOCK, level.columns * BLOCK), self._dtype)
        for plane, at, column in level:
            row[:, column * BLOCK : (column + 1) * BLOCK] = self._block(level.number(plane, at, column))
            if column == level.columns - 1:
                yield _compress(row[: min(BLOCK, level.height - at * BLOCK), : level.width])

    def _write_tiles(self, tiff: TiffWriter, tags: dict[str, Any]) -> None:
        first, *rest = self._levels
        options = {"tile": (BLOCK, BLOCK), **self._format()}
        tiff.write(self._blocks(first), shape=self._shape(first), subifds=len(rest), **options, **tags)
        for level in rest:
            tiff.write(self._blocks(level), shape=self._shape(level), subfiletype=1, metadata=None, **options)

    def _format(self) -> dict[str, Any]:
        """What all levels have, in the words of tifffile."""
        return {
            "dtype": self._dtype,
            "compression": "zlib",
            "photometric": "minisblack",
            "planarconfig": "separate" if self._bands else None,
            "software": "unet-deploy",
        }

    def _shape(self, level: _Grid) -> tuple[int, ...]:
        return (*(size for _, size in plane_axes(self._form)), level.height, level.width)

    def _tags(self) -> dict[str, Any]:
        """What it takes over from its image, what that is, its value of no data, colours of labels, names of bands."""
        tags, nodata = dict(self._form.image.tags), self._form.nodata
        own: list[tuple[int, str, int, Any, bool]] = (
            [] if nodata is None else [(GDAL_NODATA, "s", 0, str(nodata), True)]
        )
        if self._form.origin is not None:
            record = json.dumps(self._form.origin.beside(self._path, self._form.classes))
            own.append((DOCUMENT_NAME, "s", 0, record, True))
        if self._form.is_labels and self._dtype.itemsize == 1:
            own.append(_colour_map())
        if self._bands and len(self._form.classes) == self._planes:
            own.append(band_names(self._form.classes))
        return {**tags, "extratags": [*tags.get("extratags", ()), *own]}


def _compress(pixels: np.ndarray) -> bytes:
    return bytes(imagecodecs.deflate_encode(pixels.tobytes(), level=LEVEL))


@cache
def _empty_block(dtype: np.dtype[Any]) -> bytes:
    return _compress(np.zeros((BLOCK, BLOCK), dtype))


def in_strips(form: MaskForm) -> bool:
    """Return whether a mask is a TIFF in strips."""
    fits = _pixels(form) <= LARGEST_IN_STRIPS and _fits_classic(form)
    return form.layout == "strips" or (form.layout == "auto" and fits)


def _fits_classic(form: MaskForm) -> bool:
    return _pixels(form) * form.dtype.itemsize <= _LARGEST_CLASSIC


def _pixels(form: MaskForm) -> int:
    return form.image.pages * form.planes * form.image.height * form.image.width


def _check_size(path: Path, form: MaskForm) -> None:
    """Raise UsageError where strips are asked for and too large for a TIFF that every program opens."""
    if form.layout == "strips" and not _fits_classic(form):
        raise UsageError(f"{path}: has over 4 GB of pixels, too many for strips; take --layout tiles")


@cache
def _colour_map() -> tuple[int, str, int, Any, bool]:
    """Tag 320, the colours of labels, in the words of tifffile.

    The file stays one of grey values (photometric interpretation: min is black), so that readers which turn palettes
    into colours give the labels; ImageJ and GDAL show the colours all the same.
    """
    colours = [(0, 0, 0), *map(class_colour, range(1, 256))]
    return 320, "H", 3 * 256, tuple(257 * colour[channel] for channel in range(3) for colour in colours), True


def _pyramid(form: MaskForm) -> list[_Grid]:
    """The blocks of all levels, numbered one level after another."""
    grids: list[_Grid] = []
    for height, width in level_sizes(form.image.height, form.image.width):
        first = grids[-1].first + grids[-1].count if grids else 0
        grids.append(_Grid(form.image.pages * form.planes, height, width, first))
    return grids


class _Tiff(MaskFormat):
    """TIFF, which one process writes."""

    block, shared, spooled, mapped = BLOCK, False, True, True

    def open(self, path: Path, form: MaskForm, keep: Keep) -> TiffMaskSink:
        return TiffMaskSink(path, form, keep)

    def check(self, path: Path, form: MaskForm, keep: Keep) -> None:
        _check_size(path, form)
        check_free(path, overwrite=keep.replaces(path))

    def origin(self, path: Path) -> Origin | None:
        try:
            return parse_record(path, first_text(path, DOCUMENT_NAME))
        except OSError:
            return None

    def is_finished(self, path: Path) -> bool:
        return path.exists()

    def written_bytes(self, form: MaskForm, share: float = 1.0) -> int:
        return packed_bytes(form, share, levels=1 if in_strips(form) else None)

    def unfinished(self, path: Path) -> Path:
        return spool_of(path)

    def unfinished_key(self, path: Path) -> dict[str, Any]:
        return read_key(path)

    def sweep(self, path: Path, key: Mapping[str, Any]) -> None:
        sweep(path, key)


FORMAT = _Tiff()
