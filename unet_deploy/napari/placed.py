"""How far apart the pixels, slices and times of a layer lie: between what files say, and what napari does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unet_deploy.images import ImageInfo
from unet_deploy.images.orientation import upright_order
from unet_deploy.images.sizes import PageAxis, PixelSizes, page_axes
from unet_deploy.napari.levels import lead_of

_UM, _S, _NOT_KNOWN = "um", "s", "pixel"


@dataclass(frozen=True)
class Axis:
    """An axis of a layer."""

    name: str
    distance: float = 1.0
    unit: str = _NOT_KNOWN


def axes_of(info: ImageInfo) -> tuple[Axis, ...]:
    """Return the axes of an image as it is shown, without that of channels."""
    pages = [_page_axis(info.sizes.along(axis)) for axis in info.page_axes]
    if not pages and lead_of(info):
        pages = [Axis("page")]
    y, x = upright_order((info.sizes.y_um or 0, info.sizes.x_um or 0), info.orientation)
    return (*pages, _length("y", y), _length("x", x))


def said_to_napari(axes: tuple[Axis, ...]) -> dict[str, Any]:
    """Return the arguments of a layer that say what its axes are."""
    return {
        "scale": tuple(axis.distance for axis in axes),
        "units": tuple(axis.unit for axis in axes),
        "axis_labels": tuple(axis.name for axis in axes),
    }


def sizes_said_by(layer: Any) -> PixelSizes:
    """Return what a layer says of the size of its pixels and of their distances; nothing of what is no length."""
    distances = dict(zip(layer.axis_labels, zip(layer.scale, layer.units, strict=True), strict=True))
    y, x = (_in("micrometer", *each) for each in list(zip(layer.scale, layer.units, strict=True))[-2:])
    z, t = (_in(unit, *distances[name]) if name in distances else None for name, unit in (("z", "um"), ("t", "s")))
    return PixelSizes(y, x, z, t) if y and x else PixelSizes(z_um=z, t_s=t)


def page_axes_of(layer: Any, lead: tuple[int, ...]) -> tuple[PageAxis, ...]:
    """Return the axes that its pages are counted along, where a layer calls them t and z."""
    return page_axes(list(zip(layer.axis_labels, lead, strict=False)))


def _page_axis(axis: PageAxis) -> Axis:
    return Axis(axis.name, axis.distance, _S if axis.name == "t" else _UM) if axis.distance else Axis(axis.name)


def _length(name: str, side_um: float) -> Axis:
    return Axis(name, side_um, _UM) if side_um else Axis(name)


def _in(unit: str, distance: float, said: Any) -> float | None:
    """A distance in a unit; None where what it is said in is no such."""
    if not said.is_compatible_with(unit):
        return None
    converted: float = (float(distance) * said).to(unit).magnitude
    return converted or None
