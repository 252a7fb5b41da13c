"""How large a TIFF says that its pixels are: OME before ImageJ, ImageJ before a scanner's words and the resolution."""

from __future__ import annotations

import math
import re
from typing import Any
from xml.etree import ElementTree

from tifffile import TiffFile, TiffPage

from unet_deploy.images.sizes import PixelSizes
from unet_deploy.images.units import micrometres_in, seconds_in

COARSEST_UM = 50.0
"""Resolutions coarser than this (508 dpi) are a printer's or a screen's, not a microscope's."""

_NO_LENGTH = {"", "none", "null", "pixel", "pixels", "reference frame"}
"""What stands for a unit where a size is not known, in small letters."""

_TAG_UNITS_UM = {2: 25_400, 3: 10_000}
"""Of ResolutionUnit (TIFF 6.0, page 38): inch and centimetre."""

_AGREES = 1e-4
"""How far a resolution may be off a size that is known otherwise, as a share; it is stored as two whole numbers."""


def claimed_sizes(file: TiffFile, page: TiffPage) -> tuple[PixelSizes, str]:
    """Return what a file says of its sizes, be it possible or not, and a note on units that are none."""
    if file.is_ome and file.ome_metadata:
        pixels = ElementTree.fromstring(file.ome_metadata).find(".//{*}Pixels")
        if pixels is not None:
            return _ome_sizes(pixels, page)
    if file.is_imagej and file.imagej_metadata:
        described = {name: str(value) for name, value in file.imagej_metadata.items()}
        if described.get("unit", "").strip():
            return _imagej_sizes(described, page)
        return _with_time(_tag_sizes(page), described), ""
    if file.is_svs and (found := re.search(r"\bMPP\s*=\s*([0-9.]+)", page.description)):
        return PixelSizes(_number(found[1]), _number(found[1])), ""
    return _tag_sizes(page), ""


def resolution_tags(page: TiffPage, sizes: PixelSizes) -> dict[str, Any]:
    """Return the resolution that a mask has, as tifffile writes it: the page's own, unless its pixels are known better.

    sizes: of the pixels of this page.
    """
    has_unit = 282 in page.tags and 283 in page.tags and int(page.resolutionunit) != 1 and min(page.resolution) > 0
    if has_unit and (sizes.y_um is None or _agrees(page, sizes)):
        return {"resolution": page.resolution, "resolutionunit": int(page.resolutionunit)}
    return sizes.resolution


def _agrees(page: TiffPage, sizes: PixelSizes) -> bool:
    unit = _TAG_UNITS_UM.get(int(page.resolutionunit), 0)
    claims = zip(page.resolution, (sizes.x_um, sizes.y_um), strict=True)
    return all(size is not None and abs(unit / per_unit - size) <= _AGREES * size for per_unit, size in claims)


def _ome_sizes(pixels: ElementTree.Element, page: TiffPage) -> tuple[PixelSizes, str]:
    """Read the attributes of Pixels (OME schema 2016-06), whose units are micrometres and seconds where not said.

    Where they say nothing of a pixel's sides, the resolution does.
    """
    found, strange = {}, []
    for name, field in (("PhysicalSizeY", "y_um"), ("PhysicalSizeX", "x_um"), ("PhysicalSizeZ", "z_um")):
        unit = pixels.get(f"{name}Unit", "µm")
        found[field] = _in(pixels.get(name), micrometres_in(unit))
        if pixels.get(name) and found[field] is None and unit.lower() not in _NO_LENGTH:
            strange.append(unit)
    found["t_s"] = _in(pixels.get("TimeIncrement"), seconds_in(pixels.get("TimeIncrementUnit", "s")))
    if not pixels.get("PhysicalSizeX") and not pixels.get("PhysicalSizeY"):
        sides = _tag_sizes(page)
        found |= {"y_um": sides.y_um, "x_um": sides.x_um}
    return PixelSizes(**found), _unit_note(strange)


def _imagej_sizes(described: dict[str, str], page: TiffPage) -> tuple[PixelSizes, str]:
    """Read what ImageJ describes; the resolution is in pixels per its unit, whatever ResolutionUnit says."""
    unit = described["unit"]
    units = {axis: described.get(f"{axis}unit", unit) for axis in ("x", "y", "z")}
    per_x, per_y = page.resolution if 282 in page.tags and 283 in page.tags else (0.0, 0.0)
    spacing = _in(described.get("spacing"), micrometres_in(units["z"]))  # ImageJ takes 0 for none, and no sign
    sizes = PixelSizes(
        _per(per_y, micrometres_in(units["y"])),
        _per(per_x, micrometres_in(units["x"])),
        abs(spacing) if spacing else None,
    )
    strange = [each for each in units.values() if micrometres_in(each) is None and each.lower() not in _NO_LENGTH]
    return _with_time(sizes, described), _unit_note(strange)


def _with_time(sizes: PixelSizes, described: dict[str, str]) -> PixelSizes:
    """Add the time from frame to frame that ImageJ describes; it writes 0 where it is not known."""
    seconds = _in(described.get("finterval"), seconds_in(described.get("tunit", "sec")))
    return PixelSizes(sizes.y_um, sizes.x_um, sizes.z_um, seconds or None)


def _tag_sizes(page: TiffPage) -> PixelSizes:
    unit = _TAG_UNITS_UM.get(int(page.resolutionunit))
    per_x, per_y = page.resolution if 282 in page.tags and 283 in page.tags else (0.0, 0.0)
    y, x = _per(per_y, unit), _per(per_x, unit)
    if y is None or x is None or not 0 < min(y, x) <= max(y, x) <= COARSEST_UM:
        return PixelSizes()
    return PixelSizes(y, x)


def _per(per_unit: float, unit: float | None) -> float | None:
    """The side of a pixel of which so many make a unit; None where either is not known."""
    return unit / per_unit if unit and per_unit and math.isfinite(per_unit) else None


def _in(text: str | None, unit: float | None) -> float | None:
    """A length that is written in a unit; None where either is not known."""
    return _number(text) * unit if text and unit else None


def _number(text: str) -> float:
    """The number that a text is; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _unit_note(strange: list[str]) -> str:
    names = ", ".join(repr(unit) for unit in dict.fromkeys(strange))
    return f"sizes in {names} are not used: that is no unit of length" if strange else ""
