"""COCO: one JSON file for many images, with polygons or runs of pixels for each object (cocodataset.org/#format-data).

Runs are counted down the columns, from one of pixels outside on; as numbers, or as text that pycocotools makes:

    0 1        runs 2, 2: two pixels down the first column are outside, two down the second inside
    0 1
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from unet_deploy.annotations.json_file import parsing, read_json
from unet_deploy.annotations.shapes import IGNORED, Drawing, Polygon, Shape, ring_of
from unet_deploy.annotations.traced import traced
from unet_deploy.errors import DataError

_LISTS = ("images", "annotations")
"""Without which a file is none."""

_MOST_PIXELS = 1 << 30
"""Of an image whose objects are told in runs of pixels."""


@dataclass(frozen=True)
class _Coco:
    """What a file says."""

    images: tuple[Mapping[str, Any], ...]
    categories: Mapping[Any, str]
    annotations: Mapping[Any, Sequence[Mapping[str, Any]]]
    """By the id of their image."""

    def entry(self, image: Path) -> Mapping[str, Any] | None:
        """What it says of an image file; None where it does not list it. Raises DataError for two that may be it."""
        found = [each for each in self.images if _key(each["file_name"]) == _key(image.name)]
        if len(found) > 1:
            found = [each for each in found if image.as_posix().endswith("/" + each["file_name"].lstrip("./"))]
            if len(found) != 1:
                raise DataError(f"{image}: several images of this name are listed; give their folders in file_name")
        return found[0] if found else None


def is_coco(content: Any) -> bool:
    """Whether JSON is that of COCO."""
    return isinstance(content, Mapping) and all(isinstance(content.get(key), list) for key in _LISTS)


def lacks(content: Any) -> str | None:
    """Which list JSON lacks that has the other one of COCO's."""
    if not isinstance(content, Mapping) or not any(isinstance(content.get(key), list) for key in _LISTS):
        return None
    return next((key for key in _LISTS if not isinstance(content.get(key), list)), None)


def lists(path: Path, image: Path) -> bool:
    """Whether a COCO file has an entry for an image, by the name of its file without suffix. Raises DataError."""
    return _opened(path).entry(image) is not None


def files_listed(path: Path) -> list[str]:
    """The names of all image files in a COCO file. Raises DataError."""
    return [str(each["file_name"]) for each in _opened(path).images]


def read_coco(path: Path, image: Path) -> Drawing:
    """Read what is drawn on an image, which may be nothing. Crowds are not known.

    Raises DataError for a damaged file, one that does not list the image, and for an object that has but a box.
    """
    coco = _opened(path)
    with parsing(path, "COCO"):
        entry = coco.entry(image)
        if entry is None:
            raise DataError(f"{path}: does not list {image.name}; add it, or take the image away")
        said = coco.annotations.get(entry["id"], ())
        size = _size(entry, said, path)
        return Drawing(f"{path} ({image.name})", tuple(_shape(each, coco, f"{path}") for each in said), size)


def _opened(path: Path) -> _Coco:
    """What a file says, kept until it changes."""
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read") from error
    return _parsed(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _parsed(path: Path, _changed: int, _size: int) -> _Coco:
    content = read_json(path)
    with parsing(path, "COCO"):
        annotations: dict[Any, list[Mapping[str, Any]]] = {}
        for each in content["annotations"]:
            annotations.setdefault(each["image_id"], []).append(each)
        images = tuple({**each, "file_name": str(each["file_name"]).replace("\\", "/")} for each in content["images"])
        categories = {each["id"]: str(each["name"]) for each in content.get("categories", ())}
        if strays := annotations.keys() - {each["id"] for each in images}:
            stray = next(each for each in content["annotations"] if each["image_id"] in strays)
            raise DataError(
                f"{path}: {_name(stray)} is of image {stray['image_id']!r}, but no image of this id is listed; "
                "list its image, or take it out"
            )
        return _Coco(images, categories, annotations)


def _key(file: str) -> str:
    """What names of an image file have in common: not its folder, its suffix, case or Unicode form."""
    return unicodedata.normalize("NFC", PurePosixPath(file).stem).casefold().removesuffix(".ome")


def _name(said: Mapping[str, Any]) -> str:
    return f"annotation {said.get('id', '?')}"


def _size(entry: Mapping[str, Any], drawn: Sequence[Mapping[str, Any]], path: Path) -> tuple[int, int] | None:
    """Height and width of an image, where its entry or its runs of pixels say them. Raises DataError for two sizes."""
    size = (int(entry["height"]), int(entry["width"])) if entry.get("height") and entry.get("width") else None
    for each in drawn:
        runs = each.get("segmentation")
        if isinstance(runs, Mapping):
            height, width = map(int, runs["size"])
            if (size := size or (height, width)) != (height, width):
                raise DataError(
                    f"{path}: {_name(each)} has runs of {height} x {width} pixels, but its image is "
                    f"{size[0]} x {size[1]}; export it again"
                )
    return size


def _shape(said: Mapping[str, Any], coco: _Coco, file: str) -> Shape:
    name = _name(said)
    of = coco.categories.get(said.get("category_id"))
    if coco.categories and of is None and not said.get("iscrowd"):
        raise DataError(
            f"{file}: {name} is of category {said.get('category_id')!r}, but none of this id is listed; "
            "list it, or take the annotation out"
        )
    drawn = said.get("segmentation")
    if not drawn:
        raise DataError(f"{file}: {name} has a box but no outline; draw one, or delete it")
    if isinstance(drawn, Mapping):
        polygons = _of_runs(drawn, f"{file}: {name}")
    else:
        drawn = drawn if isinstance(drawn[0], Sequence) else [drawn]  # an only line, as some write it
        if any(len(line) % 2 for line in drawn):
            raise DataError(f"{file}: {name} has a line with an x and no y; export it again")
        pairs = (list(zip(line[::2], line[1::2], strict=True)) for line in drawn)
        polygons = tuple((ring_of(points, f"{file}: {name}"),) for points in pairs)
    return Shape(name, IGNORED if said.get("iscrowd") else of, polygons)


def _of_runs(said: Mapping[str, Any], where: str) -> tuple[Polygon, ...]:
    """The outline of runs of pixels. Raises DataError where they do not fill their size, or hold nothing."""
    height, width = map(int, said["size"])
    counts = said["counts"]
    runs = np.array(runs_of(counts) if isinstance(counts, str) else counts, np.int64)
    if height * width > _MOST_PIXELS or (runs < 0).any() or runs.sum() != height * width:
        raise DataError(f"{where}: its runs are not those of {height} x {width} pixels; export it again")
    mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T
    polygons = traced(mask)
    if not polygons:
        raise DataError(f"{where}: holds no pixel; delete it")
    return polygons


def runs_of(text: str) -> list[int]:
    """The runs that a text stands for, five bits in each sign, low ones first; from the fourth on, what one is longer
    than the last but one (pycocotools, rleFrString).

    >>> runs_of("52203")
    [5, 2, 2, 2, 5]
    """
    runs: list[int] = []
    value = bits = 0
    for sign in text:
        piece = ord(sign) - 48
        value |= (piece & 31) << bits
        bits += 5
        if piece & 32:
            continue
        if piece & 16:
            value -= 1 << bits
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = bits = 0
    return runs
