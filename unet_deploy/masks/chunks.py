"""The chunks of an OME-Zarr mask that lies in a folder: filled by one process or by several, shrunk level by level."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import zarr

from unet_deploy.masks import MaskWriter
from unet_deploy.masks.blocks import PartialBlocks, nearest, touched
from unet_deploy.masks.ome_zarr import CHUNK, multiscales_of
from unet_deploy.system.files import file_errors
from unet_deploy.tiling import Region

Index = tuple[int, ...]


class ChunkWriter(MaskWriter):
    """Fills the finest level of the mask in the folder `tree`, which errors call `output`.

    Several processes may each have one for the same folder, so long as no two write to the same chunk of CHUNK x CHUNK
    pixels. A chunk is written once, when it is full; zarr gives it its name when all its bytes are there.
    region: what will be written of each page by all of them, the whole by default.
    Raises UnetDeployError and ResourceError where the folder cannot be written.
    """

    def __init__(self, tree: Path, output: Path, *, region: Region | None = None) -> None:
        self._output = output
        with file_errors(output):
            names = [axis["name"] for axis in multiscales_of(tree)["axes"]]
            self.level = Level(tree, 0)
        lead = self.level.array.shape[:-2]
        self._c = names.index("c") if "c" in names else None
        self._steps = [size for at, size in enumerate(lead) if at != self._c]
        self.pages = math.prod(self._steps)
        self.planes = 1 if self._c is None else lead[self._c]
        self._region = region or self.level.extent
        self._partial = PartialBlocks(self._region, self.level.array.dtype)

    def write(self, page: int, region: Region, planes: np.ndarray) -> None:
        if planes.shape != (self.planes, region.height, region.width):
            raise ValueError(f"{planes.shape} does not fill {self.planes} planes of {region}")
        for plane, pixels in enumerate(planes):
            lead = self._lead(page, plane)
            for row, column in touched(region, CHUNK):
                if not self.level.file(lead, row, column).exists():
                    self._fill(lead, row, column, region, pixels)

    def has(self, page: int, region: Region) -> bool:
        return all(
            self.level.file(self._lead(page, plane), row, column).exists()
            for plane in range(self.planes)
            for row, column in touched(region, CHUNK)
        )

    def read(self, page: int, region: Region) -> np.ndarray:
        """The pixels of a region that it has, (planes, h, w)."""
        return np.stack([self.level.read(self._lead(page, plane), region) for plane in range(self.planes)])

    @property
    def waiting(self) -> int:
        """Bytes of the chunks that are not full."""
        return self._partial.nbytes

    def missing(self) -> int:
        """How many chunks of the region no process has written."""
        chunks = product(range(self.pages), range(self.planes), touched(self._region, CHUNK))
        return sum(not self.level.file(self._lead(page, plane), *chunk).exists() for page, plane, chunk in chunks)

    def _lead(self, page: int, plane: int) -> Index:
        """The place of a plane on the axes before y and x."""
        lead = [int(step) for step in np.unravel_index(page, self._steps)] if self._steps else []
        if self._c is not None:
            lead.insert(self._c, plane)
        return tuple(lead)

    def _fill(self, lead: Index, row: int, column: int, region: Region, pixels: np.ndarray) -> None:
        full = self._partial.take((lead, row, column), self.level.place(row, column), region, pixels)
        if full is not None:
            with file_errors(self._output):
                self.level.check_there()
                self.level.write(lead, row, column, full)


def shrink_all(tree: Path) -> None:
    """Make the levels of a mask from its finest, each of pixels of the one before."""
    levels = all_levels(tree)
    for finer, coarser in pairwise(levels):
        shrink(finer, coarser)


def drop_damaged(tree: Path) -> None:
    """Delete chunks whose checksum is wrong: a power cut may leave their names without all their bytes."""
    for level in all_levels(tree):
        for lead, row, column in level:
            if (file := level.file(lead, row, column)).exists():
                try:
                    level.read(lead, level.place(row, column))
                except Exception:
                    file.unlink()


def all_levels(tree: Path) -> list[Level]:
    """The levels of a mask, the finest first."""
    return [Level(tree, number) for number in range(len(multiscales_of(tree)["datasets"]))]


class Level:
    """One level of the pyramid; its chunks by their place on the leading axes, their row and their column."""

    def __init__(self, tree: Path, number: int) -> None:
        self._folder = tree / str(number)
        self.array = zarr.open_array(str(self._folder), mode="r+").with_config({"write_empty_chunks": True})
        self.extent = Region(0, 0, *self.array.shape[-2:])
        self._metadata = self._folder / ("zarr.json" if self.array.metadata.zarr_format == 3 else ".zarray")

    def __iter__(self) -> Iterator[tuple[Index, int, int]]:
        leads = product(*map(range, self.array.shape[:-2]))
        return ((lead, row, column) for lead in leads for row, column in touched(self.extent, CHUNK))

    def file(self, lead: Index, row: int, column: int) -> Path:
        return self._folder / self.array.metadata.encode_chunk_key((*lead, row, column))

    def check_there(self) -> None:
        """Raise OSError where the folder was taken away: zarr would make it again, for one chunk."""
        os.stat(self._metadata)

    def place(self, row: int, column: int) -> Region:
        return Region(row * CHUNK, column * CHUNK, CHUNK, CHUNK).intersection(self.extent)

    def read(self, lead: Index, region: Region) -> np.ndarray:
        """The pixels of a region of a plane."""
        return np.asarray(self.array[_selection(lead, region)])

    def pick(self, lead: Index, rows: np.ndarray, columns: np.ndarray) -> np.ndarray | None:
        """Some rows and columns of a plane, in order; None where no chunk that they touch is there."""
        top, left = int(rows[0]), int(columns[0])
        around = Region(top, left, int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left)
        if not any(self.file(lead, *chunk).exists() for chunk in touched(around, CHUNK)):
            return None
        return np.asarray(self.array.oindex[(*lead, rows, columns)])

    def write(self, lead: Index, row: int, column: int, pixels: np.ndarray) -> None:
        self.array[_selection(lead, self.place(row, column))] = pixels


def _selection(lead: Index, region: Region) -> tuple[int | slice, ...]:
    return (*lead, *region.slices)


def shrink(finer: Level, coarser: Level) -> None:
    """The nearest pixels, chunk by chunk: labels cannot be averaged. Chunks without a source stay away."""
    *steps, rows, columns = map(nearest, finer.array.shape, coarser.array.shape)
    for lead, row, column in coarser:
        if coarser.file(lead, row, column).exists():
            continue
        down, across = coarser.place(row, column).slices
        source = tuple(int(along[at]) for along, at in zip(steps, lead, strict=True))
        pixels = finer.pick(source, rows[down], columns[across])
        if pixels is not None:
            coarser.write(lead, row, column, pixels)
