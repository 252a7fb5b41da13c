"""Images of which regions are annotated: each region is learned from and scored by itself, and no image read whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unet_deploy.annotations.classes import are_one
from unet_deploy.annotations.drawn import is_drawing
from unet_deploy.annotations.marking import Marking
from unet_deploy.annotations.paint import check_drawn
from unet_deploy.annotations.shapes import Drawing
from unet_deploy.evaluation.beside import drawing_of
from unet_deploy.evaluation.drawn import drawing_on
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
    with pair.open() as source:
        drawing, sides = drawing_on(pair.image, source.info, pair.mask), upright_sides(source.info)
    pair, boxes = replace(pair, drawing=drawing), list(_boxes(drawing, pair.marking.annotated_class))
    if not boxes:
        return [pair]
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


@dataclass(frozen=True)
class Already:
    """What of images is annotated."""

    regions: dict[Path, list[Region]]
    """Boxes in which all is, in pixels of the image as it is shown."""
    drawings: tuple[Path, ...]
    """The files that say more than which regions are annotated: somebody has drawn in them."""
    notes: tuple[str, ...]
    """What a person should know of how drawings were read, in lines."""


def annotated_already(images: Sequence[Path], drawings: Path | None, marking: Marking) -> Already:
    """What of images is annotated, by what is drawn on them: as in training all, where no shape says what is.

    drawings: a file, or a folder of one for each image, by their names; None for what lies beside each image.
    Of stacks nothing is: a drawing is of one page. Raises DataError for two drawings of an image, as `read_drawing` and
    for what lies outside its image, and ImageError.
    """
    paired = [(image, _drawing(image, drawings)) for image in images if not is_url(image)]
    drawn = {image: drawing for image, drawing in paired if drawing}
    regions, unmarked, by_hand = {}, list[Path](), list[Path]()
    for image, drawing in drawn.items():
        with open_image(image) as source:
            info = source.info
        if info.pages > 1:
            continue
        on_it, sides = drawing_on(image, info, drawing), upright_sides(info)
        check_drawn(on_it, sides)
        boxes = list(_boxes(on_it, marking.annotated_class))
        regions[image] = list(_inside(boxes, sides)) if boxes else [Region(0, 0, *sides)]
        unmarked += [] if boxes else [image]
        by_hand += [drawing] if any(not are_one(each.of, marking.annotated_class) for each in on_it.shapes) else []
    return Already(regions, tuple(by_hand), tuple(_notes(drawings, drawn, unmarked, marking)))


def _notes(
    drawings: Path | None, drawn: Mapping[Path, Path], unmarked: Sequence[Path], marking: Marking
) -> Iterator[str]:
    """Say where nothing that is drawn is of any image, and on which no shape says what is annotated."""
    if drawings is not None and not drawn:
        yield f"note: --avoid {drawings}: holds no drawing named as an image is, so nothing is left out by it"
    if unmarked:
        first, more = unmarked[0], f" (and of {len(unmarked) - 1} more)" if len(unmarked) > 1 else ""
        yield (
            f"note: {drawn[first]} has no shape of class {marking.annotated_class!r}, so all of {first.name} is "
            f"annotated{more}"
        )


def _drawing(image: Path, drawings: Path | None) -> Path | None:
    if drawings is None or drawings.is_dir():
        return drawing_of(image, drawings)
    return drawings


def _inside(boxes: Sequence[Region], sides: Sides) -> Iterator[Region]:
    """What of boxes lies in an image, of those that hold a pixel of it."""
    whole = Region(0, 0, *sides)
    for box in boxes:
        if all(box.intersection(whole).sides):
            yield box.intersection(whole)
