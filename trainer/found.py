"""What a data set was found to hold, in numbers that a person can hold against what they drew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unet_deploy.evaluation.pair import Pair
from unet_deploy.evaluation.split import Part
from unet_deploy.evaluation.truths import Truth, count_pixels
from unet_deploy.tiling import Sides


@dataclass(frozen=True)
class ClassShare:
    """How much of what is annotated is of a class."""

    name: str
    share: float
    """Of the pixels that are annotated."""


@dataclass(frozen=True)
class SetFound:
    """What one data set holds, before any of it is brought to another size."""

    path: Path
    layout: str
    """How its files lie, for people."""
    images: int
    regions: int
    """How many regions of images are annotated; an image that is annotated whole is one."""
    smallest: tuple[int, int]
    """Height and width of the image, or region, of the fewest pixels."""
    largest: tuple[int, int]
    """The same of the most pixels."""
    channels: int
    objects: int
    """In all images together."""
    classes: tuple[ClassShare, ...]
    annotated: float
    """The share of all pixels of the images that masks say anything of."""
    held_back: float
    """How many images or regions are kept from training; of an only one, which share of it."""


def found_in(
    place: tuple[Path, str],
    pairs: Sequence[Pair],
    truths: Sequence[Truth],
    channels: int,
    held_back: Sequence[Part],
    classes: Sequence[str],
) -> SetFound:
    """Count what the masks of a data set say. place: where it lies, and how, for people."""
    sizes = sorted(map(_sides, pairs, truths), key=math.prod)
    images = {(pair.image, pair.page): _image_sides(pair, truth) for pair, truth in zip(pairs, truths, strict=True)}
    counts = count_pixels((each.said for each in truths), len(classes))
    pixels, known = sum(map(math.prod, images.values())), int(counts.sum())
    return SetFound(
        *place,
        len(images),
        len(pairs),
        sizes[0],
        sizes[-1],
        channels,
        sum(_count_objects(each.objects) for each in truths),
        tuple(ClassShare(name, int(count) / max(1, known)) for name, count in zip(classes, counts, strict=True)),
        known / pixels,
        sum(math.prod(part.region.sides) / math.prod(sizes[0]) if part.region else 1 for part in held_back),
    )


def _sides(pair: Pair, truth: Truth) -> Sides:
    """Height and width of an image, or of the region of it that is annotated."""
    return pair.window.region.sides if pair.window else _image_sides(pair, truth)


def _image_sides(pair: Pair, truth: Truth) -> Sides:
    height, width = pair.window.image if pair.window else truth.labels.shape
    return height, width


def _count_objects(objects: np.ndarray) -> int:
    """How many numbers but 0 there are."""
    return int(np.count_nonzero(np.bincount(objects.reshape(-1))[1:]))
