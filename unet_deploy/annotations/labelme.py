"""LabelMe: a JSON file beside each image, with its size. Shapes of one label and group are one object."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from unet_deploy.annotations.json_file import drawing_of, parsing, read_json
from unet_deploy.annotations.shapes import Drawing, Polygon, Shape, ellipse, no_area, rectangle, ring_of
from unet_deploy.annotations.traced import traced
from unet_deploy.errors import DataError


def is_labelme(content: Any) -> bool:
    """Whether JSON is that of LabelMe."""
    return isinstance(content, Mapping) and isinstance(content.get("shapes"), list)


def read_labelme(path: Path) -> Drawing:
    """Read what is drawn. Raises DataError for a damaged file, and for points and lines."""
    content = read_json(path)
    with parsing(path, "LabelMe"):
        size = (int(content["imageHeight"]), int(content["imageWidth"])) if content.get("imageHeight") else None
        return drawing_of(path, _grouped(path, content["shapes"]), size)


def _grouped(path: Path, said: Sequence[Mapping[str, Any]]) -> tuple[Shape, ...]:
    """The shapes of a file, those of one label and group together."""
    groups: dict[object, list[tuple[int, Mapping[str, Any]]]] = {}
    for number, each in enumerate(said, 1):
        group = each.get("group_id")
        groups.setdefault(number if group is None else (str(group), each["label"]), []).append((number, each))
    shapes = []
    for parts in groups.values():
        number, first = parts[0]
        polygons = [polygon for at, each in parts for polygon in _polygons(each, f"{path}: shape {at}")]
        shapes.append(Shape(f"shape {number}", _class(first["label"]), tuple(polygons)))
    return tuple(shapes)


def _class(label: object) -> str | None:
    return None if label is None else str(label) or None


def _polygons(said: Mapping[str, Any], where: str) -> tuple[Polygon, ...]:
    kind = said.get("shape_type") or "polygon"
    points = ring_of(said["points"], where)
    if kind == "polygon" or (kind in ("rectangle", "rotation") and len(points) == 4):  # turned ones too
        return ((points,),)
    if kind in ("rectangle", "circle", "mask") and len(points) != 2:
        raise DataError(f"{where}: is a {kind} of {len(points)} points in place of 2; draw it again")
    if kind == "rectangle":
        return ((rectangle(*points[0].tolist(), *points[1].tolist()),),)
    if kind == "circle":
        radius = np.hypot(*(points[1] - points[0]))
        return ((ellipse(*(points[0] - radius).tolist(), *(points[0] + radius).tolist()),),)
    if kind == "mask":
        return _mask(said["mask"], points, where)
    raise no_area(kind, where)


def _mask(encoded: str, points: np.ndarray, where: str) -> tuple[Polygon, ...]:
    """The outline of a PNG whose first and last pixels are those of the two points. Raises DataError for another."""
    (left, top), (right, bottom) = points.astype(np.int64).tolist()
    try:
        with PIL.Image.open(io.BytesIO(base64.b64decode(encoded)), formats=["PNG"]) as picture:
            fits = picture.size == (right - left + 1, bottom - top + 1)
            polygons = traced(np.array(picture.convert("L")) > 0, top, left) if fits else ()
    except (OSError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise DataError(f"{where}: its mask is no PNG; save it again") from error
    if not polygons:
        raise DataError(f"{where}: its mask is empty, or not of the size that its points say; draw it again")
    return polygons
