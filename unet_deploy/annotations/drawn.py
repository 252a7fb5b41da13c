"""Files of shapes that people drew: what kind a file is of, and what reads it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Literal

from unet_deploy.annotations.coco import is_coco, lacks, read_coco
from unet_deploy.annotations.geojson import is_geojson, read_geojson
from unet_deploy.annotations.imagej import holds_regions, read_regions
from unet_deploy.annotations.json_file import read_json
from unet_deploy.annotations.labelme import is_labelme, read_labelme
from unet_deploy.annotations.shapes import Drawing
from unet_deploy.errors import DataError

Kind = Literal["geojson", "imagej", "labelme", "coco"]

SUFFIXES = (".geojson", ".roi", ".zip", ".json")


def is_drawing(path: Path) -> bool:
    """Whether a file is one of shapes, by its name."""
    return path.suffix.lower() in SUFFIXES


def kind_of(path: Path) -> Kind | None:
    """What kind of shapes a file holds; None for a .zip or .json of something else. Raises DataError for no JSON."""
    suffix = path.suffix.lower()
    if suffix == ".geojson":
        return "geojson"
    if suffix == ".roi":
        return "imagej"
    if suffix == ".zip":
        return "imagej" if holds_regions(path) else None
    return _kind_of_json(read_json(path)) if suffix == ".json" else None


def read_drawing(path: Path, image: Path) -> Drawing:
    """Read what is drawn on an image. Raises DataError, and MissingPackageError for regions of ImageJ."""
    kind = kind_of(path)
    if kind == "geojson":
        return read_geojson(path)
    if kind == "imagej":
        return read_regions(path)
    if kind == "labelme":
        return read_labelme(path)
    if kind == "coco":
        return read_coco(path, image)
    raise no_drawing(path)


def no_drawing(path: Path) -> DataError:
    """The error for a .zip or .json of no kind. Raises DataError for no JSON."""
    if path.suffix.lower() == ".zip":
        if not zipfile.is_zipfile(path):
            return DataError(f"{path}: is a damaged .zip, or none; save it again")
        return DataError(
            f"{path}: holds no regions of ImageJ (.roi); save them again, unpack GeoJSON of QuPath, or take it away"
        )
    if lacking := lacks(read_json(path)):
        return DataError(f"{path}: has no list of {lacking}, which COCO has; export it again, or take it away")
    return DataError(f"{path}: holds no annotations of QuPath, LabelMe or COCO; export them again, or take it away")


def _kind_of_json(content: Any) -> Kind | None:
    if is_coco(content):
        return "coco"
    if is_labelme(content):
        return "labelme"
    return "geojson" if is_geojson(content) else None
