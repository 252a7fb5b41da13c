"""Masks out: OME-Zarr with a pyramid, by itself or among the labels of its image, written in any order."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import IO, Any

import numpy as np
import zarr

from unet_deploy.errors import UnetDeployError, UsageError
from unet_deploy.images import ImageInfo
from unet_deploy.images.ome_zarr import Axis
from unet_deploy.masks import MaskSink
from unet_deploy.masks.blocks import Filling, goes_on, lock, touched
from unet_deploy.masks.ome_zarr import (
    CHUNK,
    MaskForm,
    as_the_image,
    create_mask,
    image_around,
    is_mask,
    labels_path,
    mask_axes,
    multiscales_of,
    register_labels,
)
from unet_deploy.system.files import file_errors, sync_folder
from unet_deploy.tiling import Region

Index = tuple[int, ...]


class MaskWriter:
    """Fills the finest level of a mask that lies in a folder.

    Several processes may each have one for the same folder, so long as no two write to the same chunk of CHUNK x CHUNK
    pixels. A chunk is written once, when it is full; zarr gives it its name when all its bytes are there.
    region: what will be written of each page, the whole by default.
    Raises UnetDeployError and ResourceError, which name `output`, where the folder cannot be written.
    """

    def __init__(self, tree: Path, output: Path, *, region: Region | None = None) -> None:
        self._output = output
        with file_errors(output):
            names = [axis["name"] for axis in multiscales_of(tree)["axes"]]
            self.level = _Level(tree, 0)
        lead = self.level.array.shape[:-2]
        self._c = names.index("c") if "c" in names else None
        self._steps = [size for at, size in enumerate(lead) if at != self._c]
        self.pages = math.prod(self._steps)
        self.planes = 1 if self._c is None else lead[self._c]
        self._region = region or self.level.extent
        self._filling: dict[tuple[Index, int, int], Filling] = {}

    def write(self, page: int, region: Region, planes: np.ndarray) -> None:
        """Take (planes, h, w) for a region inside the image; what is in finished chunks is left as it is."""
        if planes.shape != (self.planes, region.height, region.width):
            raise ValueError(f"{planes.shape} does not fill {self.planes} planes of {region}")
        for plane, pixels in enumerate(planes):
            lead = self._lead(page, plane)
            for row, column in touched(region, CHUNK):
                if not self.level.file(lead, row, column).exists():
                    self._fill(lead, row, column, region, pixels)

    def has(self, page: int, region: Region) -> bool:
        """Whether all chunks that a region touches are finished, by any process."""
        return all(
            self.level.file(self._lead(page, plane), row, column).exists()
            for plane in range(self.planes)
            for row, column in touched(region, CHUNK)
        )

    def read(self, page: int, region: Region) -> np.ndarray:
        """(planes, h, w) of a region that it has."""
        return np.stack([self.level.read(self._lead(page, plane), region) for plane in range(self.planes)])

    def missing(self) -> int:
        """Chunks of the region that no process has written."""
        chunks = product(range(self.pages), range(self.planes), touched(self._region, CHUNK))
        return sum(not self.level.file(self._lead(page, plane), *chunk).exists() for page, plane, chunk in chunks)

    def _lead(self, page: int, plane: int) -> Index:
        """The place of a plane on the axes before y and x."""
        lead = [int(step) for step in np.unravel_index(page, self._steps)] if self._steps else []
        if self._c is not None:
            lead.insert(self._c, plane)
        return tuple(lead)

    def _fill(self, lead: Index, row: int, column: int, region: Region, pixels: np.ndarray) -> None:
        chunk = self._filling.get((lead, row, column))
        if chunk is None:
            chunk = Filling.empty(self.level.place(row, column), self._region, self.level.array.dtype)
            self._filling[lead, row, column] = chunk
        if chunk.take(region, pixels):
            del self._filling[lead, row, column]
            with file_errors(self._output):
                self.level.check_there()
                self.level.write(lead, row, column, chunk.pixels)


class ZarrMaskSink(MaskSink):
    """An OME-Zarr mask, with levels of every second pixel for viewers and a colour for each class.

    path: a new folder; or IMAGE.zarr/labels/NAME, or IMAGE.zarr itself, for labels of an OME-Zarr image that is there:
    these take the axes, the pixel size and the version of the image. planes: more than one make an axis c. Numbers
    that are no integers make an image with a channel for each class, as only integers are labels.
    axes: those of the image; without, its pages are z. region: what will be written of each page, the whole by
    default; the rest is 0, and chunks that lie there whole are left out. version: of OME-Zarr, 0.4 or 0.5.

    The mask grows in a hidden folder beside `path`, which gets its name in `commit`. A chunk that is there is
    finished, so chunks of zeros are written too. The bytes depend on the pixels and on the name alone, however often
    a run was broken off and resumed. key, resume, overwrite: as for Spool.
    Raises UsageError when `path` exists without `overwrite` or is something else than a mask, and as Spool.
    """

    def __init__(
        self,
        path: Path,
        image: ImageInfo,
        *,
        planes: int,
        dtype: np.dtype[Any],
        region: Region | None = None,
        key: Mapping[str, Any],
        classes: Sequence[str],
        axes: Sequence[Axis] | None = None,
        resume: bool = False,
        overwrite: bool = False,
        version: str = "0.5",
    ) -> None:
        around = image_around(path)
        self.path = labels_path(path, around, np.dtype(dtype)) if around else path
        self._in_image = around is not None
        if around:
            version, axes = as_the_image(path, around, image)
        _check_free(self.path, overwrite=overwrite or resume, in_image=self._in_image)
        self._form = MaskForm(image, planes, np.dtype(dtype), tuple(classes), mask_axes(image, planes, axes), version)
        self._part = part_of(self.path)
        self._committed = self.resumed = False
        self._run = self._locked()
        try:
            self._take_over({**key, "format of the mask": self._form.key}, resume=resume, overwrite=overwrite)
            self._writer = MaskWriter(self.tree, self.path, region=region)
        except BaseException:
            self.close()
            raise

    @property
    def tree(self) -> Path:
        """The folder in which the mask grows, for a MaskWriter of another process."""
        return self._part / "tree"

    def write(self, page: int, region: Region, planes: np.ndarray) -> None:
        self._writer.write(page, region, planes)

    def has(self, page: int, region: Region) -> bool:
        return self._writer.has(page, region)

    def read(self, page: int, region: Region) -> np.ndarray:
        return self._writer.read(page, region)

    def commit(self) -> None:
        with file_errors(self.path):
            self._writer.level.check_there()
        if missing := self._writer.missing():
            raise RuntimeError(f"{self.path}: {missing} chunks were never written")
        with file_errors(self.path):
            for number in range(1, len(multiscales_of(self.tree)["datasets"])):
                _shrink(_Level(self.tree, number - 1), _Level(self.tree, number))
            _settle(self.tree)
            if self.path.exists():
                shutil.rmtree(self._part / "old", ignore_errors=True)
                self.path.rename(self._part / "old")
            self.tree.rename(self.path)
            if self._in_image:
                register_labels(self.path, self._form.version)
            sync_folder(self.path.parent)
        self._committed = True
        self.close()

    def close(self) -> None:
        if self._run.closed:
            return
        if self._committed or not _begun(self.tree):
            shutil.rmtree(self._part, ignore_errors=True)
            if self._in_image:
                with suppress(OSError):  # it goes where nothing else is in it
                    self.path.parent.rmdir()
        self._run.close()

    # -- the unfinished run ----------------------------------------------------------------------------------

    def _locked(self) -> IO[str]:
        with file_errors(self.path):
            if self._in_image:
                self.path.parent.mkdir(exist_ok=True)
            self._part.mkdir(exist_ok=True)
            run = os.fdopen(os.open(self._part / "run.json", os.O_RDWR | os.O_CREAT, 0o666), "r+")
        try:
            lock(run, self.path)
        except UsageError:
            run.close()
            raise
        return run

    def _take_over(self, key: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Go on with what is there, or start anew."""
        found, wanted = self._run.read(), json.dumps(key, sort_keys=True)
        if _begun(self.tree) and (resume or not overwrite):
            self.resumed = goes_on(self.path, found, wanted, resume=resume)
        with file_errors(self.path):
            if self.resumed:
                self._drop_damaged()
            else:
                self._start(wanted)

    def _drop_damaged(self) -> None:
        """A power cut may have left names of chunks without all their bytes; their checksums tell."""
        for number in range(len(multiscales_of(self.tree)["datasets"])):
            level = _Level(self.tree, number)
            for lead, row, column in level:
                if (file := level.file(lead, row, column)).exists():
                    try:
                        level.read(lead, level.place(row, column))
                    except Exception:
                        file.unlink()

    def _start(self, key: str) -> None:
        fresh = self._part / "fresh"
        for folder in (self.tree, fresh):
            if folder.exists():
                shutil.rmtree(folder)
        self._run.seek(0)
        self._run.truncate()
        self._run.write(key)
        self._run.flush()
        name = self.path.name.removesuffix(".zarr").removesuffix(".ome")
        create_mask(fresh, self._form, name, in_image=self._in_image)
        _settle(fresh)
        fresh.rename(self.tree)


def part_of(path: Path) -> Path:
    """Where a mask grows before it gets its name."""
    return path.with_name(f".{path.name}.part")


def read_key(path: Path) -> dict[str, Any]:
    """The key of the unfinished run of a mask; empty where there is none that can be read."""
    around = image_around(path)
    output = labels_path(path, around, np.dtype(np.uint8)) if around else path
    try:
        key = json.loads((part_of(output) / "run.json").read_text())
    except (OSError, ValueError):
        return {}
    return key if isinstance(key, dict) else {}


def filling_bytes(width: int, planes: int, dtype: np.dtype[Any]) -> int:
    """The most that chunks hold which wait for tiles, when these come row by row."""
    return (-(-width // CHUNK) + 2) * CHUNK**2 * planes * np.dtype(dtype).itemsize


# -- chunks --------------------------------------------------------------------------------------------------


class _Level:
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

    def read(self, lead: Index, region: Region, step: int = 1) -> np.ndarray:
        """Every so many pixels of a region of a plane."""
        return np.asarray(self.array[_selection(lead, region, step)])

    def write(self, lead: Index, row: int, column: int, pixels: np.ndarray) -> None:
        self.array[_selection(lead, self.place(row, column))] = pixels


def _selection(lead: Index, region: Region, step: int = 1) -> tuple[int | slice, ...]:
    return (*lead, slice(region.y, region.bottom, step), slice(region.x, region.right, step))


def _shrink(finer: _Level, coarser: _Level) -> None:
    """Every second pixel, chunk by chunk: labels cannot be averaged."""
    for lead, row, column in coarser:
        place = Region(2 * row * CHUNK, 2 * column * CHUNK, 2 * CHUNK, 2 * CHUNK).intersection(finer.extent)
        there = any(finer.file(lead, *chunk).exists() for chunk in touched(place, CHUNK))
        if there and not coarser.file(lead, row, column).exists():
            coarser.write(lead, row, column, finer.read(lead, place, 2))


# -- folders -------------------------------------------------------------------------------------------------


def _begun(tree: Path) -> bool:
    """Whether there is a chunk in it."""
    return any(file.name.isdigit() and file.is_file() for file in (tree / "0").rglob("*"))


def _settle(tree: Path) -> None:
    """Bring all to the disk; what killed processes left of chunks goes."""
    for folder, _, files in os.walk(tree):
        for name in files:
            file = Path(folder, name)
            if file.suffix == ".partial":
                file.unlink()
            else:
                _sync(file)
        sync_folder(Path(folder))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _check_free(path: Path, *, overwrite: bool, in_image: bool) -> None:
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists; pass --overwrite to replace it, or give another name")
    if path.exists() and not is_mask(path):
        raise UsageError(f"{path}: is no OME-Zarr mask, so it is not replaced; give another name")
    if not path.parent.is_dir() and not in_image:
        raise UnetDeployError(f"{path}: there is no folder {path.parent}; make it first")
