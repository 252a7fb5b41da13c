"""How good a deployed model is: the same tiling and runtime as `unet-deploy segment`, against annotated images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from unet_deploy.annotations.drawn import is_drawing
from unet_deploy.annotations.marking import AS_MARKED, Marking
from unet_deploy.errors import DataError
from unet_deploy.evaluation.answers import Scored, annotated_parts, answer
from unet_deploy.evaluation.displacement import displacement
from unet_deploy.evaluation.drawn import numbered
from unet_deploy.evaluation.kinds import Mask, MaskCode, MaskKind, code_of_score, codes_of_two
from unet_deploy.evaluation.measures import USUAL, Scoring
from unet_deploy.evaluation.objects import (
    IOU_THRESHOLDS,
    connected_objects,
    count_merged,
    match_objects,
    objects_found,
    seg_measure,
    without_small,
)
from unet_deploy.evaluation.overlap import Overlap, soft_dice
from unet_deploy.evaluation.pair import Pair, scales_of
from unet_deploy.evaluation.partitions import compare_partitions, partition, pixel_error, warping_error
from unet_deploy.evaluation.scores import CUTS, CutScore, Evaluation, Score
from unet_deploy.evaluation.seen import was_trained_on
from unet_deploy.evaluation.split import Split
from unet_deploy.evaluation.truths import (
    Truth,
    known_of,
    notes_of,
    read_mask,
    read_truth_set,
    truth_of,
    where_both,
    without,
)
from unet_deploy.images.orientation import upright_sides
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.objects.rules import COMPONENTS, Rules
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
        masks = read_truth_set(pairs, card.classes, mask_kind, MaskCode.of_card(card))
        scores, trained_on = [], []
        parts = annotated_parts(pairs, masks.truths, split)
        scales = scales_of([pairs[part.image] for part in parts], card.normalization, reading)
        for at, part in enumerate(parts):
            pair = pairs[part.image]
            scored = Scored.of(pair, part, masks.truths[part.image], card, reading)
            grey = scales.get(pair.image)
            labels, probabilities = answer(models, scored.image, grey=grey, probabilities=scoring.by_threshold, tta=tta)
            name, found = part.named(pair), scored.truth.of_known(labels[scored.inside])
            seen = None if probabilities is None else probabilities[(slice(None), *scored.inside)]
            seen = None if seen is None else scored.truth.background_of_unknown(seen)
            scores.append(score_labels(name, found, scored.truth, len(card.classes), seen, scoring))
            if was_trained_on(card, scored.pixels, part, split):
                trained_on.append(name)
            if progress:
                progress(at + 1, len(parts))
    return Evaluation(card.classes, tuple(scores), tuple(trained_on), parts, masks.notes)


def score_files(
    mask: Path,
    truth: Path,
    *,
    mask_kind: MaskKind = "auto",
    marking: Marking = AS_MARKED,
    objects: Rules = COMPONENTS,
    reading: Reading = AS_SAID,
) -> Evaluation:
    """Score a mask file against a file of the truth, page by page, in memory.

    Both are read as the masks of a training are; the truth may be a drawing. Classes are scored one by one where both
    files hold classes, and the foreground elsewhere. Objects are as they are drawn or numbered, or else connected
    components. Pixels that are no data in either are left out, but for those of 0, the background, and so are pages of
    such pixels alone.
    mask_kind: what the numbers of both are. marking: how the truth is to be read.
    objects: what counts as one in the mask; numbered ones by `min_size` alone.
    Raises DataError when the two do not fit, or hold no labels.
    """
    read = _read_drawn if is_drawing(truth) else _read_both
    masks, truths, codes = read(mask, truth, mask_kind, marking, reading)
    classes = _names(*codes)
    scores = []
    for page, both in enumerate(zip(masks, truths, strict=True)):
        data = where_both(*map(known_of, both, codes))
        if data is not None and not data.any():
            continue  # nobody can be wrong on this page
        found, there = (
            _seen(replace(each, data=data), code, len(classes)) for each, code in zip(both, codes, strict=True)
        )
        if codes[0].kind == "instances":
            numbered = without_small(found.objects, objects.min_size)
        else:
            numbered = objects_found(found.labels, objects)
        scores.append(_score(f"{mask.name}[{page}]", replace(found, objects=numbered), there, len(classes)))
    if not scores:
        raise DataError(f"{truth}: nothing of it is annotated, so that there is nothing to score")
    notes = dict.fromkeys([*notes_of(masks, codes[0]), *notes_of(truths, codes[1])])
    return Evaluation(classes, tuple(scores), notes=tuple(notes))


def _read_both(
    mask: Path, truth: Path, kind: MaskKind, marking: Marking, reading: Reading
) -> tuple[list[Mask], list[Mask], tuple[MaskCode, MaskCode]]:
    """Read the pages of two masks, and what their numbers mean. Raises DataError where they do not fit."""
    with reading.open_labels(mask) as ours, reading.open_labels(truth) as theirs:
        shapes = [(s.info.pages, s.info.channels, *upright_sides(s.info)) for s in (ours, theirs)]
        if (shapes[0][0], *shapes[0][2:]) != (shapes[1][0], *shapes[1][2:]):
            texts = [" x ".join(map(str, shape)) for shape in shapes]
            raise DataError(f"{mask}: is {texts[0]} (pages, channels, pixels), but {truth} is {texts[1]}")
        pages = range(ours.info.pages)
        masks = [read_mask(ours, page) for page in pages]
        truths = [without(read_mask(theirs, page), marking.ignore) for page in pages]
    return masks, truths, codes_of_two(masks, truths, kind)


def _read_drawn(
    mask: Path, truth: Path, kind: MaskKind, marking: Marking, reading: Reading
) -> tuple[list[Mask], list[Mask], tuple[MaskCode, MaskCode]]:
    """Read a mask of one page, and a drawing as numbered objects. Raises DataError where they do not fit."""
    with reading.open_labels(mask) as ours:
        if ours.info.pages > 1:
            raise DataError(f"{mask}: has {ours.info.pages} pages, but {truth} is drawn on one image; score each alone")
        masks, size = [read_mask(ours)], upright_sides(ours.info)
    return masks, [numbered(truth, mask, size, marking)], (code_of_score(masks, kind), MaskCode("instances"))


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
    score = _score(name, Truth(labels, objects_found(labels, scoring.objects)), truth, classes)
    if probabilities is None:
        return score
    foreground = 1 - probabilities[0]
    return replace(
        score,
        cuts=tuple(score_foreground(foreground >= cut, truth, scoring) for cut in CUTS),
        soft_dice=soft_dice(probabilities, truth.labels),
        displacement=displacement(probabilities, truth.labels),
    )


def _score(name: str, found: Truth, truth: Truth, classes: int) -> Score:
    """Score classes and objects of a mask."""
    return Score(
        name,
        tuple(Overlap.of(found.labels == k, truth.labels == k) for k in range(1, classes)),
        tuple(match_objects(found.objects, truth.objects, IOU_THRESHOLDS)),
        seg_measure(found.objects, truth.objects),
        count_merged(found.objects, truth.objects),
    )


def score_foreground(found: np.ndarray, truth: Truth, scoring: Scoring) -> CutScore:
    """Score a foreground (H, W) bool, as one threshold makes it."""
    there = truth.labels > 0
    objects = objects_found(found, scoring.objects)
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
