"""Images of which regions are annotated: each region is learned from and scored by itself, and no image read whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from unet_deploy.annotations.classes import are_one
from unet_deploy.annotations.drawn import is_drawing, read_drawing
from unet_deploy.annotations.marking import Marking
from unet_deploy.annotations.shapes import Drawing
from unet_deploy.evaluation.beside import drawing_of
from unet_deploy.evaluation.pair import Pair
from unet_deploy.evaluation.window import Window, joined
from unet_deploy.images import is_url, open_image
from unet_deploy.images.orientation import upright_sides
from unet_deploy.tiling import Region, Sides


def by_region(pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs, but a pair of its own for each region of an image of which regions are annotated, in a stable order.

    A region is the box around a shape of the annotated class, or around several whose boxes overlap. An only one is
    called as its image is, others by their corners too: slide[y100x200]. What is drawn is read once, and goes along.
    Raises DataError as `read_drawing`, and ImageError.
    """
    return [each for pair in pairs for each in _regions_of(pair)]


def _regions_of(pair: Pair) -> list[Pair]:
    if not is_drawing(pair.mask):
        return [pair]
    drawing = read_drawing(pair.mask, pair.image)
    pair, boxes = replace(pair, drawing=drawing), list(_boxes(drawing, pair.marking.annotated_class))
    if not boxes:
        return [pair]
    with pair.open() as source:
        sides = upright_sides(source.info)
    windows = [Window(region, sides) for region in joined(_inside(boxes, sides))]
    if len(windows) < 2:
        return [replace(pair, window=window) for window in windows] or [pair]  # what is wrong is said in painting it
    return [replace(pair, name=f"{pair.name}[y{each.region.y}x{each.region.x}]", window=each) for each in windows]


def _boxes(drawing: Drawing, annotated_class: str) -> Iterator[Region]:
    """The pixels that the pieces of all shapes of the annotated class lie between."""
    for shape in drawing.shapes:
        if are_one(shape.of, annotated_class):
            for polygon in shape.polygons:
                points = np.concatenate(polygon)
                ends = np.stack([points.min(axis=0), points.max(axis=0)])
                (left, top), (right, bottom) = np.ceil(ends - 0.5).astype(int).tolist()  # by centres, as in `fill`
                yield Region(top, left, bottom - top, right - left)


def annotated_already(images: Sequence[Path], drawings: Path | None, marking: Marking) -> dict[Path, list[Region]]:
    """The boxes of images in which all is annotated, by what is drawn on them, in pixels of the image as it is shown.

    drawings: a file, or a folder of one for each image, by their names; None for what lies beside each image.
    Of stacks there are none: a drawing is of one page. Raises DataError for two drawings of an image and as
    `read_drawing`, and ImageError.
    """
    found = {}
    for image in images:
        drawing = None if is_url(image) else _drawing(image, drawings)
        if drawing and _has_one_page(image):
            found[image] = list(_boxes(read_drawing(drawing, image), marking.annotated_class))
    return found


def _drawing(image: Path, drawings: Path | None) -> Path | None:
    if drawings is None or drawings.is_dir():
        return drawing_of(image, drawings)
    return drawings


def _has_one_page(image: Path) -> bool:
    with open_image(image) as source:
        return source.info.pages == 1


def _inside(boxes: Sequence[Region], sides: Sides) -> Iterator[Region]:
    """What of boxes lies in an image, of those that hold a pixel of it."""
    whole = Region(0, 0, *sides)
    for box in boxes:
        if all(box.intersection(whole).sides):
            yield box.intersection(whole)
