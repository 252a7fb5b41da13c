"""The images of an evaluation that are worst, seen again: what the model says of each, beside the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from unet_deploy.evaluation.answers import answer
from unet_deploy.evaluation.kinds import MaskCode, MaskKind
from unet_deploy.evaluation.pair import Pair, read_image, scales_of
from unet_deploy.evaluation.scores import Evaluation, Score
from unet_deploy.evaluation.truths import Truth, leave_out, read_truth_set
from unet_deploy.images.reading import AS_SAID, Reading
from unet_deploy.segmentation.models import Given, Models

MOST = 9
"""Images that are shown."""


@dataclass(frozen=True)
class WorstImage:
    """An image of a low score, or the part of it that was scored."""

    score: Score
    pixels: np.ndarray
    """(C, h, w)."""
    labels: np.ndarray
    """(h, w), what the model says."""
    truth: Truth


def order(evaluation: Evaluation) -> list[int]:
    """Return the images by what their mean Dice of all classes and their object F1 at IoU 0.5 add up to, least first.

    They are indices of `evaluation.scores`.
    """
    return sorted(range(len(evaluation.scores)), key=lambda at: _quality(evaluation.scores[at]))


def worst_images(
    models: Models | Given,
    evaluation: Evaluation,
    pairs: Sequence[Pair],
    *,
    mask_kind: MaskKind = "auto",
    reading: Reading = AS_SAID,
    tta: bool = False,
) -> Iterator[WorstImage]:
    """Yield the MOST worst images, the worst first. evaluation: what `evaluate` said of these pairs, in the same words.

    Raises as `evaluate`.
    """
    worst = order(evaluation)[:MOST]
    truths = read_truth_set(pairs, evaluation.classes, mask_kind, MaskCode.of_card(models.card)).truths
    shown = [pairs[evaluation.parts[at].image] for at in worst]
    scales = scales_of(shown, models.card.normalization, reading)
    for at in worst:
        part = evaluation.parts[at]
        pair, truth = pairs[part.image], truths[part.image]
        image = read_image(pair, reading)
        pixels = image.crop(0, image.info.region)
        data = image.data_in(0, image.info.region, pixels)
        labels = answer(models, image, grey=scales.get(pair.image), tta=tta)[0]
        if data is not None and data.any():
            pixels = np.where(data, pixels, pixels[:, data].min())  # what is no data may be no number
        inside = (part.region or pair.inside or image.info.region).slices
        seen = leave_out(truth, data).part(inside)
        yield WorstImage(evaluation.scores[at], pixels[(slice(None), *inside)], seen.of_known(labels[inside]), seen)


def _quality(score: Score) -> float:
    """What the worst images are chosen by: overlap and objects alike."""
    return float(np.mean([overlap.dice for overlap in score.overlaps])) + score.matches[0].f1
