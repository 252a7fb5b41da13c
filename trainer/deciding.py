"""How a network's answer becomes objects: chosen when its training is over, by the images that were held back.

A training whose masks number objects is after objects, and the network's own answer, every connected component of it,
is a poor one: specks count, and neighbours that touch at one pixel are one. So it begins with what is usually right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from trainer.data import Annotated
from trainer.predict import predict
from trainer.sets import AnnotatedSet
from trainer.unet import UNet
from unet_deploy.evaluation.calibration import FEW, Calibration, Seen, calibrate, mean_f1
from unet_deploy.evaluation.truths import Truth
from unet_deploy.model.decision import UNDECIDED, Decision

USUAL = Decision(split=0.06, min_part=0.2, min_size=0.04, fill_holes=True)
"""What is never far from the best, of nuclei and of whole cells, of two hundred objects or of twenty: on nuclei of a
laboratory of which five images were annotated it made an F1 of 0.80, connected components 0.50."""

ENOUGH = 4_000_000
"""Pixels to choose by, at most: two hundred nuclei or cells at the least, and half a minute."""

NOISE = 0.01
"""F1, over IoU 0.5 to 0.9, of an answer that no choice makes any better: a network that has learned nothing yet gives
so many specks that trying takes minutes."""

SECONDS = 8e-6
"""For each pixel, of two cores."""


def seconds_to_decide(data: AnnotatedSet) -> float:
    """How long choosing will take, about."""
    return SECONDS * sum(each.labels.size for each in _shown(data)) if data.numbers_objects else 0.0


def usual(decision: Decision, data: AnnotatedSet) -> Decision:
    """A decision as it is, or where it says nothing of objects and masks number them, the usual one."""
    plain = replace(decision, diameter=None, diameters=None, trusted_from=UNDECIDED.trusted_from)
    if plain != UNDECIDED or not data.numbers_objects:
        return decision
    return replace(
        decision, split=USUAL.split, min_part=USUAL.min_part, min_size=USUAL.min_size, fill_holes=USUAL.fill_holes
    )


@torch.no_grad()
def decide(network: UNet, data: AnnotatedSet, decision: Decision, device: torch.device) -> Calibration | str:
    """Choose threshold, splitting, least size and filling of holes as `unet-deploy calibrate` does.

    decision: what to begin with. What it says of diameters and of confidence stays: a few images tell nothing of these.
    Where nothing can be chosen by what is held back: why.
    """
    shown = _shown(data)
    count = sum(len(np.unique(each.objects[each.objects > 0])) for each in shown)
    if count < FEW:  # which do not overrule what many more have decided before
        return "too few objects are held back to choose by"
    seen = [_seen(network, each, device) for each in shown]
    if mean_f1(seen, decision) < NOISE:
        return "what is held back is not found yet"
    found = calibrate(seen, decision)
    return replace(found, decision=replace(found.decision, trusted_from=decision.trusted_from))


def _shown(data: AnnotatedSet) -> Sequence[Annotated]:
    """Those of the images held back that are chosen by: one in so many, where all are more than enough."""
    images = data.validation
    every = -(-sum(each.labels.size for each in images) // ENOUGH)
    return images[::every]


def _seen(network: UNet, image: Annotated, device: torch.device) -> Seen:
    probabilities = predict(network, image.image, device).softmax(0).cpu().numpy()
    truth = Truth(image.labels, image.objects, image.known)
    return Seen.of(image.name, "", probabilities.astype(np.float32), truth)
