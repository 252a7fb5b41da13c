"""What a TIFF mask says of itself: as OME where its name says so, as ImageJ does where it is a stack with distances.

ImageJ and OME count planes in the order of the file, the channel the fastest; so do masks. Only where an image lies on
Earth the planes of a page are bands of one image, whose names GDAL and QGIS show.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from unet_deploy.images.earth import lies_on_earth
from unet_deploy.masks import MaskForm, is_ome_name

_RESOLUTION_UNITS = {2: ("inch", 25_400.0), 3: ("cm", 10_000.0)}
"""ImageJ's names of TIFF's units, and their micrometres."""

_GDAL_METADATA = 42112
"""The tag in which GDAL keeps names of bands (gdal.org, GTiff driver, "Metadata")."""


def plane_axes(form: MaskForm) -> list[tuple[str, int]]:
    """The axes before y and x, in the order of the file, and their sizes."""
    axes = [(axis.name.upper(), axis.size) for axis in form.image.stack]
    return [*axes, ("C", form.planes)] if form.planes > 1 else axes


def ome_options(form: MaskForm) -> dict[str, Any]:
    """What tifffile is told of a mask with OME metadata."""
    metadata: dict[str, Any] = {"axes": "".join(name for name, _ in plane_axes(form)) + "YX"}
    sizes = form.image.sizes
    if sizes.x_um and sizes.y_um:
        unit = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
        metadata |= {"PhysicalSizeX": sizes.x_um, "PhysicalSizeY": sizes.y_um, **unit}
    for axis in form.image.stack:
        if axis.distance and axis.name == "z":
            metadata |= {"PhysicalSizeZ": axis.distance, "PhysicalSizeZUnit": "µm"}
        elif axis.distance:
            metadata |= {"TimeIncrement": axis.distance, "TimeIncrementUnit": "s"}
    if form.planes > 1 and len(form.classes) == form.planes:
        metadata["Channel"] = {"Name": list(form.classes)}
    return {"metadata": metadata}


def has_bands(path: Path, form: MaskForm) -> bool:
    """Whether the planes of a page are bands of one image, plane after plane, and no pages."""
    return form.planes > 1 and lies_on_earth(form.image.tags) and not is_ome_name(path)


def described_options(path: Path, form: MaskForm) -> dict[str, Any]:
    """What tifffile is told of a mask of this name."""
    if is_ome_name(path):
        return ome_options(form)
    return {"metadata": None} if has_bands(path, form) else plain_options(form)


def band_names(classes: Sequence[str]) -> tuple[int, str, int, bytes, bool]:
    """The tag that names bands, in the words of tifffile."""
    items = (
        f'  <Item name="DESCRIPTION" sample="{band}" role="description">{escape(name)}</Item>'
        for band, name in enumerate(classes)
    )
    text = "\n".join(["<GDALMetadata>", *items, "</GDALMetadata>", ""])
    stored = text.encode() + b"\0"
    return _GDAL_METADATA, "s", len(stored), stored, True


def plain_options(form: MaskForm) -> dict[str, Any]:
    """What tifffile is told of any other mask: of one that needs no words, to write none."""
    stack = {axis.name: axis for axis in form.image.stack}
    if "t" not in stack and not any(axis.distance for axis in stack.values()):
        return {"metadata": None}
    words = ["ImageJ=1.11a", f"images={form.image.pages * form.planes}"]
    words += [f"channels={form.planes}"] if form.planes > 1 else []
    words += [f"{'slices' if name == 'z' else 'frames'}={axis.size}" for name, axis in sorted(stack.items())[::-1]]
    words += ["hyperstack=true", "mode=grayscale"] if len(plane_axes(form)) > 1 else []
    unit, um = _RESOLUTION_UNITS.get(form.image.tags.get("resolutionunit", 0), ("", 0.0))
    if unit and form.image.sizes.x_um:
        # ImageJ takes the resolution for pixels per this unit, so it has to be the tag's own, and not a printer's.
        words.append(f"unit={unit}")
        words += [f"spacing={stack['z'].distance / um!r}"] if "z" in stack and stack["z"].distance else []
    if "t" in stack and stack["t"].distance:
        words.append(f"finterval={stack['t'].distance!r}")
    return {"metadata": None, "description": "\n".join([*words, "loop=false", ""])}
