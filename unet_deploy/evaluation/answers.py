"""What a model says of annotated images: as `unet-deploy segment` would, each at the scale that the card asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unet_deploy.annotations.marking import AS_MARKED, Marking
from unet_deploy.errors import DataError
from unet_deploy.evaluation.calibration import Seen
from unet_deploy.evaluation.kinds import MaskCode, MaskKind
from unet_deploy.evaluation.pair import scales_of
from unet_deploy.evaluation.pairs import Pair, find_pairs, read_image
from unet_deploy.evaluation.regions import by_region
from unet_deploy.evaluation.seen import was_trained_on
from unet_deploy.evaluation.split import Part, Split, split_set
from unet_deploy.evaluation.truths import Truth, check_size, leave_out, read_truth_set
from unet_deploy.images import check_fits
from unet_deploy.images.array import ArraySource
from unet_deploy.images.grey import GreyScale, check_dtype, to_float32
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.model.card import ModelCard
from unet_deploy.segmentation.models import Given, Models
from unet_deploy.segmentation.run import segment_array
from unet_deploy.stream.pipeline import NOTHING_KNOWN
from unet_deploy.system.progress import Progress
from unet_deploy.tiling import Region


@dataclass(frozen=True)
class Folder:
    """Annotated images, and which of them."""

    path: Path
    mask_kind: MaskKind = "auto"
    validation: str | None = None
    """Only what this rule holds back; None for all."""
    reading: Reading = AS_SAID
    marking: Marking = AS_MARKED
    masks: Path | None = None
    """The label stack of an image stack, or the name of labels in OME-Zarr images."""

    def split(self, pairs: Sequence[Pair]) -> Split | None:
        """What the rule holds back; None for no rule. Raises as `split_set`."""
        name = self.path.resolve().name
        return split_set(name, pairs, self.validation, self.reading) if self.validation else None


def answer(
    models: Models | Given,
    image: ArraySource,
    *,
    grey: GreyScale | None = None,
    probabilities: bool = False,
    tta: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels (H, W) uint8 and, where asked for, probabilities (K, H, W) float32 of an image.

    grey: of the whole image, where this is a region of it.
    """
    greys = {0: grey} if grey else NOTHING_KNOWN
    labels, scores = segment_array(image, models, None, greys=greys, probabilities=probabilities, tta=tta)
    return labels[0], None if scores is None else scores[0]


def read_fitting(image: ArraySource, card: ModelCard) -> ArraySource:
    """The image. Raises ImageError unless the model can take it."""
    pixels = image.crop(0, image.info.region)
    check_fits(image.info, card, remedy="save as many, or take another")
    check_dtype(pixels.dtype, image.info.name)
    data = image.data_in(0, image.info.region, pixels)
    to_float32(pixels if data is None else pixels[:, data], image.info.name)
    return image


def annotated_parts(pairs: Sequence[Pair], truths: Sequence[Truth], split: Split | None) -> tuple[Part, ...]:
    """What is to be scored: all images or what a split holds back, but for blocks of which nothing is annotated.

    Raises DataError where nothing is left.
    """
    every = split.validation if split else tuple(map(Part, range(len(pairs))))
    parts = tuple(part for part in every if part.region is None or _says(truths[part.image], part.region))
    if split and every and not parts:
        raise DataError(
            f"{pairs[0].image}: nothing of what --validation {split.rule} holds back is annotated; hold back others"
        )
    return parts


def _says(truth: Truth, region: Region) -> bool:
    """Whether anything of a block is annotated."""
    return truth.known is None or bool(truth.known[region.slices].any())


@dataclass(frozen=True)
class Scored:
    """An image that is to be scored, or the part of it that a rule held back."""

    image: ArraySource
    """The whole of it, or what is read of it: a model sees what lies around a part."""
    pixels: np.ndarray
    """(C, H, W) as stored, of the whole."""
    inside: tuple[slice, slice]
    """Where the part lies."""
    truth: Truth
    """Of the part alone; nothing is said where the image holds no data."""

    @classmethod
    def of(cls, pair: Pair, part: Part, truth: Truth, card: ModelCard, reading: Reading) -> Scored:
        """Read an image beside its whole truth. Raises ImageError unless the model can take it, and DataError."""
        image = read_fitting(read_image(pair, reading), card)
        pixels = image.crop(0, image.info.region)
        check_size(pair, pixels, truth)
        inside = (part.region or pair.inside or image.info.region).slices
        known = leave_out(truth, image.data_in(0, image.info.region, pixels))
        return cls(image, pixels, inside, known.part(inside))


def see(models: Models, folders: Sequence[Folder], progress: Progress | None = None) -> tuple[list[Seen], int]:
    """What a model, opened with probabilities, says of all images of folders that it was not trained on.

    Returns that, and how many images were left out because it was. Raises DataError where none is left.
    """
    card, seen, known = models.card, list[Seen](), 0
    every = [(folder, by_region(find_pairs(folder.path, folder.masks, folder.marking))) for folder in folders]
    found = [(folder, pairs, folder.split(pairs)) for folder, pairs in every]
    total = sum(len(split.validation) if split else len(pairs) for _, pairs, split in found)
    for folder, pairs, split in found:
        masks = read_truth_set(pairs, card.classes, folder.mask_kind, MaskCode.of_card(card))
        parts = annotated_parts(pairs, masks.truths, split)
        scales = scales_of([pairs[part.image] for part in parts], card.normalization, folder.reading)
        for part in parts:
            pair = pairs[part.image]
            scored = Scored.of(pair, part, masks.truths[part.image], card, folder.reading)
            if was_trained_on(card, scored.pixels, part, split, pair.inside):
                known += 1
            else:
                _, scores = answer(models, scored.image, grey=scales.get(pair.image), probabilities=True)
                assert scores is not None
                inside = scores[(slice(None), *scored.inside)]
                seen.append(Seen.of(part.named(pair), str(folder.path), inside, scored.truth))
            if progress:
                progress(len(seen) + known, total)
    if not seen:
        where = ", ".join(str(folder.path) for folder in folders)
        raise DataError(
            f"{where}: the model was trained on all {known} images; calibrate on others, or say --validation"
        )
    return seen, known
