"""Numbers that are no numbers: a label is chosen among NaN without a word, so they are looked for."""

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


def _are_finite(numbers: np.ndarray) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        total = numbers.sum(dtype=np.float32)  # in most cases that is all: one pass, and no array of the same size
    return bool(np.isfinite(total) or np.isfinite(numbers).all())
