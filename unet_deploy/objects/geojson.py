"""Objects as GeoJSON that QuPath imports: detections with class, colour and measurements.

QuPath counts in pixels from the corner of the first one, so its centre is at 0.5, 0.5.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

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
    several pages lie on the planes z = 0, 1, ...
    """

    def features() -> Iterator[dict[str, Any]]:
        for page, (table, tiles) in enumerate(pages):
            traced = outlines(tiles)
            while some := list(islice(traced, _AT_A_TIME)):
                which = np.array([outline.id for outline in some]) - 1
                geometries = (_geometry(outline.polygons) for outline in some)
                yield from _features(table, which, geometries, page if len(pages) > 1 else None)

    with replacing(path, overwrite=overwrite) as beside:
        _write(beside, features())


def write_points(path: Path, tables: tuple[ObjectTable, ...]) -> None:
    """Write the centroid of each object as a point; pages lie on planes as in `write_outlines`."""

    def features() -> Iterator[dict[str, Any]]:
        for page, table in enumerate(tables):
            for start in range(0, len(table), _AT_A_TIME):
                which = np.arange(start, min(start + _AT_A_TIME, len(table)))
                rows = table.rows[which]
                centres = zip((rows["centroid_x"] + 0.5).tolist(), (rows["centroid_y"] + 0.5).tolist(), strict=True)
                geometries = ({"type": "Point", "coordinates": centre} for centre in centres)
                yield from _features(table, which, geometries, page if len(tables) > 1 else None)

    _write(path, features())


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
        plane = {} if page is None else {"plane": {"c": -1, "z": page, "t": 0}}
        yield {"type": "Feature", "geometry": geometry | plane, "properties": properties}


def _geometry(polygons: Polygons) -> dict[str, Any]:
    coordinates = [[_closed(ring) for ring in rings] for rings in polygons]
    if len(coordinates) == 1:
        return {"type": "Polygon", "coordinates": coordinates[0]}
    return {"type": "MultiPolygon", "coordinates": coordinates}


def _closed(ring: Ring) -> list[list[int]]:
    return [*ring.tolist(), ring[0].tolist()]


def _write(path: Path, features: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for number, feature in enumerate(features):
            file.write(",\n" if number else "\n")
            file.write(json.dumps(feature, separators=(",", ":")))
        file.write("\n]}\n")
