"""What drawings say of images, each painted in the size of its image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from unet_deploy.annotations.classes import UNNAMED, listed_names
from unet_deploy.annotations.drawn import read_drawing
from unet_deploy.annotations.marking import Marking
from unet_deploy.annotations.paint import Paint, Painted, paint
from unet_deploy.annotations.shapes import Drawing, Polygon
from unet_deploy.errors import DataError
from unet_deploy.evaluation.kinds import Mask, MaskCode, MaskKind
from unet_deploy.evaluation.objects import connected_objects
from unet_deploy.evaluation.pair import Pair, check_pages
from unet_deploy.images import ImageInfo
from unet_deploy.images.orientation import UPRIGHT, shown_points, upright_sides
from unet_deploy.system.machine import usable_cores
from unet_deploy.tiling import Region


@dataclass(frozen=True)
class PaintedSet:
    """What all drawings of a data set say."""

    painted: list[Painted]
    code: MaskCode
    """Of masks that would say the same."""
    notes: tuple[str, ...]
    """What a person should know of how they were read, in lines."""


def paint_pairs(pairs: Sequence[Pair], classes: Sequence[str], kind: MaskKind = "auto") -> PaintedSet:
    """Paint what was drawn on images.

    pairs: the regions of an image follow each other. classes: by whose names shapes are of a class. kind: instances or
    binary where all shapes are of the second class, whatever they are called; connected ones are one object where it is
    binary.
    Raises DataError as `read_drawing` and `paint`, and ImageError.
    """
    alike = kind in ("instances", "binary")
    names = UNNAMED if alike else tuple(classes)
    with ThreadPoolExecutor(usable_cores()) as pool:
        drawn = list(pool.map(lambda regions: _paint(regions, names), _by_image(pairs)))
    notes = tuple(_notes([regions[0] for _, regions in drawn], names == UNNAMED and not alike))
    if unmarked := pairs[0].marking.note(drawing for drawing, _ in drawn):
        notes = (*notes, unmarked)
    painted = [each for _, regions in drawn for each in regions]
    if kind == "binary":
        painted = [replace(each, objects=connected_objects(each.labels > 0)) for each in painted]
        return PaintedSet(painted, MaskCode("binary", (0, 1)), notes)
    code = MaskCode("instances") if len(names) == 2 else MaskCode("classes", tuple(range(len(names))))
    return PaintedSet(painted, code, notes)


def drawing_on(image: Path, info: ImageInfo, drawing: Path) -> Drawing:
    """Read what was drawn on an image, and bring it upright with it. Raises DataError as `read_drawing`.

    QuPath, Fiji and our own outlines heed no orientation tag: their places are those of the pixels as they are stored,
    but for a drawing whose file says the size of the image as it is shown.
    """
    found = read_drawing(drawing, image)
    stored, shown = (info.height, info.width), upright_sides(info)
    if info.orientation == UPRIGHT or (found.size == shown != stored):
        return found
    return replace(
        found,
        size=shown if found.size == stored else found.size,
        shapes=tuple(replace(shape, polygons=_turned(shape.polygons, info)) for shape in found.shapes),
    )


def _turned(polygons: Sequence[Polygon], info: ImageInfo) -> tuple[Polygon, ...]:
    return tuple(tuple(shown_points(ring, info) for ring in polygon) for polygon in polygons)


def numbered(drawing: Path, info: ImageInfo, image: Path, marking: Marking) -> tuple[Mask, str | None]:
    """What was drawn on an image as numbered objects, of whatever class, and what is to be said of it.

    Raises DataError as `paint`.
    """
    drawn = drawing_on(image, info, drawing)
    painted = paint(drawn, upright_sides(info), UNNAMED, marking)
    return Mask(str(drawing), painted.objects, painted.known), marking.note([drawn])


def _by_image(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Pairs in their order, the regions of an image together."""
    return [list(regions) for _, regions in groupby(pairs, lambda pair: (pair.image, pair.mask))]


def _paint(regions: Sequence[Pair], classes: Sequence[str]) -> tuple[Drawing, list[Painted]]:
    """What is drawn on an image, and its regions, or all of it, painted in what is read of each."""
    pair = regions[0]
    with pair.open() as source:
        check_pages(source.info, pair)
        info, size = source.info, upright_sides(source.info)
    drawing = pair.drawing or drawing_on(pair.image, info, pair.mask)
    _check_planes(drawing, info)
    found = Paint.of(drawing, size, classes, pair.marking)
    windows = [each.window for each in regions]
    whole = Region(0, 0, *size)
    return drawing, [found.on(each.frame, each.region) if each else found.on(whole) for each in windows]


def _check_planes(drawing: Drawing, info: ImageInfo) -> None:
    """Raise DataError for a shape on a plane beyond those of an image, which are its channels."""
    if later := next((shape for shape in drawing.shapes if shape.plane > info.channels), None):
        raise DataError(
            f"{drawing.name}: {later.words} lies on slice {later.plane} of a stack that its image lacks; save each "
            "plane as an image with its regions"
        )


def _notes(painted: Sequence[Painted], merged: bool) -> Iterator[str]:
    """Say what is not plain of how drawings were read, in lines. merged: whether all classes are one."""
    names = sorted({name for each in painted for name in each.classes})
    if merged and len(names) > 1:
        yield f"note: drawn are {listed_names(names)}: all of it is foreground, but with --classes to tell them apart"
    if empty := sum(each.empty for each in painted):
        yield f"note: {empty} shapes are too small to hold the centre of a pixel, and left out"
    if bare := sum(not each.shapes for each in painted):
        yield f"note: nothing is drawn on {bare} of {len(painted)} images, which are taken for background"
