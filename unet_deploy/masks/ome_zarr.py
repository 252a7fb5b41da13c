"""How a mask describes itself in OME-Zarr 0.4 and 0.5: axes, levels, colours of classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numcodecs
import zarr
from zarr.codecs import ZstdCodec

from unet_deploy.images import ImageInfo
from unet_deploy.images.nodata import FILL_VALUE
from unet_deploy.images.ome_zarr import Axis, ome_metadata
from unet_deploy.masks import MaskForm
from unet_deploy.masks.blocks import level_sizes
from unet_deploy.system.colours import class_colour

CHUNK = 1024
"""Side in pixels of a chunk of a mask."""

CREATOR = {"name": "unet-deploy"}
"""The attribute `_creator` of what this program made."""

ZARR_FORMATS: dict[str, Any] = {"0.4": 2, "0.5": 3}
"""The format of Zarr that a version of OME-Zarr is written in."""

DIMENSIONS = "_ARRAY_DIMENSIONS"
"""The attribute by which xarray knows the names of axes of a Zarr 2 array; Zarr 3 has a field for them."""

_UNITS = {"t": "second", "z": "micrometer"}

_KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


@dataclass(frozen=True)
class Placing:
    """Where pixels lie in the world: as far apart as `scale` says, the first one at `translation`."""

    scale: tuple[float, ...]
    """Units a pixel, along each axis."""
    translation: tuple[float, ...] | None = None
    """In units, along each axis; None where the file is not to say it."""

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The coordinateTransformations of OME-Zarr."""
        steps: list[dict[str, Any]] = [{"type": "scale", "scale": list(self.scale)}]
        if self.translation is not None:
            steps.append({"type": "translation", "translation": list(self.translation)})
        return steps


@dataclass(frozen=True)
class MaskLevel:
    """One level of a mask's pyramid."""

    shape: tuple[int, ...]
    place: Placing


@dataclass(frozen=True)
class MaskLayout:
    """A mask as OME-Zarr has it."""

    path: Path
    """The folder that it will be."""
    form: MaskForm
    axes: tuple[Axis, ...]
    """Its own: those of the image without channels, and the planes between time and space."""
    levels: tuple[MaskLevel, ...]
    """The finest first."""
    version: str
    """Of OME-Zarr, 0.4 or 0.5."""
    in_image: bool
    """Whether it lies among the labels of its image."""
    of_all: Placing | None = None
    """What comes after the placing of each level, where the image says it of all of them."""

    @property
    def key(self) -> list[Any]:
        """What must be the same for an unfinished run to go on."""
        form, shapes = self.form, [list(level.shape) for level in self.levels]
        return [self.version, form.dtype.str, form.planes, list(form.classes), form.nodata, shapes]


def halved(axes: Sequence[Axis]) -> tuple[MaskLevel, ...]:
    """The levels of a mask that lies in no image: each has every second pixel of the one before, from the first on."""
    *lead, height, width = (axis.size for axis in axes)
    offset = tuple(axis.offset for axis in axes) if any(axis.offset for axis in axes) else None
    return tuple(
        MaskLevel(
            (*lead, *sides),
            Placing(tuple(axis.scale * (2**level if axis.name in ("y", "x") else 1) for axis in axes), offset),
        )
        for level, sides in enumerate(level_sizes(height, width))
    )


def mask_axes(image: ImageInfo, planes: int, axes: Sequence[Axis] | None) -> tuple[Axis, ...]:
    """The axes of a mask of an image: the image's own, or z for its pages where it has none.

    Raises ValueError where the axes are not the image's.
    """
    if axes is None:
        axes = _axes_of(image)
    if extent_of(axes) != (image.pages, image.height, image.width):
        raise ValueError(f"{axes} are not the axes of {image}")
    lead = [axis for axis in axes if axis.name not in ("c", "y", "x")]
    across = [next(axis for axis in axes if axis.name == name) for name in ("y", "x")]
    if planes > 1:
        lead.insert(1 if lead and lead[0].name == "t" else 0, Axis("c", planes))
    return tuple(replace(axis, kind=axis.kind or _KINDS.get(axis.name)) for axis in (*lead, *across))


def _axes_of(image: ImageInfo) -> list[Axis]:
    """The axes of an image that is no OME-Zarr, in micrometres and seconds; in pixels of the finest level otherwise."""
    pages = [
        Axis(axis.name, axis.size, None, _UNITS[axis.name] if axis.distance else None, axis.distance or 1.0)
        for axis in image.stack
    ]
    place, sizes = image.place, image.sizes
    sides = ((place.step_y, sizes.y_um), (place.step_x, sizes.x_um))
    across = []
    for name, length, (step, size) in zip("yx", image.region.sides, sides, strict=True):
        scale = size or step
        # The centre of the first pixel, as far from that of the finest level's as the picture in LevelPlace says.
        across.append(Axis(name, length, None, "micrometer" if size else None, scale, (scale - scale / step) / 2))
    return [*pages, *across]


def extent_of(axes: Sequence[Axis]) -> tuple[int, int | None, int | None]:
    """Pages, height and width of an image with these axes; None for an axis that it lacks."""
    sizes = {axis.name: axis.size for axis in axes}
    pages = math.prod(size for name, size in sizes.items() if name not in ("c", "y", "x"))
    return pages, sizes.get("y"), sizes.get("x")


def create_mask(tree: Path, layout: MaskLayout) -> None:
    """Make the folder of a mask with all its levels and no chunk."""
    zarr_format = ZARR_FORMATS[layout.version]
    attributes = _attributes(layout)
    group = zarr.create_group(str(tree), zarr_format=zarr_format, attributes=attributes)
    names, nodata = [axis.name for axis in layout.axes], layout.form.nodata
    said: dict[str, Any] = {} if nodata is None else {FILL_VALUE: nodata}
    # Both have a checksum, which a resume relies on, and the readers of their versions know them.
    if zarr_format == 3:
        options: dict[str, Any] = {"compressors": ZstdCodec(level=3, checksum=True), "dimension_names": names}
    else:
        options = {"compressors": numcodecs.Zlib(4), "chunk_key_encoding": {"name": "v2", "separator": "/"}}
        said = {DIMENSIONS: names} | said
    for number, level in enumerate(layout.levels):
        *lead, tall, wide = level.shape
        chunks = (*(1 for _ in lead), min(CHUNK, tall), min(CHUNK, wide))
        group.create_array(
            str(number),
            shape=level.shape,
            chunks=chunks,
            dtype=layout.form.dtype,
            fill_value=0,
            attributes=said or None,
            **options,
        )


def _attributes(layout: MaskLayout) -> dict[str, Any]:
    form = layout.form
    own = {"_creator": CREATOR} | (form.origin.beside(layout.path, form.classes) if form.origin else {})
    multiscales = _multiscales(layout)
    ome: dict[str, Any] = {"multiscales": [multiscales]}
    if form.is_labels:
        ome["image-label"] = _image_label(form.classes, in_image=layout.in_image)
    elif len(form.classes) == form.planes:
        ome["omero"] = {"channels": list(map(_channel, range(form.planes), form.classes))}
    if layout.version == "0.5":
        return {"ome": {"version": "0.5", **ome}, **own}
    for part in (multiscales, ome.get("image-label", {})):
        part["version"] = layout.version
    return {**ome, **own}


def _multiscales(layout: MaskLayout) -> dict[str, Any]:
    named = [
        {"name": axis.name} | ({"type": axis.kind} if axis.kind else {}) | ({"unit": axis.unit} if axis.unit else {})
        for axis in layout.axes
    ]
    datasets = [
        {"path": str(number), "coordinateTransformations": level.place.steps}
        for number, level in enumerate(layout.levels)
    ]
    name = layout.path.name.removesuffix(".zarr").removesuffix(".ome")
    of_all = {"coordinateTransformations": layout.of_all.steps} if layout.of_all else {}
    return {"name": name, "axes": named, "datasets": datasets, **of_all, "type": "nearest"}


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
