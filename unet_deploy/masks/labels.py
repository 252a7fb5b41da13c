"""A mask among the labels of its OME-Zarr image: where it lies, and what it takes over from the image.

image.zarr/                what is segmented; it is never replaced
    0/ 1/ ...              its levels
    labels/                made where it is missing, with a list of what is in it
        segmentation/      the mask that was given the name image.zarr or image.zarr/labels
        cells/             the mask that was given the name image.zarr/labels/cells
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import zarr

from unet_deploy.errors import UsageError
from unet_deploy.images import ImageInfo
from unet_deploy.images.ome_zarr import Axis, ome_metadata, read_axes
from unet_deploy.masks import MaskForm
from unet_deploy.masks.ome_zarr import CREATOR, ZARR_FORMATS, MaskLayout, extent_of, mask_axes

LABELS = "segmentation"
"""The name of a mask that is given an image to lie in, and no name."""


def lay_out(path: Path, form: MaskForm, version: str) -> MaskLayout:
    """Where a mask goes, and its axes. Labels of an OME-Zarr image take its axes and its version.

    Raises UsageError where an image around `path` has no room for the mask or another size.
    """
    around = _image_around(path)
    if around is None:
        return MaskLayout(path, form, mask_axes(form.image, form.planes, form.axes), version, in_image=False)
    if not form.is_labels:
        raise UsageError(f"{path}: lies in an image, which has room for labels only; give another folder")
    place = _labels_path(path, around)
    version, axes = _as_the_image(path, around, form.image)
    return MaskLayout(place, form, mask_axes(form.image, form.planes, axes), version, in_image=True)


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


def _metadata(folder: Path) -> tuple[dict[str, Any], bool]:
    """What OME-Zarr says of a folder, empty where it says nothing; and whether this program made it."""
    if not any(os.path.isfile(folder / name) for name in ("zarr.json", ".zgroup")):
        return {}, False
    try:
        group = zarr.open_group(str(folder), mode="r")
    except (OSError, ValueError):
        return {}, False
    return ome_metadata(group), group.attrs.get("_creator") == CREATOR


def _image_around(path: Path) -> Path | None:
    """The OME-Zarr image that is this folder or that it lies in."""
    for folder in (path.absolute(), *path.absolute().parents):
        ome, ours = _metadata(folder)
        if "multiscales" in ome and not ours and "image-label" not in ome:
            return folder
    return None


def _labels_path(path: Path, around: Path) -> Path:
    """Where a mask goes whose path is an image or lies in one. Raises UsageError."""
    inside = path.absolute().relative_to(around).parts
    if not inside:
        return path / "labels" / LABELS
    if len(inside) == 1 and inside[0] == "labels":
        return path / LABELS
    if len(inside) == 2 and inside[0] == "labels":
        return path
    raise UsageError(f"{path}: lies in an image; its masks go to {around / 'labels'}/NAME")


def _as_the_image(path: Path, around: Path, image: ImageInfo) -> tuple[str, tuple[Axis, ...]]:
    """The version of an image, and the axes of that of its levels which was segmented. Raises UsageError."""
    group = zarr.open_group(str(around), mode="r")
    multiscales = ome_metadata(group)["multiscales"][0]
    for level, dataset in enumerate(multiscales["datasets"]):
        array = group.get(dataset["path"])
        if isinstance(array, zarr.Array):
            axes = read_axes(multiscales, level, array.shape)
            if extent_of(axes) == (image.pages, image.height, image.width):
                return "0.5" if group.metadata.zarr_format == 3 else "0.4", axes
    raise UsageError(f"{path}: lies in an image of another size than {image.name}; give another folder")
