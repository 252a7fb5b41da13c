"""What OME-Zarr (0.4 and 0.5) says of an image: its axes, and how large a pixel is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr

_UM_PER_UNIT = {
    "angstrom": 1e-4,
    "picometer": 1e-6,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
    "nm": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,
    "mm": 1e3,
}


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

    Raises ValueError where there are not as many axes as dimensions in `shape`.
    """
    named = [axis if isinstance(axis, dict) else {"name": axis} for axis in multiscales.get("axes") or "tczyx"]
    if len(named) != len(shape):
        raise ValueError(f"{len(named)} axes for {len(shape)} dimensions")
    scale, offset = np.ones(len(shape)), np.zeros(len(shape))
    for holder in (multiscales["datasets"][level], multiscales):
        for step in holder.get("coordinateTransformations") or ():
            if step.get("type") == "scale" and "scale" in step:
                scale, offset = scale * step["scale"], offset * step["scale"]
            elif step.get("type") == "translation" and "translation" in step:
                offset = offset + step["translation"]
    return tuple(
        Axis(_name_of(axis), size, axis.get("type"), axis.get("unit"), float(step), float(start))
        for axis, size, step, start in zip(named, shape, scale, offset, strict=True)
    )


def _name_of(axis: dict[str, Any]) -> str:
    """Return the name of an axis; that of channels may be called anything."""
    return "c" if axis.get("type") == "channel" else str(axis["name"]).lower()


def micrometres(axis: Axis) -> float | None:
    """Return the length of a pixel in micrometres; None where the unit is no length, or not said."""
    unit = _UM_PER_UNIT.get(axis.unit or "")
    return axis.scale * unit if unit and axis.scale > 0 else None
