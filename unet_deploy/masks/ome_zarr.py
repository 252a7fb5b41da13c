"""What OME-Zarr (0.4 and 0.5) says of masks, and of the image that labels lie in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from unet_deploy.errors import UsageError
from unet_deploy.images import ImageInfo
from unet_deploy.images.ome_zarr import Axis, ome_metadata, read_axes
from unet_deploy.system.colours import class_colour

CHUNK = 1024
"""Side in pixels of a chunk of a mask."""

SMALLEST_LEVEL = 1024
"""A pyramid ends with the first level that is no larger than this."""

LABELS = "segmentation"
"""The name of a mask that is given an image to lie in, and no name."""

_FORMATS = {"0.4": 2, "0.5": 3}
_CREATOR = {"name": "unet-deploy"}
_KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}

# -- the metadata of a mask -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MaskForm:
    """What a mask is, before it has pixels."""

    image: ImageInfo
    planes: int
    dtype: np.dtype[Any]
    classes: tuple[str, ...]
    axes: tuple[Axis, ...]
    version: str

    @property
    def key(self) -> list[Any]:
        return [self.version, self.dtype.str, self.planes, list(self.classes)]

    @property
    def is_labels(self) -> bool:
        return self.dtype.kind in "ui"


def mask_axes(image: ImageInfo, planes: int, axes: Sequence[Axis] | None) -> tuple[Axis, ...]:
    """The axes of a mask: those of the image without its channels, and the planes between time and space."""
    if axes is None:
        size, unit = image.pixel_size_um or 1.0, "micrometer" if image.pixel_size_um else None
        pages = [Axis("z", image.pages)] if image.pages > 1 else []
        axes = [*pages, Axis("y", image.height, None, unit, size), Axis("x", image.width, None, unit, size)]
    lead = [axis for axis in axes if axis.name not in ("c", "y", "x")]
    across = [next(axis for axis in axes if axis.name == name) for name in ("y", "x")]
    if (math.prod(axis.size for axis in lead), *(axis.size for axis in across)) != _extent(image):
        raise ValueError(f"{axes} are not the axes of {image}")
    if planes > 1:
        lead.insert(1 if lead and lead[0].name == "t" else 0, Axis("c", planes))
    return tuple(replace(axis, kind=axis.kind or _KINDS.get(axis.name)) for axis in (*lead, *across))


def _extent(image: ImageInfo) -> tuple[int, int, int]:
    return image.pages, image.height, image.width


def create_mask(tree: Path, form: MaskForm, name: str, *, in_image: bool) -> None:
    """A mask without a chunk."""
    zarr_format: Any = _FORMATS[form.version]
    *lead, height, width = (axis.size for axis in form.axes)
    shapes = [(height, width)]
    while max(shapes[-1]) > SMALLEST_LEVEL:
        shapes.append((-(-shapes[-1][0] // 2), -(-shapes[-1][1] // 2)))
    attributes = _attributes(form, name, len(shapes), in_image=in_image)
    group = zarr.create_group(str(tree), zarr_format=zarr_format, attributes=attributes)
    # Both have a checksum, which a resume relies on, and the readers of their versions know them.
    options: dict[str, Any] = {"compressors": numcodecs.Zlib(4), "chunk_key_encoding": {"name": "v2", "separator": "/"}}
    if zarr_format == 3:
        options = {
            "compressors": ZstdCodec(level=3, checksum=True),
            "dimension_names": [axis.name for axis in form.axes],
        }
    for number, (tall, wide) in enumerate(shapes):
        chunks = (*(1 for _ in lead), min(CHUNK, tall), min(CHUNK, wide))
        group.create_array(
            str(number), shape=(*lead, tall, wide), chunks=chunks, dtype=form.dtype, fill_value=0, **options
        )


def _attributes(form: MaskForm, name: str, levels: int, *, in_image: bool) -> dict[str, Any]:
    named = [
        {"name": axis.name} | ({"type": axis.kind} if axis.kind else {}) | ({"unit": axis.unit} if axis.unit else {})
        for axis in form.axes
    ]
    datasets = []
    for level in range(levels):
        scale = [axis.scale * (2**level if axis.name in ("y", "x") else 1) for axis in form.axes]
        steps: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if any(axis.offset for axis in form.axes):
            steps.append({"type": "translation", "translation": [axis.offset for axis in form.axes]})
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    multiscales: dict[str, Any] = {"name": name, "axes": named, "datasets": datasets, "type": "nearest"}
    ome: dict[str, Any] = {"multiscales": [multiscales]}
    if form.is_labels:
        ome["image-label"] = _image_label(form.classes, in_image=in_image)
    elif len(form.classes) == form.planes:
        ome["omero"] = {"channels": list(map(_channel, range(form.planes), form.classes))}
    if form.version == "0.5":
        return {"ome": {"version": "0.5", **ome}, "_creator": _CREATOR}
    for part in (multiscales, ome.get("image-label", {})):
        part["version"] = form.version
    return {**ome, "_creator": _CREATOR}


def _image_label(classes: Sequence[str], *, in_image: bool) -> dict[str, Any]:
    label: dict[str, Any] = {}
    if len(classes) > 1:
        values = range(1, len(classes))
        label["colors"] = [{"label-value": value, "rgba": [*class_colour(value), 255]} for value in values]
        label["properties"] = [{"label-value": value, "class": classes[value]} for value in values]
    if in_image:
        label["source"] = {"image": "../../"}
    return label


def _channel(number: int, name: str) -> dict[str, Any]:
    colour = "{:02X}{:02X}{:02X}".format(*class_colour(number)) if number else "808080"
    window = {"min": 0.0, "max": 1.0, "start": 0.0, "end": 1.0}
    return {"label": name, "color": colour, "active": True, "window": window}


def multiscales_of(folder: Path) -> dict[str, Any]:
    """The metadata of the first image of a group."""
    return ome_metadata(zarr.open_group(str(folder), mode="r"))["multiscales"][0]


# -- the image around a mask ------------------------------------------------------------------------------------------


def _metadata(folder: Path) -> tuple[dict[str, Any], bool]:
    """What OME-Zarr says of a folder, empty where it says nothing; and whether this program made it."""
    if not any((folder / name).is_file() for name in ("zarr.json", ".zgroup")):
        return {}, False
    try:
        group = zarr.open_group(str(folder), mode="r")
    except (OSError, ValueError):
        return {}, False
    return ome_metadata(group), group.attrs.get("_creator") == _CREATOR


def is_mask(path: Path) -> bool:
    """Whether it may be replaced: labels, or what this program made."""
    ome, ours = _metadata(path)
    return "multiscales" in ome and (ours or "image-label" in ome)


def image_around(path: Path) -> Path | None:
    """The OME-Zarr image that is this folder or that it lies in."""
    for folder in (path.absolute(), *path.absolute().parents):
        ome, ours = _metadata(folder)
        if "multiscales" in ome and not ours and "image-label" not in ome:
            return folder
    return None


def labels_path(path: Path, around: Path, dtype: np.dtype[Any]) -> Path:
    """Where a mask goes whose path is an image or lies in one. Raises UsageError."""
    inside = path.absolute().relative_to(around).parts
    if dtype.kind not in "ui":
        raise UsageError(f"{path}: lies in an image, which has room for labels only; give another folder")
    if not inside:
        return path / "labels" / LABELS
    if len(inside) == 1 and inside[0] == "labels":
        return path / LABELS
    if len(inside) == 2 and inside[0] == "labels":
        return path
    raise UsageError(f"{path}: lies in an image; its masks go to {around / 'labels'}/NAME")


def as_the_image(path: Path, around: Path, image: ImageInfo) -> tuple[str, tuple[Axis, ...]]:
    """The version of an image, and the axes of that of its levels which was segmented. Raises UsageError."""
    group = zarr.open_group(str(around), mode="r")
    multiscales = ome_metadata(group)["multiscales"][0]
    for level, dataset in enumerate(multiscales["datasets"]):
        array = group.get(dataset["path"])
        if isinstance(array, zarr.Array):
            axes = read_axes(multiscales, level, array.shape)
            sizes = {axis.name: axis.size for axis in axes}
            pages = math.prod(size for name, size in sizes.items() if name not in ("c", "y", "x"))
            if (pages, sizes.get("y"), sizes.get("x")) == _extent(image):
                return "0.5" if group.metadata.zarr_format == 3 else "0.4", axes
    raise UsageError(f"{path}: lies in an image of another size than {image.name}; give another folder")


def register_labels(path: Path, version: str) -> None:
    """Add a mask to the list that viewers find the labels of an image by."""
    zarr_format: Any = _FORMATS[version]
    group = zarr.open_group(str(path.parent), mode="a", zarr_format=zarr_format)
    ome = ome_metadata(group)
    names = [*(name for name in ome.get("labels", ()) if name != path.name), path.name]
    group.attrs.update({"ome": {**ome, "version": version, "labels": names}} if zarr_format == 3 else {"labels": names})
