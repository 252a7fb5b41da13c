"""OME-Zarr with a pyramid, by itself or among the labels of its image, written in any order."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from unet_deploy.errors import UnetDeployError, UsageError
from unet_deploy.masks import Keep, MaskForm, MaskFormat, MaskSink
from unet_deploy.masks.chunks import ChunkWriter, drop_damaged, shrink_all
from unet_deploy.masks.labels import enter_labels, is_mask, lay_out, place_of, register_labels
from unet_deploy.masks.ome_zarr import CHUNK, MaskLayout, create_mask
from unet_deploy.masks.origin import Origin, read_record
from unet_deploy.masks.part import PartFolder, part_of, read_key, sweep
from unet_deploy.system.files import check_name, check_writable, file_errors
from unet_deploy.system.kernel import sync_folder
from unet_deploy.tiling import Region

VERSION = "0.5"
"""Of OME-Zarr, for masks that lie in no image."""


class ZarrMaskSink(MaskSink):
    """An OME-Zarr mask, with levels of every second pixel for viewers and a colour for each class.

    path: a new folder; or IMAGE.zarr/labels/NAME, or IMAGE.zarr itself, for labels of an OME-Zarr image that is there:
    these take the axes, the pixel size, the pyramid and the version of the image. More planes than one make an axis c.
    Numbers that are no integers make an image with a channel for each class, as only integers are labels. Chunks that
    lie outside the region that is written are left out. version: of OME-Zarr, 0.4 or 0.5.

    The mask grows in a hidden folder beside `path`, which gets its name in `commit`. A chunk that is there is
    finished, so chunks of zeros are written too. The bytes depend on the pixels and on the name alone, however often
    a run was broken off and resumed.
    Raises UsageError when `path` exists and is not to be replaced, or is something else than a mask, where an
    unfinished run is in the way, and where another process is at it.
    """

    def __init__(self, path: Path, form: MaskForm, keep: Keep, *, version: str = VERSION) -> None:
        self._layout = layout = lay_out(path, form, version)
        self.path = layout.path
        _check_free(layout, keep)
        self._committed = False
        with file_errors(self.path):
            if layout.in_image:
                self.path.parent.mkdir(exist_ok=True)
            try:
                self._part = PartFolder(self.path, _with_layout(keep, layout), partial(create_mask, layout=layout))
            except BaseException:
                _drop_empty_labels(layout)
                raise
        self.tree, self.resumed = self._part.tree, self._part.resumed
        try:
            if self.resumed:
                with file_errors(self.path):
                    drop_damaged(self.tree)
            self._writer = ChunkWriter(self.tree, self.path, region=form.region)
        except BaseException:
            self.close()
            raise

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
            shrink_all(self._part.tree)
            self._part.give_name()
            if self._layout.in_image:
                register_labels(self.path, self._layout.version)
            sync_folder(self.path.parent)
        self._committed = True

    def keep(self) -> None:
        self._committed = False

    def give_up(self) -> None:
        self._committed = True

    def close(self) -> None:
        if self._part.closed:
            return
        self._part.close(ended=self._committed)
        _drop_empty_labels(self._layout)


def _with_layout(keep: Keep, layout: MaskLayout) -> Keep:
    return keep if keep.key is None else replace(keep, key={**keep.key, "format of the mask": layout.key})


def _drop_empty_labels(layout: MaskLayout) -> None:
    """An image is left as it was where no mask came into it."""
    if layout.in_image:
        with suppress(OSError):  # others are in the folder
            layout.path.parent.rmdir()


def _check_free(layout: MaskLayout, keep: Keep) -> None:
    path = layout.path
    check_name(path)
    if path.exists() and not keep.replaces(path):
        raise UsageError(f"{path} exists; pass --overwrite to replace it, or give another name")
    if path.exists() and not is_mask(path):
        raise UsageError(f"{path}: is no OME-Zarr mask, so it is not replaced; give another name")
    if not path.parent.is_dir() and not layout.in_image:
        raise UnetDeployError(f"{path}: there is no folder {path.parent}; make it first")
    check_writable(path if path.parent.is_dir() else path.parent)


class _OmeZarr(MaskFormat):
    """OME-Zarr, whose chunks several processes may fill."""

    block, shared, spooled, mapped = CHUNK, True, False, False

    def open(self, path: Path, form: MaskForm, keep: Keep) -> ZarrMaskSink:
        return ZarrMaskSink(path, form, keep)

    def writer(self, tree: Path, path: Path, region: Region | None = None) -> ChunkWriter:
        return ChunkWriter(tree, path, region=region)

    def check(self, path: Path, form: MaskForm, keep: Keep) -> None:
        _check_free(lay_out(path, form, VERSION), keep)

    def place(self, path: Path) -> Path:
        return place_of(path)

    def origin(self, path: Path) -> Origin | None:
        try:
            return read_record(path, zarr.open_group(str(path), mode="r").attrs.asdict())
        except Exception:  # whatever a folder holds that is none of ours
            return None

    def is_finished(self, path: Path) -> bool:
        return is_mask(place_of(path))

    def unfinished(self, path: Path) -> Path:
        return part_of(place_of(path))

    def unfinished_key(self, path: Path) -> dict[str, Any]:
        return read_key(place_of(path))

    def sweep(self, path: Path, key: Mapping[str, Any]) -> None:
        place = place_of(path)
        sweep(place, finish=partial(enter_labels, place))


FORMAT = _OmeZarr()
