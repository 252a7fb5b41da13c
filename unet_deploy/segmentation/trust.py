"""Whether a mask is to be trusted, as far as a run can tell that has no truth beside it.

A network that is sure of every pixel has probabilities of 0 and 1; what it has never met, what is out of focus or
drowned in noise it answers with values between. The mean probability of what it calls foreground follows the true
quality, of images of laboratories that a network never saw too (docs/results.md, "Knowing when not to trust a mask").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unet_deploy.model.decision import Decision
from unet_deploy.segmentation.scaling import Scaled
from unet_deploy.stream.pipeline import DoneTile


class Confidence:
    """A consumer of tiles that adds up how sure the model is of them, where it gives probabilities.

    >>> foreground = np.array([[1.0, 0.8, 0.1, 0.1]], np.float32)
    >>> confidence = Confidence()
    >>> confidence.add((foreground > 0.5).astype(np.uint8), np.stack([1 - foreground, foreground]))
    >>> round(confidence.mean, 3)
    0.9
    """

    def __init__(self) -> None:
        self.pixels = 0
        """That were looked at, those without data too."""
        self.foreground = 0
        """Pixels that are no background."""
        self._sum = 0.0

    def __call__(self, done: DoneTile, /) -> None:
        self.add(done.labels, done.probabilities)

    def add(self, labels: np.ndarray, probabilities: np.ndarray | None) -> None:
        """Take labels (h, w) and probabilities (K, h, w)."""
        is_foreground = labels != 0
        self.pixels += labels.size
        self.foreground += int(np.count_nonzero(is_foreground))
        if probabilities is not None:
            self._sum += float(np.sum(1 - probabilities[0][is_foreground], dtype=np.float64))

    @property
    def mean(self) -> float | None:
        """The mean probability, of all pixels of the foreground, of being no background.

        It is the precision that is expected of the mask where the probabilities are right. None where there is no
        foreground, or no probabilities were.
        """
        return self._sum / self.foreground if self._sum else None


@dataclass(frozen=True)
class Trust:
    """What is known of a mask's quality without a truth."""

    confidence: float | None = None
    """`Confidence.mean`; None where nothing was found, or the model's card does not say what to make of it."""
    doubts: tuple[str, ...] = ()
    """Why the mask is not to be trusted before it was looked at, in words; empty where nothing speaks against it."""


def judge(
    confidence: Confidence, decision: Decision, scaled: Scaled, *, found_nothing: bool, none_left: bool = False
) -> Trust:
    """What to make of a run. decision: of the model's file, at scale 1. none_left: whether no object counts."""
    if found_nothing:
        return Trust(None, ("nothing was found",))
    if none_left:
        return Trust(None, ("of what was found no object is left: all are too small, or nowhere sure enough",))
    sure, doubts = confidence.mean, []
    if sure is not None and sure < decision.trusted_from:
        doubts.append(
            f"the model is unsure of it (confidence {sure:.2f}; below {decision.trusted_from:g} it was often wrong)"
        )
    if scaled.diameter is not None and decision.diameters is not None:
        least, most = decision.diameters
        seen = scaled.diameter * scaled.scale
        if not least <= seen <= most:
            doubts.append(
                f"at this scale the model sees objects of about {seen:.3g} px, and it knows {least:.3g} to {most:.3g}"
            )
    return Trust(sure, tuple(doubts))
