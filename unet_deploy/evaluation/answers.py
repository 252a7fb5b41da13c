"""What a model says of annotated images: as `unet-deploy segment` would, each at the scale that the card asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unet_deploy.errors import DataError
from unet_deploy.evaluation.calibration import Seen
from unet_deploy.evaluation.kinds import MaskCode, MaskKind
from unet_deploy.evaluation.pairs import find_pairs, read_image
from unet_deploy.evaluation.seen import was_trained_on
from unet_deploy.evaluation.split import Part, split_pairs
from unet_deploy.evaluation.truths import check_size, leave_out, read_truth_set
from unet_deploy.images import check_fits
from unet_deploy.images.array import ArraySource
from unet_deploy.images.grey import check_dtype, to_float32
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.model.card import ModelCard
from unet_deploy.segmentation.models import Given, Models
from unet_deploy.segmentation.run import segment_array
from unet_deploy.system.progress import Progress


@dataclass(frozen=True)
class Folder:
    """Annotated images, and which of them."""

    path: Path
    mask_kind: MaskKind = "auto"
    validation: str | None = None
    """Only what this rule holds back; None for all."""
    reading: Reading = AS_SAID


def answer(
    models: Models | Given, image: ArraySource, *, probabilities: bool = False, tta: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels (H, W) uint8 and, where asked for, probabilities (K, H, W) float32 of an image."""
    labels, scores = segment_array(image, models, None, probabilities=probabilities, tta=tta)
    return labels[0], None if scores is None else scores[0]


def read_fitting(image: ArraySource, card: ModelCard) -> ArraySource:
    """The image. Raises ImageError unless the model can take it."""
    pixels = image.crop(0, image.info.region)
    check_fits(image.info, card, remedy="save as many, or take another")
    check_dtype(pixels.dtype, image.info.name)
    data = image.data_in(0, image.info.region, pixels)
    to_float32(pixels if data is None else pixels[:, data], image.info.name)
    return image


def see(models: Models, folders: Sequence[Folder], progress: Progress | None = None) -> tuple[list[Seen], int]:
    """What a model, opened with probabilities, says of all images of folders that it was not trained on.

    Returns that, and how many images were left out because it was. Raises DataError where none is left.
    """
    found = [(folder, find_pairs(folder.path)) for folder in folders]
    splits = [
        split_pairs(pairs, folder.validation, folder.reading).validation
        if folder.validation
        else tuple(Part(at) for at in range(len(pairs)))
        for folder, pairs in found
    ]
    seen: list[Seen] = []
    known, total = 0, sum(map(len, splits))
    for (folder, pairs), parts in zip(found, splits, strict=True):
        masks = read_truth_set(pairs, models.card.classes, folder.mask_kind, MaskCode.of_card(models.card))
        for part in parts:
            image, truth = (
                read_fitting(read_image(pairs[part.image], folder.reading), models.card),
                masks.truths[part.image],
            )
            pixels = image.crop(0, image.info.region)
            check_size(pairs[part.image], pixels, truth)
            if was_trained_on(models.card, pixels, part, None):
                known += 1
            else:
                _, scores = answer(models, image, probabilities=True)
                assert scores is not None
                inside = (part.region or image.info.region).slices
                there = leave_out(truth, image.data_in(0, image.info.region, pixels)).part(inside)
                name = part.named(pairs[part.image])
                seen.append(Seen.of(name, str(folder.path), scores[(slice(None), *inside)], there))
            if progress:
                progress(len(seen) + known, total)
    if not seen:
        where = ", ".join(str(folder.path) for folder in folders)
        raise DataError(
            f"{where}: the model was trained on all {known} images; calibrate on others, or say --validation"
        )
    return seen, known
