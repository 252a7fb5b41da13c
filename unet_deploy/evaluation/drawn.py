"""What drawings say of images, each painted in the size of its image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from unet_deploy.annotations.classes import UNNAMED
from unet_deploy.annotations.drawn import read_drawing
from unet_deploy.annotations.marking import Marking
from unet_deploy.annotations.paint import Paint, Painted, paint
from unet_deploy.evaluation.kinds import Mask, MaskCode, MaskKind
from unet_deploy.evaluation.objects import connected_objects
from unet_deploy.evaluation.pair import Pair, check_pages
from unet_deploy.images.orientation import upright_sides
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
        drawings = list(pool.map(lambda regions: _paint(regions, names), _by_image(pairs)))
    notes = tuple(_notes([regions[0] for regions in drawings], names == UNNAMED and not alike))
    painted = [each for regions in drawings for each in regions]
    if kind == "binary":
        painted = [replace(each, objects=connected_objects(each.labels > 0)) for each in painted]
        return PaintedSet(painted, MaskCode("binary", (0, 1)), notes)
    code = MaskCode("instances") if len(names) == 2 else MaskCode("classes", tuple(range(len(names))))
    return PaintedSet(painted, code, notes)


def numbered(drawing: Path, image: Path, size: tuple[int, int], marking: Marking) -> Mask:
    """What was drawn on an image (H, W) as numbered objects, of whatever class. Raises DataError as `paint`."""
    painted = paint(read_drawing(drawing, image), size, UNNAMED, marking)
    return Mask(str(drawing), painted.objects, painted.known)


def _by_image(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Pairs in their order, the regions of an image together."""
    return [list(regions) for _, regions in groupby(pairs, lambda pair: (pair.image, pair.mask))]


def _paint(regions: Sequence[Pair], classes: Sequence[str]) -> list[Painted]:
    """Paint the regions of an image, or all of it, in what is read of each."""
    pair = regions[0]
    with pair.open() as source:
        check_pages(source.info, pair)
        size = upright_sides(source.info)
    found = Paint.of(pair.drawing or read_drawing(pair.mask, pair.image), size, classes, pair.marking)
    windows = [each.window for each in regions]
    return [found.on(each.frame, each.region) if each else found.on(Region(0, 0, *size)) for each in windows]


def _notes(painted: Sequence[Painted], merged: bool) -> Iterator[str]:
    """Say what is not plain of how drawings were read, in lines. merged: whether all classes are one."""
    names = sorted({name for each in painted for name in each.classes})
    if merged and len(names) > 1:
        yield f"note: drawn are {', '.join(names)}: all of it is foreground, but with --classes to tell them apart"
    if empty := sum(each.empty for each in painted):
        yield f"note: {empty} shapes are too small to hold the centre of a pixel, and left out"
    if bare := sum(not each.shapes for each in painted):
        yield f"note: nothing is drawn on {bare} of {len(painted)} images, which are taken for background"
