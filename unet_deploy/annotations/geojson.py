"""GeoJSON as QuPath exports it, and as our own outlines are: each feature a shape, its class its classification.

QuPath counts in pixels of the finest level from the corner of the first one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unet_deploy.annotations.classes import is_ignored
from unet_deploy.annotations.json_file import drawing_of, parsing, read_json
from unet_deploy.annotations.shapes import Drawing, Polygon, Ring, Shape, no_area, ring_of
from unet_deploy.errors import DataError

_LINES = {"Point": "point", "MultiPoint": "set of points", "LineString": "line", "MultiLineString": "set of lines"}
_DETECTIONS = ("detection", "cell", "tile", "PathDetectionObject", "PathCellObject", "PathTileObject")
"""What QuPath calls what it finds by itself; in files of version 0.2 and before, what it is called within."""


def is_geojson(content: Any) -> bool:
    """Whether JSON is that of features: a collection, a list of them, or one."""
    some = content[0] if isinstance(content, list) and content else content
    return isinstance(some, Mapping) and some.get("type") in ("FeatureCollection", "Feature")


def read_geojson(path: Path) -> Drawing:
    """Read what is drawn. Raises DataError for a file, or a shape in it, that has no one meaning."""
    content = read_json(path)
    with parsing(path, "GeoJSON of QuPath"):
        return drawing_of(path, tuple(_shapes(path, _features(path, content))))


def _features(path: Path, content: Any) -> Sequence[Mapping[str, Any]]:
    """The features of a file. Raises DataError where they lie on a map."""
    if isinstance(content, list):
        return content
    if content.get("crs"):
        raise DataError(f"{path}: its places are on a map (crs), not in pixels; write the outlines in pixels")
    features: Sequence[Mapping[str, Any]] = content.get("features", [content])
    return features


def _shapes(path: Path, features: Sequence[Mapping[str, Any]]) -> list[Shape]:
    shapes = [_shape(path, number, feature) for number, feature in enumerate(features, 1)]
    kinds = [_kind(feature) for feature in features]
    around = [shape for shape, kind in zip(shapes, kinds, strict=True) if kind not in _DETECTIONS and shape.of is None]
    if around and any(kind in _DETECTIONS for kind in kinds):
        raise _no_one_meaning(path, around[0], "beside detections")
    classified = [shape for shape in shapes if isinstance(shape.of, str) and not is_ignored(shape.of)]
    for shape in _holding(around, classified):
        raise _no_one_meaning(path, shape, "around shapes that have one")
    return shapes


def _holding(around: Sequence[Shape], others: Sequence[Shape]) -> Iterator[Shape]:
    """Those of some shapes whose box holds that of any other."""
    if not others:
        return
    least, most = np.stack([shape.box for shape in others], axis=1)
    for shape in around:
        low, high = shape.box
        if ((least >= low).all(axis=1) & (most <= high).all(axis=1)).any():
            yield shape


def _no_one_meaning(path: Path, shape: Shape, where: str) -> DataError:
    return DataError(
        f"{path}: {shape.words} is an annotation of no class {where}; give it the class Annotated if "
        "all in it is annotated, the class of what it is, or delete it"
    )


def _kind(feature: Mapping[str, Any]) -> str:
    """What QuPath calls a feature: annotation, detection, cell; empty where it says nothing."""
    properties = feature.get("properties") or {}
    return str(properties.get("objectType") or properties.get("object_type") or feature.get("id") or "")


def _shape(path: Path, number: int, feature: Mapping[str, Any]) -> Shape:
    properties, geometry = feature.get("properties") or {}, feature.get("geometry") or {"type": None}
    said = properties.get("name")
    name = f"shape {number} ({said!r})" if said else f"shape {number}"
    kind, where = geometry["type"], f"{path}: {name}"
    if kind in _LINES:
        raise no_area(_LINES[kind], where)
    if kind not in ("Polygon", "MultiPolygon"):
        raise DataError(f"{where}: is {kind or 'of no shape'}; draw it as a polygon")
    plane = geometry.get("plane") or {}
    if step := next((f"{axis} {plane[axis]}" for axis in "tz" if plane.get(axis, 0) > 0), None):
        raise DataError(f"{where}: lies on plane {step} of a stack; save each plane as an image with its annotations")
    rings = [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]
    return Shape(name, _class(properties.get("classification")), tuple(_polygon(each, where) for each in rings))


def _polygon(rings: Sequence[Sequence[Sequence[float]]], where: str) -> Polygon:
    if not rings:
        raise DataError(f"{where}: is a polygon without points; delete it")
    return tuple(_closed(ring, where) for ring in rings)


def _closed(points: Sequence[Sequence[float]], where: str) -> Ring:
    """A ring whose last point is its first (RFC 7946, 3.1.6)."""
    ring = ring_of(points, where)
    if not np.array_equal(ring[0], ring[-1]):
        raise DataError(f"{where}: is open: its line does not end where it begins; close it, or draw it again")
    return ring[:-1] if len(ring) > 1 else ring


def _class(said: Any) -> str | None:
    """The class that a classification names: an object with one name or several, or as of old the name alone."""
    if isinstance(said, Mapping):
        names = said.get("names") or [said.get("name")]
        return ": ".join(map(str, names)) if all(names) else None
    return str(said) if said else None
