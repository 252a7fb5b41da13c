"""From what was drawn on an image to what is true of each of its pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from unet_deploy.annotations.classes import are_one, is_ignored, label_of, listed_names
from unet_deploy.annotations.fill import Crossings, Spans
from unet_deploy.annotations.marking import AS_MARKED, Marking
from unet_deploy.annotations.shapes import Drawing, Shape
from unet_deploy.errors import DataError
from unet_deploy.tiling import Region

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
    return Paint.of(drawing, size, classes, marking).on(Region(0, 0, *size))


@dataclass(frozen=True)
class Paint:
    """The pixels of all shapes of a drawing, before any plane of its image is filled."""

    drawing: Drawing
    others: Sequence[Shape]
    """Those that are neither annotated nor ignored."""
    labels: np.ndarray
    """The class index of each of these, from 1; 0 is the background."""
    spans: Spans
    """Their pixels in the whole image."""
    annotated: Spans | None
    """Where all is annotated; None where no shape says it."""
    ignored: Spans

    @classmethod
    def of(cls, drawing: Drawing, size: tuple[int, int], classes: Sequence[str], marking: Marking = AS_MARKED) -> Paint:
        """Find the pixels of a drawing on an image (H, W). Raises DataError as `paint`."""
        check_drawn(drawing, size)
        annotated = [shape for shape in drawing.shapes if are_one(shape.of, marking.annotated_class)]
        ignored = [shape for shape in drawing.shapes if is_ignored(shape.of)]
        others = [shape for shape in drawing.shapes if shape not in {*annotated, *ignored}]
        labels = np.array([0, *_labels(drawing, others, classes)], np.uint8)
        every = (_spans(drawing, shapes, size) for shapes in (others, annotated, ignored))
        spans, inside, without = every
        if 2 * (empty := _empty(spans, others)) > len(others):
            raise DataError(
                f"{drawing.name}: {empty} of {len(others)} shapes are too small to hold a pixel; "
                "their places are to be in pixels of the image"
            )
        return cls(drawing, others, labels, spans, inside if annotated else None, without)

    def on(self, frame: Region, within: Region | None = None) -> Painted:
        """Paint a frame of the image, which is as that of the whole. within: where alone anything is known of it.

        Raises DataError where nothing is annotated there.
        """
        numbers = np.where(self.labels > 0, np.arange(len(self.labels)), 0).astype(np.int32)
        areas = np.bincount(self.spans.owner, self.spans.lengths, minlength=len(self.others))
        top = _top(self.spans.cut(frame), areas, frame.sides)
        known = self._known(frame, within)
        if known is not None:
            if not known.any():
                raise DataError(f"{self.drawing.name}: {_nothing_in(within)}")
            top[~known] = 0
        pairs = zip(self.others, self.labels[1:], strict=True)
        names = frozenset(shape.of for shape, label in pairs if label and isinstance(shape.of, str))
        shapes, empty = len(self.drawing.shapes), _empty(self.spans, self.others)
        return Painted(self.labels[top], _counted(numbers[top]), known, shapes, empty, names)

    def _known(self, frame: Region, within: Region | None) -> np.ndarray | None:
        """Where anything is known of a frame, (h, w) bool; None for everywhere."""
        if self.annotated is None and not len(self.ignored.owner) and within is None:
            return None
        known = np.full(frame.sides, self.annotated is None)
        for spans, there in ((self.annotated, True), (self.ignored, False)):
            for _, pixels in _by_part(spans.cut(frame), frame.width) if spans else ():
                known.reshape(-1)[pixels] = there
        if within is not None:
            inside = np.zeros(frame.sides, np.bool_)
            inside[within.slices_in(frame)] = True
            known &= inside
        return known


def _nothing_in(region: Region | None) -> str:
    """Say that nothing is annotated of an image, or of a region of it, and what to do."""
    if region is None:
        return "nothing of its image is annotated; annotate a part, or take both away"
    return (
        f"nothing of the region at x {region.x}, y {region.y} is annotated: its shape holds no pixel, or all of it is "
        "ignored; delete it"
    )


def _empty(spans: Spans, shapes: Sequence[Shape]) -> int:
    """How many shapes hold no pixel."""
    return len(shapes) - len(np.unique(spans.owner))


def check_drawn(drawing: Drawing, size: tuple[int, int]) -> None:
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
        ways = ["give it one"] if strange.of is None else ["call it as one of them", "train with all in --classes"]
        ways += ["say --mask-kind instances if all are objects alike"] if len(classes) == 2 else []
        raise DataError(
            f"{drawing.name}: {strange.words} is of {strange.class_words}, "
            f"but the classes are {listed_names(classes)}; {', or '.join(ways)} "
            f"(drawn are {', '.join(f'{count} of {name}' for name, count in drawn.items())})"
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


def _top(spans: Spans, areas: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The shape on top of each pixel: (H, W) int32, its index from 1, 0 for none. areas: of the whole of each shape."""
    largest_first = np.argsort(-areas, kind="stable")
    height = np.empty(len(areas), np.int32)
    height[largest_first] = np.arange(1, len(areas) + 1)
    top = np.zeros(size, np.int32)
    for some, pixels in _by_part(spans, size[1]):
        np.maximum.at(top.reshape(-1), pixels, np.repeat(height[some.owner], some.lengths))
    return np.concatenate([[0], largest_first + 1]).astype(np.int32)[top]


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
