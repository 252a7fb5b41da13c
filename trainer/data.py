"""Annotated images made ready for training: normalised, their objects parted, each pixel weighted."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.recipe import ModelDescription, Recipe
from trainer.weight_map import border_weights, class_weights
from unet_deploy.errors import DataError
from unet_deploy.evaluation.pairs import (
    MaskKind,
    Pair,
    absent_class,
    check_size,
    count_pixels,
    find_pairs,
    leave_out,
    read_image,
    read_truths,
    split,
)
from unet_deploy.images import ImageSource
from unet_deploy.images.grey import measure_page, read_tile, to_float32
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.model.card import Normalization
from unet_deploy.system.machine import usable_cores


@dataclass(frozen=True)
class DataSet:
    """Where annotated images lie, and which of them are for validation."""

    path: Path
    """A folder with images/ and masks/, or an image stack with its label stack in `masks`."""
    masks: Path | None = None
    mask_kind: MaskKind = "auto"
    validation: str = "last:0.1"
    """Which images are held out, in the words of `unet_deploy.evaluation.pairs.split`."""
    reading: Reading = AS_SAID
    """How the images are read."""


@dataclass(frozen=True)
class Annotated:
    """One image with its truth, before weights."""

    name: str
    image: np.ndarray
    """(C, H, W) float32, network input: normalised by the statistics of the whole image."""
    labels: np.ndarray
    """(H, W) uint8, class indices."""
    objects: np.ndarray
    """(H, W) int32, numbered objects, 0 the background."""


@dataclass(frozen=True)
class Sample(Annotated):
    """One image ready for training."""

    weights: np.ndarray
    """(H, W) float32: equation 2 of the paper."""


@dataclass(frozen=True)
class AnnotatedSet:
    """All images of a data set, and those of them to train and to validate on."""

    images: list[Annotated]
    training: list[Annotated]
    validation: list[Annotated]
    rule: str
    """By which images are held out."""

    @property
    def held_out(self) -> str:
        """What is kept from training, for people."""
        return f"{self.rule} held back: {len(self.validation)} of {len(self.images)} images"


def read_data_set(data: DataSet, description: ModelDescription) -> AnnotatedSet:
    """Read all images and part those that are for validation.

    Raises UsageError for a rule that leaves none on either side, DataError as `read_annotated`, and for a class that
    occurs in no image to train on.
    """
    pairs = find_pairs(data.path, data.masks)
    training, validation = split([pair.name for pair in pairs], data.validation)
    images = read_annotated(pairs, description.classes, description.normalization, data.mask_kind, data.reading)
    found = AnnotatedSet(images, [images[at] for at in training], [images[at] for at in validation], data.validation)
    if absent := absent_class((each.labels for each in found.training), description.classes):
        raise DataError(
            f"{data.path}: class {absent!r} occurs only in what --validation {data.validation} holds back; "
            "hold back others"
        )
    return found


def read_annotated(
    pairs: Sequence[Pair],
    classes: Sequence[str],
    normalization: Normalization,
    kind: MaskKind = "auto",
    reading: Reading = AS_SAID,
) -> list[Annotated]:
    """Read all pairs, objects that touch put apart; where an image holds no data its truth is background.

    Raises DataError as `read_truths`, and for sizes that differ.
    """
    truths = read_truths(pairs, classes, kind)
    with ThreadPoolExecutor(usable_cores()) as pool:
        images = list(pool.map(lambda pair: _read_image(read_image(pair, reading), normalization), pairs))
    annotated, channels = [], len(images[0][0])
    for pair, (image, data), drawn in zip(pairs, images, truths, strict=True):
        check_size(pair, image, drawn)
        if image.shape[0] != channels:
            raise DataError(f"{pair.image}: {image.shape[0]} channels, but {pairs[0].image} has {channels}")
        truth = leave_out(drawn, data)
        objects = separate(truth.objects)
        labels = np.where((objects == 0) & (truth.objects > 0), 0, truth.labels).astype(np.uint8)
        annotated.append(Annotated(pair.name, image, labels, objects))
    return annotated


def _read_image(image: ImageSource, normalization: Normalization) -> tuple[np.ndarray, np.ndarray | None]:
    """An image as network input, (C, H, W) float32, and where it holds data, bool (H, W); None for everywhere."""
    grey = measure_page(image, 0, normalization)
    pixels, data = read_tile(image, 0, image.info.region, grey)
    values = to_float32(pixels, image.info.name)
    return (values - grey.offset[:, None, None]) * grey.scale[:, None, None], data


def separate(objects: np.ndarray) -> np.ndarray:
    """Part objects (H, W) that touch by one pixel of background, so that the network can learn the gap.

    Of two neighbours above and below, or left and right, the upper or left one gives way.

    >>> separate(np.array([[1, 1, 2, 2, 0, 3]])).tolist()
    [[1, 0, 2, 2, 0, 3]]
    """
    parted = objects.copy()
    for axis in (0, 1):
        first, second = (np.moveaxis(objects, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        touching = (first != second) & (first > 0) & (second > 0)
        np.moveaxis(parted, axis, 0)[:-1][touching] = 0
    return parted


def add_weights(annotated: Sequence[Annotated], classes: int, recipe: Recipe) -> list[Sample]:
    """Give images the recipe's weight maps; class frequencies are those of all of them together."""
    counts = count_pixels((each.labels for each in annotated), classes)
    per_class = class_weights(counts, balance=recipe.balance)

    def weigh(each: Annotated) -> Sample:
        weights = per_class[each.labels]
        if recipe.w0:
            weights = weights + border_weights(each.objects, w0=recipe.w0, sigma=recipe.sigma)
        return Sample(each.name, each.image, each.labels, each.objects, weights)

    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(weigh, annotated))
