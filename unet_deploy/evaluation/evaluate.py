"""How good a deployed model is: the same tiling and runtime as `unet-deploy segment`, against annotated images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from unet_deploy.errors import DataError
from unet_deploy.evaluation.displacement import displacement
from unet_deploy.evaluation.measures import USUAL, Scoring
from unet_deploy.evaluation.objects import (
    IOU_THRESHOLDS,
    connected_objects,
    count_merged,
    match_objects,
    objects_of_size,
    seg_measure,
)
from unet_deploy.evaluation.overlap import Overlap, soft_dice
from unet_deploy.evaluation.pairs import MaskKind, Pair, Truth, check_size, leave_out, read_image, read_truths
from unet_deploy.evaluation.partitions import compare_partitions, partition, pixel_error, warping_error
from unet_deploy.evaluation.scores import CUTS, CutScore, Evaluation, Score
from unet_deploy.evaluation.seen import was_trained_on
from unet_deploy.evaluation.split import Part, Split
from unet_deploy.images import ImageSource, check_fits
from unet_deploy.images.array import ArraySource
from unet_deploy.images.grey import check_dtype, to_float32
from unet_deploy.images.orientation import upright, upright_sides
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.model.card import ModelCard
from unet_deploy.runtimes import Runtime
from unet_deploy.segmentation.run import segment_array
from unet_deploy.system.progress import Progress


def evaluate(
    runtime: Runtime,
    pairs: Sequence[Pair],
    scoring: Scoring = USUAL,
    *,
    split: Split | None = None,
    mask_kind: MaskKind = "auto",
    reading: Reading = AS_SAID,
    tta: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Segment the image of every pair and score it. Raises DataError and ImageError.

    split: only what it holds back is scored; what the masks mean is seen from all pairs, as it is in training.
    scoring: what is measured; by threshold it wants a runtime with probabilities.
    reading: how the images are read.
    tta: answer with the mean over eight orientations.
    """
    classes = runtime.card.classes
    truths = read_truths(pairs, classes, mask_kind)
    scores = []
    parts = split.validation if split else tuple(Part(at) for at in range(len(pairs)))
    trained_on = []
    for at, part in enumerate(parts):
        pair, truth = pairs[part.image], truths[part.image]
        image = _read_fitting(read_image(pair, reading), runtime.card)
        pixels = image.crop(0, image.info.region)
        check_size(pair, pixels, truth)
        labels, probabilities = segment_array(image, runtime, None, probabilities=scoring.by_threshold, tta=tta)
        inside = (part.region or image.info.region).slices
        seen = None if probabilities is None else probabilities[0][(slice(None), *inside)]
        seen_truth = leave_out(truth, image.data_in(0, image.info.region, pixels)).part(inside)
        name = part.named(pair)
        scores.append(score_labels(name, labels[0][inside], seen_truth, len(classes), seen, scoring))
        if was_trained_on(runtime.card, pixels, part, split):
            trained_on.append(name)
        if progress:
            progress(at + 1, len(parts))
    return Evaluation(classes, tuple(scores), tuple(trained_on), parts)


def _read_fitting(image: ArraySource, card: ModelCard) -> ArraySource:
    """The image. Raises ImageError unless the model can take it."""
    pixels = image.crop(0, image.info.region)
    check_fits(image.info, card, remedy="save as many, or take another")
    check_dtype(pixels.dtype, image.info.name)
    data = image.data_in(0, image.info.region, pixels)
    to_float32(pixels if data is None else pixels[:, data], image.info.name)
    return image


def score_files(mask: Path, truth: Path, *, min_size: int = 0, reading: Reading = AS_SAID) -> Evaluation:
    """Score the foreground of a mask file against a file of true objects, page by page, in memory.

    Truth with more than two values numbers its objects; with two, they are its connected components. Pixels that
    are no data in either are left out, but for those of 0, the background.
    min_size: objects of the mask of fewer pixels are left out.
    Raises DataError when the two do not fit.
    """
    with reading.open_labels(mask) as ours, reading.open_labels(truth) as theirs:
        shapes = [(s.info.pages, s.info.channels, *upright_sides(s.info)) for s in (ours, theirs)]
        if shapes[0] != shapes[1] or shapes[0][1] != 1:
            texts = [" x ".join(map(str, shape)) for shape in shapes]
            raise DataError(f"{mask}: is {texts[0]} (pages, channels, pixels), but {truth} is {texts[1]}")
        pages = ours.info.pages
        scoring = Scoring(min_size=min_size)
        scores = []
        for page in range(pages):
            labels, objects = _with_data(ours, theirs, page)
            if len(np.unique(objects[objects != 0])) <= 1:
                objects = connected_objects(objects != 0)
            found, there = ((each != 0).astype(np.uint8) for each in (labels, objects))
            name = f"{mask.name}[{page}]"
            scores.append(score_labels(name, found, Truth(there, objects), classes=2, scoring=scoring))
    return Evaluation(("background", "foreground"), tuple(scores))


def _with_data(mask: ImageSource, truth: ImageSource, page: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a page of a mask and of its truth, (H, W), both background where either of them holds no data."""
    (labels, ours), (objects, theirs) = _labels_of(mask, page), _labels_of(truth, page)
    inside = ours & theirs
    return np.where(inside, labels, 0), np.where(inside, objects, 0)


def _labels_of(source: ImageSource, page: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a page and where they hold data, (H, W) and upright."""
    info = source.info
    labels = source.crop(page, info.region)
    data = source.data_in(page, info.region, labels) if source.nodata != 0 else source.crop_valid(page, info.region)
    data = np.ones(info.region.sides, np.bool_) if data is None else data
    return upright(labels[0], info.orientation), upright(data, info.orientation)


def score_labels(
    name: str,
    labels: np.ndarray,
    truth: Truth,
    classes: int,
    probabilities: np.ndarray | None = None,
    scoring: Scoring = USUAL,
) -> Score:
    """Score class indices (H, W), and where given the probabilities (K, H, W) of all classes."""
    objects = objects_of_size(labels > 0, scoring.min_size)
    score = Score(
        name,
        tuple(Overlap.of(labels == k, truth.labels == k) for k in range(1, classes)),
        tuple(match_objects(objects, truth.objects, IOU_THRESHOLDS)),
        seg_measure(objects, truth.objects),
        count_merged(objects, truth.objects),
    )
    if probabilities is None:
        return score
    foreground = 1 - probabilities[0]
    return replace(
        score,
        cuts=tuple(score_foreground(foreground >= cut, truth, scoring) for cut in CUTS),
        soft_dice=soft_dice(probabilities, truth.labels),
        displacement=displacement(probabilities, truth.labels),
    )


def score_foreground(found: np.ndarray, truth: Truth, scoring: Scoring) -> CutScore:
    """Score a foreground (H, W) bool, as one threshold makes it."""
    there = truth.labels > 0
    objects = objects_of_size(found, scoring.min_size)
    score = CutScore(
        Overlap.of(found, there).dice,
        match_objects(objects, truth.objects, (0.5,))[0].f1,
        pixel_error(found, there),
    )
    if not scoring.partitions:
        return score
    compared = compare_partitions(partition(found), connected_objects(there))
    return replace(
        score,
        v_rand=compared.v_rand,
        v_info=compared.v_info,
        rand_error=compared.rand_error,
        warping_error=warping_error(found, there),
    )
