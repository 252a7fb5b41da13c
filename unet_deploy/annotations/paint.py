"""From what was drawn on an image to what is true of each of its pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from unet_deploy.annotations.classes import are_one, is_ignored, label_of
from unet_deploy.annotations.fill import Crossings, Spans
from unet_deploy.annotations.marking import AS_MARKED, Marking
from unet_deploy.annotations.shapes import Drawing, Shape
from unet_deploy.errors import DataError

_AT_A_TIME = 1 << 22
"""Pixels that are painted together."""


@dataclass(frozen=True)
class Painted:
    """What a drawing says of an image."""

    labels: np.ndarray
    """(H, W) uint8, class indices."""
    objects: np.ndarray
    """(H, W) int32, numbered objects, 0 the background."""
    known: np.ndarray | None
    """(H, W) bool, where it says anything: elsewhere both are 0; None for everywhere."""
    shapes: int = 0
    """Those that were painted, and those that mark what is annotated, or not known."""
    empty: int = 0
    """Shapes that lie between the centres of pixels, and are not there."""
    classes: frozenset[str] = frozenset()
    """The names of the classes of all objects."""


def paint(drawing: Drawing, size: tuple[int, int], classes: Sequence[str], marking: Marking = AS_MARKED) -> Painted:
    """Paint all shapes of a drawing on an image (H, W). Each is an object of its own, also where two touch.

    Where shapes overlap the smaller lies on top, of equal ones the later. Those of the class `marking.annotated_class`
    mark where all is annotated: outside of them nothing is known. Nor is it in those of a class to be ignored,
    whatever else lies there; of the first class, the background, there are no objects.

    Raises DataError for a drawing without shapes or of an image of another size, and for a shape that lies outside, of
    no class that there is, or with a line that crosses itself.
    """
    _check(drawing, size)
    annotated = [shape for shape in drawing.shapes if are_one(shape.of, marking.annotated_class)]
    ignored = [shape for shape in drawing.shapes if is_ignored(shape.of)]
    others = [shape for shape in drawing.shapes if shape not in {*annotated, *ignored}]
    labels_of = np.array([0, *_labels(drawing, others, classes)], np.uint8)
    numbers_of = np.where(labels_of > 0, np.arange(len(labels_of)), 0).astype(np.int32)
    spans = _spans(drawing, others, size)
    top = _top(spans, len(others), size)
    known = _known(drawing, annotated, ignored, size)
    if known is not None:
        if not known.any():
            raise DataError(f"{drawing.name}: nothing of its image is annotated; annotate a part, or take both away")
        top[~known] = 0
    empty = len(others) - len(np.unique(spans.owner))
    if 2 * empty > len(others):
        raise DataError(
            f"{drawing.name}: {empty} of {len(others)} shapes are too small to hold a pixel; "
            "their places are to be in pixels of the image"
        )
    names = frozenset(shape.of for shape in others if isinstance(shape.of, str))
    return Painted(labels_of[top], _counted(numbers_of[top]), known, len(drawing.shapes), empty, names)


def _check(drawing: Drawing, size: tuple[int, int]) -> None:
    """Raise DataError unless a drawing has shapes that lie on an image of this size."""
    text = " x ".join(map(str, size))
    if drawing.size not in (None, size):
        drawn_on = " x ".join(map(str, drawing.size or ()))
        raise DataError(f"{drawing.name}: was drawn on an image of {drawn_on} pixels, but its image is {text}")
    for shape in drawing.shapes:
        x, y = shape.middle
        if not (0 <= x <= size[1] and 0 <= y <= size[0]):
            raise DataError(
                f"{drawing.name}: {shape.words} lies outside its image of {text} pixels (height x width); "
                "it is of another image, or its places are in other units"
            )


def _labels(drawing: Drawing, shapes: Sequence[Shape], classes: Sequence[str]) -> list[int]:
    """The class indices of shapes. Raises DataError where one has none."""
    found = {of: label_of(of, classes) for of in {shape.of for shape in shapes}}
    if strange := next((shape for shape in shapes if found[shape.of] is None), None):
        drawn = Counter(each.class_words for each in drawing.shapes)
        ways = ["give it one" if strange.of is None else "name all with --classes"]
        ways += ["say --mask-kind instances if all are objects alike"] if len(classes) == 2 else []
        raise DataError(
            f"{drawing.name}: {strange.words} is of {strange.class_words}, but the classes are {', '.join(classes)}; "
            f"{', or '.join(ways)} (drawn are {', '.join(f'{count} of {name}' for name, count in drawn.items())})"
        )
    return [label for shape in shapes if (label := found[shape.of]) is not None]


def _spans(drawing: Drawing, shapes: Sequence[Shape], size: tuple[int, int]) -> Spans:
    """The pixels of shapes; owners are their indices. Raises DataError for a line that crosses itself."""
    polygons = [(at, polygon) for at, shape in enumerate(shapes) for polygon in shape.polygons]
    crossings = Crossings.of([polygon for _, polygon in polygons], size)
    if found := crossings.crossed():
        polygon, x, y = found
        raise DataError(
            f"{drawing.name}: {shapes[polygons[polygon][0]].words} crosses its own line near x {x:.0f}, y {y:.0f}, so "
            "nobody can tell what is inside; draw it again"
        )
    spans = crossings.spans()
    owner = np.array([at for at, _ in polygons], np.int64)
    return Spans(owner[spans.owner], spans.row, spans.start, spans.stop)


def _top(spans: Spans, shapes: int, size: tuple[int, int]) -> np.ndarray:
    """The shape on top of each pixel: (H, W) int32, its index from 1, 0 for none."""
    areas = np.bincount(spans.owner, spans.lengths, minlength=shapes)
    largest_first = np.argsort(-areas, kind="stable")
    height = np.empty(shapes, np.int32)
    height[largest_first] = np.arange(1, shapes + 1)
    top = np.zeros(size, np.int32)
    for some, pixels in _by_part(spans, size[1]):
        np.maximum.at(top.reshape(-1), pixels, np.repeat(height[some.owner], some.lengths))
    return np.concatenate([[0], largest_first + 1]).astype(np.int32)[top]


def _known(
    drawing: Drawing, annotated: Sequence[Shape], ignored: Sequence[Shape], size: tuple[int, int]
) -> np.ndarray | None:
    """Where a drawing says anything, (H, W) bool; None for everywhere."""
    if not annotated and not ignored:
        return None
    known = np.full(size, not annotated)
    for shapes, there in ((annotated, True), (ignored, False)):
        for _, pixels in _by_part(_spans(drawing, shapes, size), size[1]):
            known.reshape(-1)[pixels] = there
    return known


def _by_part(spans: Spans, width: int) -> Iterator[tuple[Spans, np.ndarray]]:
    """Yield spans and the indices of their pixels, some at a time."""
    upto = spans.lengths.cumsum()
    start = 0
    while start < len(upto):
        before = upto[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(upto, before + _AT_A_TIME, side="right")))
        some = spans.some(slice(start, stop))
        yield some, some.pixels(width)
        start = stop


def _counted(numbers: np.ndarray) -> np.ndarray:
    """Count the numbers (H, W) that are seen, in their order: (H, W) int32."""
    there = np.bincount(numbers.reshape(-1), minlength=1) > 0
    there[0] = True
    return (there.cumsum() - 1).astype(np.int32)[numbers]
