"""A mask among the labels of its OME-Zarr image: where it lies, and what it takes over from the image.

image.zarr/                what is segmented; it is never replaced
    0/ 1/ ...              its levels
    labels/                made where it is missing, with a list of what is in it
        segmentation/      the mask that was given the name image.zarr or image.zarr/labels
        cells/             the mask that was given the name image.zarr/labels/cells
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import zarr

from unet_deploy.errors import UsageError
from unet_deploy.images import ImageInfo, is_zarr_folder
from unet_deploy.images.ome_zarr import Axis, ome_metadata, read_axes
from unet_deploy.images.sizes import coarsening
from unet_deploy.masks import MaskForm
from unet_deploy.masks.ome_zarr import (
    CREATOR,
    ZARR_FORMATS,
    MaskLayout,
    MaskLevel,
    Placing,
    extent_of,
    halved,
    mask_axes,
)

LABELS = "segmentation"
"""The name of a mask that is given an image to lie in, and no name."""


def lay_out(path: Path, form: MaskForm, version: str) -> MaskLayout:
    """Where a mask goes, its axes and levels. Labels of an OME-Zarr image take its axes, its pyramid and its version.

    Raises UsageError where an image around `path` has no room for the mask or another size, and for labels of none.
    """
    around = _image_around(path)
    if around is None:
        axes = mask_axes(form.image, form.planes, form.axes)
        return MaskLayout(path, form, axes, halved(axes), version, in_image=False)
    if not form.is_labels:
        raise UsageError(f"{path}: lies in an image, which has room for labels only; give another folder")
    place = _labels_path(path, around)
    image = _Pyramid.of(around)
    level = image.level_of(form.image)
    if level is None:
        raise UsageError(f"{path}: lies in an image of another size than {form.image.name}; give another folder")
    axes = mask_axes(form.image, form.planes, image.axes(level))
    levels, of_all = image.followed(level, [axis.name for axis in axes])
    return MaskLayout(place, form, axes, levels, image.version, in_image=True, of_all=of_all)


def place_of(path: Path) -> Path:
    """The folder that the mask of a name is, as `lay_out` says. Raises UsageError."""
    around = _image_around(path)
    return _labels_path(path, around) if around else path


def is_mask(path: Path) -> bool:
    """Whether a folder may be replaced by a mask: it holds labels, or what this program made."""
    ome, ours = _metadata(path)
    return "multiscales" in ome and (ours or "image-label" in ome)


def register_labels(path: Path, version: str) -> None:
    """Add a mask to the list that viewers find the labels of an image by."""
    zarr_format = ZARR_FORMATS[version]
    group = zarr.open_group(str(path.parent), mode="a", zarr_format=zarr_format)
    ome = ome_metadata(group)
    names = [*(name for name in ome.get("labels", ()) if name != path.name), path.name]
    group.attrs.update({"ome": {**ome, "version": version, "labels": names}} if zarr_format == 3 else {"labels": names})


def enter_labels(path: Path) -> None:
    """Register a mask where it lies in an image and a killed run did not come to it."""
    around = _image_around(path)
    if around and path.name not in _metadata(path.parent)[0].get("labels", ()):
        register_labels(path, _Pyramid.of(around).version)


def _metadata(folder: Path) -> tuple[dict[str, Any], bool]:
    """What OME-Zarr says of a folder, empty where it says nothing; and whether this program made it."""
    if not any(os.path.isfile(folder / name) for name in ("zarr.json", ".zgroup")):
        return {}, False
    try:
        group = zarr.open_group(str(folder), mode="r")
        return ome_metadata(group), group.attrs.get("_creator") == CREATOR
    except Exception:  # whatever a folder holds that is no Zarr of anybody's
        return {}, False


def _image_around(path: Path) -> Path | None:
    """The OME-Zarr image that is this folder or that it lies in. Raises UsageError for a place of labels in none."""
    whole = Path(os.path.abspath(path))  # without .., which is not in what it seems to lie in
    folders = (whole, *whole.parents)
    for folder in folders:
        ome, ours = _metadata(folder)
        if "multiscales" in ome and not ours and "image-label" not in ome:
            return folder
    for folder in folders:
        if folder.name == "labels" and any(each.suffix == ".zarr" or is_zarr_folder(each) for each in folder.parents):
            raise UsageError(
                f"{path}: labels lie in their image, but {folder.parent} is no OME-Zarr image; "
                "give the folder of one, or a name by itself such as cells.zarr"
            )
    return None


def _labels_path(path: Path, around: Path) -> Path:
    """Where a mask goes whose path is an image or lies in one. Raises UsageError."""
    inside = Path(os.path.abspath(path)).relative_to(around).parts
    if not inside:
        return path / "labels" / LABELS
    if len(inside) == 1 and inside[0] == "labels":
        return path / LABELS
    if len(inside) == 2 and inside[0] == "labels":
        return path
    raise UsageError(f"{path}: lies in an image; its masks go to {around / 'labels'}/NAME")


@dataclass(frozen=True)
class _Pyramid:
    """The levels of an image, as far as their arrays are there."""

    version: str
    multiscales: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    """Of each level, channels included, the finest first."""

    @classmethod
    def of(cls, folder: Path) -> _Pyramid:
        group = zarr.open_group(str(folder), mode="r")
        multiscales = ome_metadata(group)["multiscales"][0]
        nodes = (group.get(dataset["path"]) for dataset in multiscales["datasets"])
        shapes = tuple(takewhile(bool, (node.shape if isinstance(node, zarr.Array) else () for node in nodes)))
        return cls("0.5" if group.metadata.zarr_format == 3 else "0.4", multiscales, shapes)

    def axes(self, level: int) -> tuple[Axis, ...]:
        return read_axes(self.multiscales, level, self.shapes[level])

    def level_of(self, image: ImageInfo) -> int | None:
        """The finest that has the pages, height and width of an image."""
        extent = (image.pages, image.height, image.width)
        return next((level for level in range(len(self.shapes)) if extent_of(self.axes(level)) == extent), None)

    def followed(self, first: int, names: Sequence[str]) -> tuple[tuple[MaskLevel, ...], Placing | None]:
        """The levels of labels with these axes from a level on, and what is said of all of them together.

        What the image says is said again word for word. Where that is not possible, because labels begin at a coarser
        level or the image says nothing, it is what `read_axes` makes of it.
        """
        order = [[axis.name for axis in self.axes(first)].index(name) for name in names]
        shapes = [tuple(shape[at] for at in order) for shape in self.shapes[first:]]
        said = [_said(dataset, order) for dataset in self.multiscales["datasets"][: len(self.shapes)]]
        of_all = _said(self.multiscales, order)
        if first == 0 and None not in said and (of_all or not self.multiscales.get("coordinateTransformations")):
            return tuple(map(MaskLevel, shapes, filter(None, said))), of_all
        places = [self._place(level, order, said[level] is not None) for level in range(first, len(self.shapes))]
        return tuple(map(MaskLevel, shapes, places)), None

    def _place(self, level: int, order: Sequence[int], is_said: bool) -> Placing:
        """Where the pixels of a level lie, by its transformations or else by its size."""
        axes = self.axes(level if is_said else 0)
        steps = [1.0] * len(axes) if is_said else list(map(coarsening, self.shapes[0], self.shapes[level]))
        scale = tuple(axes[at].scale * steps[at] for at in order)
        offset = tuple(axes[at].offset + axes[at].scale * (steps[at] - 1) / 2 for at in order)
        return Placing(scale, offset if any(offset) else None)


def _said(metadata: dict[str, Any], order: Sequence[int]) -> Placing | None:
    """A scale and the translation after it, of some axes; None where that is not what metadata say."""
    steps = metadata.get("coordinateTransformations") or []
    said = [(step.get("type"), step.get(step.get("type"))) for step in steps]
    if [kind for kind, _ in said] not in (["scale"], ["scale", "translation"]) or not all(each for _, each in said):
        return None
    return Placing(*(tuple(each[at] for at in order) for _, each in said))
