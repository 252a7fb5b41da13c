"""Annotated images made ready for training: normalised, their objects parted, each pixel weighted."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from trainer.recipe import Recipe
from trainer.weight_map import border_weights, class_weights
from unet_deploy.annotations.drawn import is_drawing
from unet_deploy.errors import DataError
from unet_deploy.evaluation.kinds import MaskKind
from unet_deploy.evaluation.pair import Pair, read_image, scales_of
from unet_deploy.evaluation.pairs import find_pairs
from unet_deploy.evaluation.seen import digest_of
from unet_deploy.evaluation.split import Part
from unet_deploy.evaluation.truths import TruthSet, absent_class, check_size, count_pixels, leave_out, read_truth_set
from unet_deploy.images import ImageSource
from unet_deploy.images.grey import GreyScale, measure_page, read_tile, to_float32
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.model.card import Normalization
from unet_deploy.system.machine import usable_cores
from unet_deploy.tiling import Region

__all__ = [
    "Annotated",
    "Sample",
    "add_weights",
    "annotate",
    "find_pairs",
    "read_annotated",
    "separate",
]


@dataclass(frozen=True)
class Annotated:
    """One image with its truth, before weights."""

    name: str
    image: np.ndarray
    """(C, H, W) float32, network input: normalised by the statistics of the whole image, also where it is a region."""
    labels: np.ndarray
    """(H, W) uint8, class indices."""
    objects: np.ndarray
    """(H, W) int32, numbered objects, 0 the background."""
    digest: str = field(default="", kw_only=True)
    """By which `evaluate` knows the image again."""
    zoom: float = field(default=1.0, kw_only=True)
    """How many times larger it is made as a tile is drawn from it."""
    share: float = field(default=1.0, kw_only=True)
    """How often tiles are drawn from it, beside others of its size."""
    known: np.ndarray | None = field(default=None, kw_only=True)
    """(H, W) bool, where the mask says anything; None for everywhere. Elsewhere nothing is learned, and no answer
    counts."""

    @property
    def said(self) -> np.ndarray:
        """The labels of all pixels that the mask says anything of, in any shape."""
        return self.labels if self.known is None else self.labels[self.known]

    def of_known(self, labels: np.ndarray) -> np.ndarray:
        """Labels (H, W) that are background where the mask says nothing."""
        return labels if self.known is None else np.where(self.known, labels, 0)

    def part(self, part: Part, name: str) -> Annotated:
        """A block of it, or all of it: grey values stay as they are."""
        if part.region is None:
            return self
        planes = self.image, self.labels, self.objects
        image, labels, objects = (np.ascontiguousarray(each[(..., *part.region.slices)]) for each in planes)
        known = None if self.known is None else self.known[part.region.slices]
        return replace(self, name=name, image=image, labels=labels, objects=objects, known=known)


@dataclass(frozen=True)
class Sample(Annotated):
    """One image ready for training."""

    weights: np.ndarray
    """(H, W) float32: equation 2 of the paper; 0 where the mask says nothing."""


def read_annotated(
    pairs: Sequence[Pair],
    classes: Sequence[str],
    normalization: Normalization,
    kind: MaskKind = "auto",
    reading: Reading = AS_SAID,
) -> list[Annotated]:
    """Read all pairs as `annotate` makes them ready. Raises DataError as that, `check_classes` and `read_truths`."""
    annotated = annotate(pairs, read_truth_set(pairs, classes, kind), normalization, reading)
    check_classes(annotated, classes, pairs[0].mask)
    return annotated


def annotate(
    pairs: Sequence[Pair],
    masks: TruthSet,
    normalization: Normalization,
    reading: Reading = AS_SAID,
) -> list[Annotated]:
    """Put images to their masks, objects that touch put apart; where an image holds no data its truth is background.

    Raises DataError for sizes that differ, and for pixels of no class: which these are is only guessed.
    """
    truths, void = masks.truths, masks.code.void
    if void is not None:
        raise DataError(
            f"{pairs[0].mask.parent}: pixels of {void} beside numbers of classes or objects seem to be of no class "
            f"(void); give them one, or say --ignore {void}: these are not learned from"
        )
    scales = scales_of(pairs, normalization, reading)

    def seen_of(pair: Pair) -> _Seen:
        image = read_image(pair, reading)
        return _see(image, scales.get(pair.image) or measure_page(image, 0, normalization), pair.inside)

    with ThreadPoolExecutor(usable_cores()) as pool:
        read = list(pool.map(seen_of, pairs))
    annotated, channels = [], len(read[0].values)
    for pair, seen, drawn in zip(pairs, read, truths, strict=True):
        check_size(pair, seen.values, drawn)
        if min(seen.values.shape[1:]) < 2:
            size = " x ".join(map(str, seen.values.shape[1:]))
            raise DataError(f"{pair.image}: is {size} pixels; there is no shape to learn")
        if len(seen.values) != channels:
            raise DataError(
                f"{pair.image}: {len(seen.values)} channels, but {pairs[0].image} has {channels}; "
                "train on images of the same channels"
            )
        truth = leave_out(drawn, seen.data)
        objects = separate(truth.objects, truth.labels)
        labels = np.where((objects == 0) & (truth.objects > 0), 0, truth.labels).astype(np.uint8)
        annotated.append(Annotated(pair.name, seen.values, labels, objects, digest=seen.digest, known=truth.known))
    return annotated


def check_classes(images: Sequence[Annotated], classes: Sequence[str], mask: Path) -> None:
    """Raise DataError for a class of which no pixel is annotated in any image, gaps between objects counted.

    mask: one of those that were read, for the message.
    """
    absent = absent_class((each.said for each in images), classes)
    if absent is None:
        return
    drawn = is_drawing(mask)
    where = mask if drawn else mask.parent
    if absent == classes[0]:
        raise DataError(f"{where}: nowhere is {absent!r}, only objects are; annotate what lies around some of them")
    if drawn:
        raise DataError(f"{where}: no shape is a {absent!r}; draw some, or name the classes that are drawn")
    raise DataError(f"{where}: class {absent!r} occurs in no mask; check the masks, or name the classes they have")


@dataclass(frozen=True)
class _Seen:
    """An image as it is read for training."""

    values: np.ndarray
    """(C, H, W) float32, network input."""
    data: np.ndarray | None
    """Where it holds data, bool (H, W); None for everywhere."""
    digest: str
    """Of its pixels as stored, where a region is annotated of those alone."""


def _see(image: ImageSource, grey: GreyScale, inside: Region | None) -> _Seen:
    pixels, data = read_tile(image, 0, image.info.region, grey)
    values = to_float32(pixels, image.info.name)
    normalised = (values - grey.offset[:, None, None]) * grey.scale[:, None, None]
    return _Seen(normalised, data, digest_of(image.crop(0, inside or image.info.region)))


def separate(objects: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Part objects (H, W) of one class that touch by one pixel of background, so that the network can learn the gap.

    Of two neighbours above and below, or left and right, the upper or left one gives way. Objects of two classes, as a
    nucleus and its cell, need no gap. labels: (H, W), the class of each pixel.

    >>> separate(np.array([[1, 1, 2, 2, 3, 3]]), np.array([[1, 1, 1, 1, 2, 2]])).tolist()
    [[1, 0, 2, 2, 3, 3]]
    """
    parted = objects.copy()
    for axis in (0, 1):
        planes = [np.moveaxis(plane, axis, 0) for plane in (objects, labels)]
        (first, second), (one, other) = ((plane[:-1], plane[1:]) for plane in planes)
        touching = (first != second) & (first > 0) & (second > 0) & (one == other)
        np.moveaxis(parted, axis, 0)[:-1][touching] = 0
    return parted


def add_weights(annotated: Sequence[Annotated], classes: int, recipe: Recipe) -> list[Sample]:
    """Give images the recipe's weight maps; class frequencies are those of all of them together."""
    counts = count_pixels((each.said for each in annotated), classes)
    per_class = class_weights(counts, balance=recipe.balance)

    def weigh(each: Annotated) -> Sample:
        weights = per_class[each.labels]
        if recipe.w0:
            weights = weights + border_weights(each.objects, w0=recipe.w0, sigma=recipe.sigma / each.zoom)
        if each.known is not None:
            weights = weights * each.known
        return Sample(**{part.name: getattr(each, part.name) for part in fields(Annotated)}, weights=weights)

    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(weigh, annotated))
