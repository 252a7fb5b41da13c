"""Tiled, compressed, pyramidal BigTIFF, written in any order and never whole in memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from tifffile import TiffWriter

from unet_deploy.images.nodata import GDAL_NODATA
from unet_deploy.masks import Keep, MaskForm, MaskFormat, MaskSink, is_ome_name
from unet_deploy.masks.blocks import PartialBlocks, level_sizes, touched
from unet_deploy.masks.described import ome_options, plain_options, plane_axes
from unet_deploy.masks.spool import Spool, read_key, spool_of
from unet_deploy.system.files import check_free, replacing
from unet_deploy.tiling import Region

BLOCK = 256
"""Side in pixels of a TIFF tile."""

LEVEL = 4
"""Of deflate: beyond it there is little left to gain."""


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
    """A multi-page BigTIFF of (height, width) planes in BLOCK x BLOCK tiles, deflate-compressed, with a pyramid.

    Blocks are compressed as soon as they are full, and kept in a spool beside `path`; `commit` puts them in order
    under the file's name, with levels of every second pixel for viewers, and OME metadata where the name ends in
    .ome.tif. The bytes depend on the pixels alone, however often a run was broken off and resumed. The planes of a
    page of the image are pages of the file, one after another.
    Raises UsageError when `path` exists and is not to be replaced, and as Spool.
    """

    def __init__(self, path: Path, form: MaskForm, keep: Keep) -> None:
        check_free(path, overwrite=keep.replaces(path))
        self._path, self._form, self._replaces = path, form, keep.replaces(path)
        self._planes, self._dtype = form.planes, form.dtype
        self._levels = _pyramid(form)
        self._partial = PartialBlocks(form.written, form.dtype)
        last = self._levels[-1]
        self._spool = Spool(path, last.first + last.count, keep)
        self.resumed = self._spool.resumed
        self._empty = self._compress(np.zeros((BLOCK, BLOCK), self._dtype))
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
        first, *rest = self._levels
        with (
            replacing(self._path, overwrite=self._replaces) as beside,
            TiffWriter(beside, bigtiff=True, ome=ome) as tiff,
        ):
            options: dict[str, Any] = {
                "dtype": self._dtype,
                "tile": (BLOCK, BLOCK),
                "compression": "zlib",
                "photometric": "minisblack",
                "software": "unet-deploy",
            }
            described = ome_options(self._form) if ome else plain_options(self._form)
            whole = {**options, **self._tags(), **described}
            tiff.write(self._blocks(first), shape=self._shape(first), subifds=len(rest), **whole)
            for level in rest:
                tiff.write(self._blocks(level), shape=self._shape(level), subfiletype=1, metadata=None, **options)
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
            self._spool.add(number, self._compress(full))

    def _compress(self, pixels: np.ndarray) -> bytes:
        return bytes(imagecodecs.zlib_encode(pixels.tobytes(), level=LEVEL))

    def _block(self, number: int) -> np.ndarray:
        if number not in self._spool:
            return np.zeros((BLOCK, BLOCK), self._dtype)
        pixels = np.frombuffer(imagecodecs.zlib_decode(self._spool.get(number)), self._dtype)
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
            self._spool.add(number, self._compress(pixels))

    def _blocks(self, level: _Grid) -> Iterator[bytes]:
        for block in level:
            number = level.number(*block)
            yield self._spool.get(number) if number in self._spool else self._empty

    def _shape(self, level: _Grid) -> tuple[int, ...]:
        return (*(size for _, size in plane_axes(self._form)), level.height, level.width)

    def _tags(self) -> dict[str, Any]:
        """What it takes over from its image, and its own value of no data."""
        tags, nodata = dict(self._form.image.tags), self._form.nodata
        if nodata is not None:
            tags["extratags"] = [*tags.get("extratags", ()), (GDAL_NODATA, "s", 0, str(nodata), True)]
        return tags


def _pyramid(form: MaskForm) -> list[_Grid]:
    """The blocks of all levels, numbered one level after another."""
    grids: list[_Grid] = []
    for height, width in level_sizes(form.image.height, form.image.width):
        first = grids[-1].first + grids[-1].count if grids else 0
        grids.append(_Grid(form.image.pages * form.planes, height, width, first))
    return grids


class _Tiff(MaskFormat):
    """TIFF, which one process writes."""

    block, shared, spooled = BLOCK, False, True

    def open(self, path: Path, form: MaskForm, keep: Keep) -> TiffMaskSink:
        return TiffMaskSink(path, form, keep)

    def check(self, path: Path, form: MaskForm, keep: Keep) -> None:
        check_free(path, overwrite=keep.replaces(path))

    def is_finished(self, path: Path) -> bool:
        return path.exists()

    def unfinished(self, path: Path) -> Path:
        return spool_of(path)

    def unfinished_key(self, path: Path) -> dict[str, Any]:
        return read_key(path)


FORMAT = _Tiff()
