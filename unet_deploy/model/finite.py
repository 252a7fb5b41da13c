"""Numbers that say nothing: of NaN and of what is the same for every image a label is chosen without a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unet_deploy.errors import ModelError


def check_answer(probabilities: np.ndarray, whose: str) -> None:
    """Raise ModelError, which begins with `whose`, where probabilities of any shape hold NaN or infinity."""
    if not _are_finite(probabilities):
        raise ModelError(f"{whose}: answers NaN or infinity; its weights are damaged: export the model again")


def check_weight(weight: np.ndarray, model: Path) -> None:
    """Raise ModelError where a weight holds NaN, or infinity unless it is one number, as an open bound is."""
    if not _are_finite(weight) and (weight.size > 1 or np.isnan(weight).any()):
        raise ModelError(f"{model}: a weight is NaN or infinite; the file is damaged: export the model again")


_SATURATED = 1e-6
"""Probabilities as near as this to 0 or 1 may be the rounded answer of a network that is sure of itself."""


def is_deaf(probabilities: np.ndarray, others: np.ndarray) -> bool:
    """Whether the answers (N, K, h, w) to two images that vary are one and the same number a class.

    One that is sure of an image without objects answers 1 and 0 to float32's last digit: that does not count.

    >>> half = np.full((1, 2, 4, 4), 0.5, np.float32)
    >>> is_deaf(half, half[..., :2]), is_deaf(half, half * 1.01), is_deaf(half.round(), half.round())
    (True, False, False)
    """
    first = probabilities[:1, :, :1, :1]
    same = bool((probabilities == first).all()) and bool((others == first).all())
    return same and bool(((first > _SATURATED) & (first < 1 - _SATURATED)).all())


def deaf(whose: str) -> ModelError:
    """The error of a network whose answer does not depend on its image."""
    return ModelError(f"{whose}: answers the same whatever the image; its weights are lost or zero: export it again")


def _are_finite(numbers: np.ndarray) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        total = numbers.sum(dtype=np.float32)  # in most cases that is all: one pass, and no array of the same size
    return bool(np.isfinite(total) or np.isfinite(numbers).all())
