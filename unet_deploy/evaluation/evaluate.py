"""How good a deployed model is: the same tiling and runtime as `unet-deploy segment`, against annotated images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from unet_deploy.evaluation.answers import Scored, annotated_parts, answer
from unet_deploy.evaluation.displacement import displacement
from unet_deploy.evaluation.kinds import MaskCode, MaskKind
from unet_deploy.evaluation.measures import USUAL, Scoring
from unet_deploy.evaluation.objects import (
    IOU_THRESHOLDS,
    connected_objects,
    count_merged,
    match_objects,
    objects_found,
    seg_measure,
)
from unet_deploy.evaluation.overlap import Overlap, soft_dice
from unet_deploy.evaluation.pair import Pair, scales_of
from unet_deploy.evaluation.partitions import compare_partitions, partition, pixel_error, warping_error
from unet_deploy.evaluation.scores import CUTS, CutScore, Evaluation, Score
from unet_deploy.evaluation.seen import was_trained_on
from unet_deploy.evaluation.split import Split
from unet_deploy.evaluation.truths import (
    Truth,
    read_truth_set,
)
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.runtimes.request import Request
from unet_deploy.segmentation.models import Model, models_of
from unet_deploy.segmentation.options import ObjectRules
from unet_deploy.system.progress import Progress


def evaluate(
    model: Model,
    pairs: Sequence[Pair],
    scoring: Scoring | None = None,
    *,
    split: Split | None = None,
    mask_kind: MaskKind = "auto",
    reading: Reading = AS_SAID,
    tta: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Segment the image of every pair and score it. Raises DataError and ImageError.

    model: a file, a shipped model's name, what `open_model` returned, or `Models`; each image is seen at the scale that
    the card asks for.
    split: only what it holds back is scored; what the masks mean is seen from all pairs, as it is in training.
    mask_kind: auto for what the model's own masks were, where its card tells and these fit.
    scoring: what is measured, by default the usual, of objects as the model's card decides; by threshold it wants a
    model that answers with probabilities.
    reading: how the images are read.
    tta: answer with the mean over eight orientations.
    """
    wanted = scoring.by_threshold if scoring else False
    with models_of(model, Request(probabilities=wanted or tta)) as models:
        card = models.card
        scoring = scoring or replace(USUAL, objects=ObjectRules().decided_by(card.decision))
        telling = scoring.by_threshold or scoring.objects.peak > 0
        masks = read_truth_set(pairs, card.classes, mask_kind, MaskCode.of_card(card))
        scores, trained_on = [], []
        parts = annotated_parts(pairs, masks.truths, split)
        scales = scales_of([pairs[part.image] for part in parts], card.normalization, reading)
        for at, part in enumerate(parts):
            pair = pairs[part.image]
            scored = Scored.of(pair, part, masks.truths[part.image], card, reading)
            grey = scales.get(pair.image)
            labels, probabilities = answer(models, scored.image, grey=grey, probabilities=telling, tta=tta)
            name, found = part.named(pair), scored.truth.of_known(labels[scored.inside])
            seen = None if probabilities is None else probabilities[(slice(None), *scored.inside)]
            seen = None if seen is None else scored.truth.background_of_unknown(seen)
            scores.append(score_labels(name, found, scored.truth, len(card.classes), seen, scoring))
            if was_trained_on(card, scored.pixels, part, split, pair.inside):
                trained_on.append(name)
            if progress:
                progress(at + 1, len(parts))
    return Evaluation(card.classes, tuple(scores), tuple(trained_on), parts, masks.notes)


def score_labels(
    name: str,
    labels: np.ndarray,
    truth: Truth,
    classes: int,
    probabilities: np.ndarray | None = None,
    scoring: Scoring = USUAL,
) -> Score:
    """Score class indices (H, W), by the probabilities (K, H, W) of all classes where that is asked for.

    Objects without probabilities are all those that the other rules make.
    """
    found = objects_found(labels, scoring.objects, probabilities)
    score = score_truth(name, Truth(labels, found), truth, classes)
    if probabilities is None or not scoring.by_threshold:
        return score
    foreground = 1 - probabilities[0]
    return replace(
        score,
        cuts=tuple(score_foreground(foreground >= cut, probabilities, truth, scoring) for cut in CUTS),
        soft_dice=soft_dice(probabilities, truth.labels),
        displacement=displacement(probabilities, truth.labels),
    )


def score_truth(name: str, found: Truth, truth: Truth, classes: int) -> Score:
    """Score classes and objects of what was found."""
    return Score(
        name,
        tuple(Overlap.of(found.labels == k, truth.labels == k) for k in range(1, classes)),
        tuple(match_objects(found.objects, truth.objects, IOU_THRESHOLDS)),
        seg_measure(found.objects, truth.objects),
        count_merged(found.objects, truth.objects),
    )


def score_foreground(found: np.ndarray, probabilities: np.ndarray, truth: Truth, scoring: Scoring) -> CutScore:
    """Score a foreground (H, W) bool, as one threshold makes it of probabilities (K, H, W)."""
    there = truth.labels > 0
    objects = objects_found(found, scoring.objects, probabilities)
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
