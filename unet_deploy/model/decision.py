"""What is decided of a model's answer: from probabilities to a mask, and from a mask to objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from unet_deploy.errors import ModelError
from unet_deploy.model import card_fields


@dataclass(frozen=True)
class Decision:
    """What was chosen for a model on images it was not trained on. Raises ModelError where a field breaks its rule.

    Lengths are in pixels of the network's input, shares are of the diameter of the objects of an image, so that they
    hold at any scale. The default decides as the network's highest probability does, and changes no object.
    """

    threshold: float = 0.5
    """The probability above which a pixel is not background, in (0, 1). Of several classes, the background's
    probability counts threshold / (1 - threshold) times before the highest is taken."""
    diameter: float | None = None
    """Of objects that the network knows best, in pixels; None where it takes images as they are."""
    diameters: tuple[float, float] | None = None
    """The least and the largest diameter that it knows as well, so that an image of these stays as it is."""
    split: float = 0.0
    """How much deeper, in diameters, two parts of an object must be than the neck between them to be two objects; 0
    parts nothing."""
    min_part: float = 0.0
    """Area of the smallest part that is an object by itself, in squared diameters; a smaller one is a bulge."""
    min_size: float = 0.0
    """Area of the smallest object, in squared diameters."""
    fill_holes: bool = False
    """Whether background inside one object belongs to it."""
    peak: float = 0.0
    """The probability of being no background that some pixel of an object reaches; 0 where any object counts."""
    trusted_from: float = 0.0
    """The confidence, mean probability of the foreground, below which masks were found to be bad; 0 where that is not
    known."""

    def __post_init__(self) -> None:
        card_fields.check_fields(asdict(self), card_fields.DECISION, "decision")
        if self.diameters is not None:
            object.__setattr__(self, "diameters", tuple(self.diameters))

    def doubts(self, probabilities: np.ndarray) -> np.ndarray:
        """How near each pixel of probabilities (K, h, w) is to another class: (h, w) float32 from 0 to 1.

        1 less the margin between the two likeliest (Scheffer et al. 2001), after the background's was counted as for
        `labels`; of two classes that is 1 - |2p - 1|.

        >>> Decision().doubts(np.array([[[0.75, 0.5, 0.25]], [[0.25, 0.5, 0.75]]], np.float32)).tolist()
        [[0.5, 1.0, 0.5]]
        """
        first = probabilities[0] * np.float32(self.threshold / (1 - self.threshold))
        second, total = np.zeros_like(first), first
        for each in probabilities[1:]:
            second = np.maximum(second, np.minimum(first, each))
            first, total = np.maximum(first, each), total + each
        return 1 - (first - second) / np.maximum(total, np.float32(1e-9))

    def labels(self, probabilities: np.ndarray) -> np.ndarray:
        """What a model's graph makes of probabilities (N, K, h, w): class indices (N, h, w) uint8, the lower of a tie.

        >>> Decision(threshold=0.3).labels(np.array([0.6, 0.4], np.float32).reshape(1, 2, 1, 1)).item()
        1
        """
        if self.threshold != UNDECIDED.threshold:
            probabilities = probabilities.copy()
            probabilities[:, 0] *= self.threshold / (1 - self.threshold)
        return probabilities.argmax(axis=1).astype(np.uint8)

    @property
    def words(self) -> str:
        """How it makes objects, for people."""
        parts = [f"threshold {self.threshold:g}"]
        parts += [f"parted from a depth of {self.split:g} diameters"] if self.split else []
        parts += [f"no part under {self.min_part:g} squared diameters"] if self.split and self.min_part else []
        parts += [f"none under {self.min_size:g} squared diameters"] if self.min_size else []
        parts += ["holes filled"] if self.fill_holes else []
        parts += [f"none whose probability stays under {self.peak:g}"] if self.peak else []
        return ", ".join(parts)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Decision:
        """Of the JSON object that a card holds. Raises ModelError."""
        if strange := sorted({*plain} - {each.name for each in fields(cls)}):
            raise ModelError(f"decision: no field {card_fields.shown(strange[0])} is known; export the model again")
        return cls(**plain)


UNDECIDED = Decision()
