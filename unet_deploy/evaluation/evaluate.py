"""How good a deployed model is: the same tiling and runtime as `unet-deploy segment`, against annotated images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from unet_deploy.errors import DataError
from unet_deploy.evaluation.displacement import displacement
from unet_deploy.evaluation.kinds import Mask, MaskCode, MaskKind, codes_of_two
from unet_deploy.evaluation.measures import USUAL, Scoring
from unet_deploy.evaluation.objects import (
    IOU_THRESHOLDS,
    connected_objects,
    count_merged,
    match_objects,
    seg_measure,
    without_small,
)
from unet_deploy.evaluation.overlap import Overlap, soft_dice
from unet_deploy.evaluation.pairs import Pair, read_image
from unet_deploy.evaluation.partitions import compare_partitions, partition, pixel_error, warping_error
from unet_deploy.evaluation.scores import CUTS, CutScore, Evaluation, Score
from unet_deploy.evaluation.seen import was_trained_on
from unet_deploy.evaluation.split import Part, Split
from unet_deploy.evaluation.truths import (
    Truth,
    check_size,
    known_of,
    leave_out,
    notes_of,
    read_mask,
    read_truth_set,
    truth_of,
    where_both,
)
from unet_deploy.images import check_fits
from unet_deploy.images.array import ArraySource
from unet_deploy.images.grey import check_dtype, to_float32
from unet_deploy.images.orientation import upright_sides
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.model.card import ModelCard
from unet_deploy.runtimes import Runtime
from unet_deploy.segmentation.models import Models
from unet_deploy.segmentation.run import segment_array
from unet_deploy.system.progress import Progress


def evaluate(
    runtime: Runtime | Models,
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

    runtime: what is open, at its scale, or the model at the scale that each image wants.
    split: only what it holds back is scored; what the masks mean is seen from all pairs, as it is in training.
    mask_kind: auto for what the model's own masks were, where its card tells and these fit.
    scoring: what is measured; by threshold it wants a runtime with probabilities.
    reading: how the images are read.
    tta: answer with the mean over eight orientations.
    """
    classes = runtime.card.classes
    masks = read_truth_set(pairs, classes, mask_kind, MaskCode.of_card(runtime.card))
    scores = []
    parts = split.validation if split else tuple(Part(at) for at in range(len(pairs)))
    trained_on = []
    for at, part in enumerate(parts):
        pair, truth = pairs[part.image], masks.truths[part.image]
        image = _read_fitting(read_image(pair, reading), runtime.card)
        pixels = image.crop(0, image.info.region)
        check_size(pair, pixels, truth)
        labels, probabilities = segment_array(image, runtime, None, probabilities=scoring.by_threshold, tta=tta)
        inside = (part.region or image.info.region).slices
        seen = None if probabilities is None else probabilities[0][(slice(None), *inside)]
        seen_truth = leave_out(truth, image.data_in(0, image.info.region, pixels)).part(inside)
        name, answer = part.named(pair), seen_truth.of_known(labels[0][inside])
        seen = None if seen is None else seen_truth.background_of_unknown(seen)
        scores.append(score_labels(name, answer, seen_truth, len(classes), seen, scoring))
        if was_trained_on(runtime.card, pixels, part, split):
            trained_on.append(name)
        if progress:
            progress(at + 1, len(parts))
    return Evaluation(classes, tuple(scores), tuple(trained_on), parts, masks.notes)


def _read_fitting(image: ArraySource, card: ModelCard) -> ArraySource:
    """The image. Raises ImageError unless the model can take it."""
    pixels = image.crop(0, image.info.region)
    check_fits(image.info, card, remedy="save as many, or take another")
    check_dtype(pixels.dtype, image.info.name)
    data = image.data_in(0, image.info.region, pixels)
    to_float32(pixels if data is None else pixels[:, data], image.info.name)
    return image


def score_files(
    mask: Path, truth: Path, *, mask_kind: MaskKind = "auto", min_size: int = 0, reading: Reading = AS_SAID
) -> Evaluation:
    """Score a mask file against a file of the truth, page by page, in memory.

    Both are read as the masks of a training are. Classes are scored one by one where both files hold classes, and the
    foreground elsewhere. Objects are as they are numbered, or else connected components. Pixels that are no data in
    either are left out, but for those of 0, the background.
    mask_kind: what the numbers of both are. min_size: objects of the mask of fewer pixels are left out.
    Raises DataError when the two do not fit, or hold no labels.
    """
    with reading.open_labels(mask) as ours, reading.open_labels(truth) as theirs:
        shapes = [(s.info.pages, s.info.channels, *upright_sides(s.info)) for s in (ours, theirs)]
        if (shapes[0][0], *shapes[0][2:]) != (shapes[1][0], *shapes[1][2:]):
            texts = [" x ".join(map(str, shape)) for shape in shapes]
            raise DataError(f"{mask}: is {texts[0]} (pages, channels, pixels), but {truth} is {texts[1]}")
        pages = range(ours.info.pages)
        masks, truths = ([read_mask(source, page) for page in pages] for source in (ours, theirs))
    codes = codes_of_two(masks, truths, mask_kind)
    classes = _names(*codes)
    scores = []
    for page in pages:
        both = [each[page] for each in (masks, truths)]
        data = where_both(*map(known_of, both, codes))
        found, there = (
            _seen(replace(each, data=data), code, len(classes)) for each, code in zip(both, codes, strict=True)
        )
        scores.append(_score(f"{mask.name}[{page}]", found, there, len(classes), Scoring(min_size=min_size)))
    notes = dict.fromkeys([*notes_of(masks, codes[0]), *notes_of(truths, codes[1])])
    return Evaluation(classes, tuple(scores), notes=tuple(notes))


def _names(ours: MaskCode, theirs: MaskCode) -> tuple[str, ...]:
    """What is scored of two files: their classes, or the foreground where either has none."""
    if not (ours.kind == theirs.kind == "classes" and len(ours.values) > 2):
        return "background", "foreground"
    return "background", *(f"class {value}" for value in ours.values[1:])


def _seen(mask: Mask, code: MaskCode, classes: int) -> Truth:
    """What a mask says, of the foreground alone where that is what is scored."""
    said = truth_of(mask, code, max(classes, len(code.values)))
    return said.foreground if classes == 2 else said


def score_labels(
    name: str,
    labels: np.ndarray,
    truth: Truth,
    classes: int,
    probabilities: np.ndarray | None = None,
    scoring: Scoring = USUAL,
) -> Score:
    """Score class indices (H, W), and where given the probabilities (K, H, W) of all classes."""
    score = _score(name, Truth(labels, connected_objects(labels > 0)), truth, classes, scoring)
    if probabilities is None:
        return score
    foreground = 1 - probabilities[0]
    return replace(
        score,
        cuts=tuple(score_foreground(foreground >= cut, truth, scoring) for cut in CUTS),
        soft_dice=soft_dice(probabilities, truth.labels),
        displacement=displacement(probabilities, truth.labels),
    )


def _score(name: str, found: Truth, truth: Truth, classes: int, scoring: Scoring) -> Score:
    """Score classes and objects of a mask, those that are large enough."""
    objects = without_small(found.objects, scoring.min_size)
    return Score(
        name,
        tuple(Overlap.of(found.labels == k, truth.labels == k) for k in range(1, classes)),
        tuple(match_objects(objects, truth.objects, IOU_THRESHOLDS)),
        seg_measure(objects, truth.objects),
        count_merged(objects, truth.objects),
    )


def score_foreground(found: np.ndarray, truth: Truth, scoring: Scoring) -> CutScore:
    """Score a foreground (H, W) bool, as one threshold makes it."""
    there = truth.labels > 0
    objects = without_small(connected_objects(found), scoring.min_size)
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
