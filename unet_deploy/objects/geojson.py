"""Objects as GeoJSON that QuPath imports, or programs for maps: detections with class, colour and measurements.

QuPath counts in pixels from the corner of the first one, so its centre is at 0.5, 0.5; and in those of the finest
level, whatever level of a pyramid was segmented. On a map outer rings turn left and holes right (RFC 7946, 3.1.6), and
a system other than WGS 84 is named as GDAL and QGIS read it, by the member `crs` of GeoJSON 2008 (3.3).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from unet_deploy.objects.frame import FINEST, Frame, Map
from unet_deploy.objects.outlines import Polygons, Ring, outlines
from unet_deploy.objects.table import ObjectTable
from unet_deploy.system.colours import YELLOW, class_colour
from unet_deploy.system.files import replacing
from unet_deploy.tiling import Region

_PLACES = ("id", "class", "class_name", "centroid", "bbox", "x_map", "y_map", "longitude", "latitude")
"""Columns, by how they begin, that are no measurements: they are in the geometry."""

Geometry = dict[str, Any] | None
Line = list[list[float]]
"""Points x, y, the last of which is the first again."""

_AT_A_TIME = 1 << 14
"""Objects that are written together."""


@dataclass(frozen=True)
class Rectangle:
    """A part of an image that a person is to look at."""

    region: Region
    """In pixels of the level."""
    name: str
    measured: Mapping[str, float] = field(default_factory=dict)
    plane: Mapping[str, int] = field(default_factory=dict)
    """Which step of z and t it lies on; empty for an image of one page."""


def write_rectangles(
    path: Path, rectangles: Sequence[Rectangle], class_name: str, frame: Frame, *, overwrite: bool = False
) -> None:
    """Write annotations of one class, in pixels of the finest level; the file appears when it is whole."""

    def features() -> Iterator[dict[str, Any]]:
        for each in rectangles:
            top, left, bottom, right = *each.region.origin, each.region.bottom, each.region.right
            ring = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
            properties = {
                "objectType": "annotation",
                "name": each.name,
                "classification": {"name": class_name, "color": YELLOW},
                "measurements": dict(each.measured),
            }
            geometry = {"type": "Polygon", "coordinates": [_closed(ring, frame)], **_on_plane(each.plane)}
            yield {"type": "Feature", "geometry": geometry, "properties": properties}

    with replacing(path, overwrite=overwrite) as beside:
        _write(beside, features(), frame)


def write_outlines(
    path: Path, *pages: tuple[ObjectTable, Iterable[tuple[Region, np.ndarray]]], overwrite: bool = False
) -> None:
    """Write each object as the polygon along its pixel edges; the file appears when it is whole.

    pages: the table of each and its tiles, row by row, with what `Objects.instances` returns for them. Polygons of
    several pages lie on the planes z = 0, 1, ..., or on those of t and z where the table knows them.
    """

    def features() -> Iterator[dict[str, Any]]:
        for page, (table, tiles) in enumerate(pages):
            traced = outlines(tiles)
            while some := list(islice(traced, _AT_A_TIME)):
                which = np.array([outline.id for outline in some]) - (table.before + 1)
                geometries = (_geometry(outline.polygons, table.frame) for outline in some)
                yield from _features(table, which, geometries, page if len(pages) > 1 else None)

    with replacing(path, overwrite=overwrite) as beside:
        _write(beside, features(), pages[0][0].frame if pages else FINEST)


def write_points(path: Path, tables: tuple[ObjectTable, ...]) -> None:
    """Write the centroid of each object as a point; pages lie on planes as in `write_outlines`."""

    def features() -> Iterator[dict[str, Any]]:
        for page, table in enumerate(tables):
            for start in range(0, len(table), _AT_A_TIME):
                which = np.arange(start, min(start + _AT_A_TIME, len(table)))
                rows, frame = table.rows[which], table.frame
                x, y = (frame.centre(axis, rows[f"centroid_{axis}"]) + 0.5 for axis in "xy")
                x, y = frame.drawn_on.at(x, y) if frame.drawn_on else (x, y)
                geometries = map(_point, x.tolist(), y.tolist())
                yield from _features(table, which, geometries, page if len(tables) > 1 else None)

    _write(path, features(), tables[0].frame if tables else FINEST)


def _features(
    table: ObjectTable, which: np.ndarray, geometries: Iterable[Geometry], page: int | None
) -> Iterator[dict[str, Any]]:
    """Yield the features of the objects with these indices. page: None for the only one."""
    columns = table.columns(which)
    measured = [name for name in columns if not name.startswith(_PLACES)]
    values = zip(*(columns[name].tolist() for name in measured), strict=True)
    kinds = [{"name": name, "color": class_colour(label)} for label, name in enumerate(table.classes)]
    objects = zip(columns["id"].tolist(), columns["class"].tolist(), values, geometries, strict=True)
    for id_, label, row, geometry in objects:
        properties = {
            "objectType": "detection",
            "name": str(id_),
            "classification": kinds[label],
            "measurements": {name: value for name, value in zip(measured, row, strict=True) if isfinite(value)},
        }
        plane = _on_plane({} if page is None else dict(table.steps or [("z", page)]))
        yield {"type": "Feature", "geometry": geometry and geometry | plane, "properties": properties}


def _on_plane(steps: Mapping[str, int]) -> dict[str, Any]:
    """What QuPath reads in a geometry of a stack, all channels alike; nothing where there is but one page."""
    return {"plane": {"c": -1, "z": 0, "t": 0, **steps}} if steps else {}


def _point(x: float, y: float) -> Geometry:
    return {"type": "Point", "coordinates": (x, y)} if isfinite(x) and isfinite(y) else None


def _geometry(polygons: Polygons, frame: Frame) -> Geometry:
    """Return polygons at full resolution, or on the map; None where a part is beyond it."""
    on = frame.drawn_on
    coordinates = [[_closed(ring, frame) for ring in rings] for rings in polygons]
    if on:
        coordinates = [_turned_left([_mapped(ring, on) for ring in rings]) for rings in coordinates]
        if not all(map(isfinite, chain.from_iterable(chain.from_iterable(chain.from_iterable(coordinates))))):
            return None
    if len(coordinates) == 1:
        return {"type": "Polygon", "coordinates": coordinates[0]}
    return {"type": "MultiPolygon", "coordinates": coordinates}


def _closed(ring: Ring, frame: Frame) -> list[list[float]]:
    points = np.stack([frame.edge(axis, ring[:, at]) for at, axis in enumerate("xy")], axis=1).tolist()
    return [*points, points[0]]


def _mapped(ring: Line, on: Map) -> Line:
    x, y = np.array(ring, np.float64).T
    return np.stack(on.at(x, y), axis=1).tolist()


def _turned_left(rings: list[Line]) -> list[Line]:
    """Return an outer ring and its holes so that the outer one turns left where y is up: a map may turn pixels over."""
    x, y = np.array(rings[0]).T - np.array(rings[0][:1]).T
    return rings if x[:-1] @ y[1:] >= x[1:] @ y[:-1] else [ring[::-1] for ring in rings]


def _write(path: Path, features: Iterator[dict[str, Any]], frame: Frame) -> None:
    """Write a collection, in what system it is, and of what level of the image where that is not the finest.

    Readers pass over members that they do not know (RFC 7946, 6.1).
    """
    said = f', "level": {frame.level}' if frame.level else ""
    if frame.drawn_on and frame.drawn_on.member:
        crs = {"type": "name", "properties": {"name": frame.drawn_on.member}}
        said += f', "crs": {json.dumps(crs)}'
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"type": "FeatureCollection"{said}, "features": [')
        for number, feature in enumerate(features):
            file.write(",\n" if number else "\n")
            file.write(json.dumps(feature, separators=(",", ":")))
        file.write("\n]}\n")
