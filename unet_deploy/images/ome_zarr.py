"""What OME-Zarr (0.4 and 0.5) says of an image: its axes, and how large a pixel is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr

from unet_deploy.images.sizes import PixelSizes
from unet_deploy.images.units import micrometres_in, seconds_in


@dataclass(frozen=True)
class Axis:
    """An axis of an OME-Zarr image, as its metadata say."""

    name: str
    size: int
    kind: str | None = None
    """space, time, channel; None where it is not said."""
    unit: str | None = None
    scale: float = 1.0
    """Units a pixel."""
    offset: float = 0.0
    """Where the first pixel lies, in units."""


def ome_metadata(group: zarr.Group) -> dict[str, Any]:
    """Return what OME-Zarr says of a group: under "ome" from 0.5 on, beside other attributes before."""
    attributes = dict(group.attrs)
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def read_axes(multiscales: dict[str, Any], level: int, shape: Sequence[int]) -> tuple[Axis, ...]:
    """Return the axes of one level, with what its transformations and those of the whole image make of a pixel.

    A coarser level that does not say where it lies is taken to show the same area as the finest, so that its first
    pixel lies further in: many writers leave that out. Raises ValueError where there are not as many axes as dimensions
    in `shape`.
    """
    named = [axis if isinstance(axis, dict) else {"name": axis} for axis in multiscales.get("axes") or "tczyx"]
    if len(named) != len(shape):
        raise ValueError(f"{len(named)} axes for {len(shape)} dimensions")
    start = np.ones(len(shape)), np.zeros(len(shape))
    steps = multiscales["datasets"][level].get("coordinateTransformations") or ()
    scale, offset = _transformed(steps, *start)
    if level and not any(step.get("type") == "translation" for step in steps):
        finest, _ = _transformed(multiscales["datasets"][0].get("coordinateTransformations") or (), *start)
        offset = (scale - finest) / 2
    scale, offset = _transformed(multiscales.get("coordinateTransformations") or (), scale, offset)
    return tuple(
        Axis(_name_of(axis), size, axis.get("type"), axis.get("unit"), float(step), float(start))
        for axis, size, step, start in zip(named, shape, scale, offset, strict=True)
    )


def _name_of(axis: dict[str, Any]) -> str:
    """Return the name of an axis; that of channels may be called anything."""
    return "c" if axis.get("type") == "channel" else str(axis["name"]).lower()


def _transformed(
    steps: Iterable[dict[str, Any]], scale: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Apply transformations, one after another, to the distance between pixels and the place of the first."""
    for step in steps:
        if step.get("type") == "scale" and "scale" in step:
            scale, offset = scale * step["scale"], offset * step["scale"]
        elif step.get("type") == "translation" and "translation" in step:
            offset = offset + step["translation"]
    return scale, offset


def claimed_names(ome: dict[str, Any]) -> list[object]:
    """Return what the rendering settings of an image call its channels, whatever these say; empty where there is none.

    Viewers' settings may be of any shape, and an image is read all the same.
    """
    omero = ome.get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(channels, list):
        return []
    return [each.get("label") if isinstance(each, dict) else None for each in channels]


def claimed_sizes(axes: Sequence[Axis]) -> tuple[PixelSizes, str]:
    """Return what axes say of sizes, be it possible or not, and a note on units that are none.

    A length without a unit is not known, as OME-Zarr has no unit that goes without saying.
    """
    found, strange = {}, []
    for axis in axes:
        unit_in = seconds_in if axis.name == "t" else micrometres_in
        unit = unit_in(axis.unit or "")
        found[axis.name] = axis.scale * unit if unit else None
        if axis.unit and not unit and axis.name in "tzyx" and axis.unit != "pixel":
            strange.append(axis.unit)
    sizes = PixelSizes(*(found.get(name) for name in "yxzt"))
    names = ", ".join(repr(unit) for unit in dict.fromkeys(strange))
    return sizes, f"sizes in {names} are not used: that is no unit that is known" if strange else ""
