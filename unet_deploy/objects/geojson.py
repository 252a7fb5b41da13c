"""Objects as GeoJSON that QuPath imports: detections with class, colour and measurements.

QuPath counts in pixels from the corner of the first one, so its centre is at 0.5, 0.5; and in those of the finest
level, whatever level of a pyramid was segmented.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from unet_deploy.objects.frame import Frame
from unet_deploy.objects.outlines import Polygons, Ring, outlines
from unet_deploy.objects.table import ObjectTable
from unet_deploy.system.colours import class_colour
from unet_deploy.system.files import replacing
from unet_deploy.tiling import Region

_PLACES = ("id", "class", "class_name", "centroid", "bbox")
"""Columns, by how they begin, that are no measurements: QuPath has them from the geometry."""

_AT_A_TIME = 1 << 14
"""Objects that are written together."""


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
        _write(beside, features(), pages[0][0].frame.level if pages else 0)


def write_points(path: Path, tables: tuple[ObjectTable, ...]) -> None:
    """Write the centroid of each object as a point; pages lie on planes as in `write_outlines`."""

    def features() -> Iterator[dict[str, Any]]:
        for page, table in enumerate(tables):
            for start in range(0, len(table), _AT_A_TIME):
                which = np.arange(start, min(start + _AT_A_TIME, len(table)))
                rows = table.rows[which]
                x, y = ((table.frame.centre(axis, rows[f"centroid_{axis}"]) + 0.5).tolist() for axis in "xy")
                centres = zip(x, y, strict=True)
                geometries = ({"type": "Point", "coordinates": centre} for centre in centres)
                yield from _features(table, which, geometries, page if len(tables) > 1 else None)

    _write(path, features(), tables[0].frame.level if tables else 0)


def _features(
    table: ObjectTable, which: np.ndarray, geometries: Iterable[dict[str, Any]], page: int | None
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
        plane = {} if page is None else {"plane": {"c": -1, "z": 0, "t": 0} | dict(table.steps or [("z", page)])}
        yield {"type": "Feature", "geometry": geometry | plane, "properties": properties}


def _geometry(polygons: Polygons, frame: Frame) -> dict[str, Any]:
    coordinates = [[_closed(ring, frame) for ring in rings] for rings in polygons]
    if len(coordinates) == 1:
        return {"type": "Polygon", "coordinates": coordinates[0]}
    return {"type": "MultiPolygon", "coordinates": coordinates}


def _closed(ring: Ring, frame: Frame) -> list[list[float]]:
    points = np.stack([frame.edge(axis, ring[:, at]) for at, axis in enumerate("xy")], axis=1).tolist()
    return [*points, points[0]]


def _write(path: Path, features: Iterator[dict[str, Any]], level: int) -> None:
    """Write a collection, and of what level of the image the objects are where that is not the finest.

    Readers pass over members that they do not know (RFC 7946, 6.1).
    """
    said = f', "level": {level}' if level else ""
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"type": "FeatureCollection"{said}, "features": [')
        for number, feature in enumerate(features):
            file.write(",\n" if number else "\n")
            file.write(json.dumps(feature, separators=(",", ":")))
        file.write("\n]}\n")
