"""Masks out: tiled, compressed BigTIFF, written in any order and never whole in memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from tifffile import TiffWriter

from unet_deploy.errors import UnetDeployError
from unet_deploy.files import check_free, file_errors, replacing
from unet_deploy.images import MaskSink
from unet_deploy.tiling import Region

BLOCK = 256
"""Side in pixels of a TIFF tile."""

_LEVEL = 4


@dataclass
class _Filling:
    """A block that some tiles have yet to write to."""

    pixels: np.ndarray
    missing: int


class TiffMaskSink(MaskSink):
    """A multi-page BigTIFF of (height, width) planes in BLOCK x BLOCK tiles, deflate-compressed.

    Blocks are compressed as soon as they are full and wait in a spool file beside `path`; `commit` puts them in
    order under the file's name. Every page has `planes` TIFF pages.
    tags: what to carry over from the image, as in ImageInfo.tags.
    Raises UsageError when `path` exists without `overwrite`, ResourceError when the disk is full, UnetDeployError when
    it cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        pages: int,
        planes: int,
        height: int,
        width: int,
        dtype: np.dtype[Any],
        tags: Mapping[str, Any],
        overwrite: bool = False,
    ) -> None:
        check_free(path, overwrite=overwrite)
        self._path, self._overwrite = path, overwrite
        self._shape, self._dtype, self._tags = (pages * planes, height, width), np.dtype(dtype), tags
        self._planes = planes
        self._rows, self._columns = -(-height // BLOCK), -(-width // BLOCK)
        self._filling: dict[int, _Filling] = {}
        blocks = self._shape[0] * self._rows * self._columns
        self._offsets = np.full(blocks, -1, np.int64)
        self._lengths = np.zeros(blocks, np.int64)
        self._spool_path = path.with_name(f".{path.name}.{os.getpid()}.spool")
        with file_errors(path):
            self._spool = self._spool_path.open("w+b")
        self._end = 0

    def write(self, page: int, region: Region, planes: np.ndarray) -> None:
        if planes.shape != (self._planes, region.height, region.width):
            raise ValueError(f"{planes.shape} does not fill {self._planes} planes of {region}")
        for plane, pixels in enumerate(planes, start=page * self._planes):
            for row in range(region.y // BLOCK, -(-region.bottom // BLOCK)):
                for column in range(region.x // BLOCK, -(-region.right // BLOCK)):
                    self._fill(plane, row, column, region, pixels)

    def _fill(self, plane: int, row: int, column: int, region: Region, pixels: np.ndarray) -> None:
        y, x = row * BLOCK, column * BLOCK
        index = (plane * self._rows + row) * self._columns + column
        block = self._filling.get(index)
        if block is None:
            tall, wide = min(BLOCK, self._shape[1] - y), min(BLOCK, self._shape[2] - x)
            block = self._filling[index] = _Filling(np.zeros((BLOCK, BLOCK), self._dtype), tall * wide)
        top, bottom = max(y, region.y), min(y + BLOCK, region.bottom)
        left, right = max(x, region.x), min(x + BLOCK, region.right)
        part = pixels[top - region.y : bottom - region.y, left - region.x : right - region.x]
        block.pixels[top - y : bottom - y, left - x : right - x] = part
        block.missing -= part.size
        if block.missing == 0:
            del self._filling[index]
            self._spool_block(index, bytes(imagecodecs.zlib_encode(block.pixels.tobytes(), level=_LEVEL)))

    def _spool_block(self, index: int, data: bytes) -> None:
        with file_errors(self._path):
            self._spool.write(data)
        self._offsets[index], self._lengths[index] = self._end, len(data)
        self._end += len(data)

    def commit(self) -> None:
        if self._filling or (self._offsets < 0).any():
            missing = len(self._filling) + int((self._offsets < 0).sum())
            raise RuntimeError(f"{self._path}: {missing} blocks were never written")
        tags = dict(self._tags)
        orientation = tags.pop("orientation", None)
        extra = [(274, "H", 1, orientation, True)] if orientation else []
        with replacing(self._path, overwrite=self._overwrite) as beside:
            self._spool.flush()
            with TiffWriter(beside, bigtiff=True) as tiff:
                for plane in range(self._shape[0]):
                    tiff.write(
                        self._blocks(plane),
                        shape=self._shape[1:],
                        dtype=self._dtype,
                        tile=(BLOCK, BLOCK),
                        compression="zlib",
                        photometric="minisblack",
                        metadata=None,
                        software="unet-deploy",
                        extratags=extra,
                        **tags,
                    )
        self.close()

    def _blocks(self, plane: int) -> Iterator[bytes]:
        area = self._rows * self._columns
        for index in range(plane * area, (plane + 1) * area):
            self._spool.seek(self._offsets[index])
            data = self._spool.read(self._lengths[index])
            if len(data) != self._lengths[index]:
                raise UnetDeployError(f"{self._path}: its spool file was cut short by something else; run again")
            yield data

    def close(self) -> None:
        self._filling.clear()
        with contextlib.suppress(OSError):  # what could not be flushed is thrown away with the file
            self._spool.close()
        self._spool_path.unlink(missing_ok=True)
