"""In what the places of objects are given: pixels of the finest level, and the map that the image lies on."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from unet_deploy.errors import ImageError
from unet_deploy.images import ImageInfo
from unet_deploy.images.on_map import WGS84, OnMap
from unet_deploy.objects.frame import Frame, Map
from unet_deploy.segmentation.options import Coordinates


def frame_of(image: ImageInfo, coordinates: Coordinates, table: Path | None = None) -> Frame:
    """Return where the pixels of a mask lie, and the map that objects are placed on.

    table: the file that says where objects are.
    Raises ImageError where the image does not lie on the map that is asked for, and MissingPackageError.
    """
    place, sizes = image.place, image.sizes
    height, width = image.levels[0] if image.levels else (None, None)
    drawn = _map_of(image, coordinates)
    if coordinates == "map" and drawn and drawn.member is None and table and table.suffix.lower() == ".geojson":
        raise ImageError(f"{image.name}: lies in {drawn.name}, which GeoJSON cannot name; take pixels or a .csv table")
    return Frame(place.level, place.step_y, place.step_x, sizes.y_um, sizes.x_um, height, width, drawn)


def said_of(image: ImageInfo, frame: Frame, table: Path) -> str:
    """Say in what the places of objects are; empty for an image that lies on no map."""
    if not image.on_map:
        return ""
    if not frame.map:
        return "places are in pixels, not on the map that the image lies on"
    area = "" if frame.map.pixel_m2 else f"; no areas in square metres: {image.on_map.why_no_area}"
    if table.suffix.lower() != ".geojson":
        return f"places are in pixels, and in {frame.map.name} as {' and '.join(frame.map.columns)}{area}"
    if not frame.drawn_on:
        return f"outlines are in pixels: the image lies in {frame.map.name}, which GeoJSON cannot name{area}"
    return f"outlines are in {frame.map.name}, not in pixels as QuPath has them{area}"


def _map_of(image: ImageInfo, coordinates: Coordinates) -> Map | None:
    """The map that objects are placed on; None for none."""
    on = image.on_map
    if coordinates == "pixels" or (coordinates == "auto" and on is None):
        return None
    if on is None:
        raise ImageError(f"{image.name}: does not say where on a map it lies; give GeoTIFF, or take pixels")
    if coordinates == "wgs84":
        return _wgs84(on, image)
    member = "" if on.epsg == WGS84 else f"urn:ogc:def:crs:EPSG::{on.epsg}" if on.epsg else None
    return Map(on.name, ("x_map", "y_map"), partial(_rounded, on), member, on.pixel_m2)


def _wgs84(on: OnMap, image: ImageInfo) -> Map:
    """Longitude and latitude of an image that lies on a map."""
    if on.epsg is None:
        raise ImageError(f"{image.name}: lies in {on.name}, which cannot be brought to WGS 84; take pixels or a map")
    columns = ("longitude", "latitude")
    if on.epsg == WGS84:
        return Map(on.name, columns, partial(_rounded, on), "", on.pixel_m2)
    from unet_deploy.images.wgs84 import going_on, to_wgs84

    height, width = image.levels[0] if image.levels else image.region.sides
    project = going_on(to_wgs84(on.epsg, image.name), on.at(np.array([width / 2]), np.array([height / 2])))
    return Map(f"EPSG:{WGS84}", columns, lambda x, y: project(*on.at(x, y)), "", on.pixel_m2)


def _rounded(on: OnMap, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates to a thousandth of a pixel, without the digits of floating point that say nothing."""
    east, north = (np.round(each, on.decimals) for each in on.at(x, y))
    return east, north
