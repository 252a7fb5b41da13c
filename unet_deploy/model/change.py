"""What a run changes of a model: the scale at which it sees an image, and how probable a pixel must be to count."""

from __future__ import annotations

from dataclasses import dataclass, replace

from unet_deploy.errors import UsageError
from unet_deploy.model.card import ModelCard
from unet_deploy.model.card_fields import DECISION
from unet_deploy.model.decision import UNDECIDED, Decision
from unet_deploy.model.scaling import Resampling, Scale


@dataclass(frozen=True)
class Change:
    """How a model is to be run otherwise than its file says. Raises UsageError for what there is not.

    >>> Change(scale=0.3).scale_of(16)
    0.29906542056074764
    """

    scale: float = 1.0
    """Pixels of the network for a pixel of the image."""
    threshold: float | None = None
    """As of `Decision`; None for the card's own."""

    def __post_init__(self) -> None:
        Scale.near(self.scale, 1)
        if self.threshold is not None and not DECISION["threshold"].holds(self.threshold):
            raise UsageError(f"--threshold {self.threshold:g}: give a probability between 0 and 1")

    def scale_of(self, stride: int) -> float:
        """The scale that is really taken with a network of this stride."""
        return float(Scale.near(self.scale, stride))

    def resampling(self, card: ModelCard) -> Resampling | None:
        """Where pixels lie for the model of this card; None where it sees the image as it is."""
        scale = Scale.near(self.scale, card.stride)
        return None if scale.network == scale.image else Resampling(card, scale)

    def threshold_of(self, card: ModelCard) -> float:
        return card.decision.threshold if self.threshold is None else self.threshold

    def touches(self, card: ModelCard) -> bool:
        """Whether a graph must be changed, which takes the package onnx."""
        return self.resampling(card) is not None or self.threshold_of(card) != UNDECIDED.threshold

    def of(self, card: ModelCard) -> ModelCard:
        """The card of the model that comes of it: all lengths are in pixels of the image, and so is its answer."""
        decision = replace(card.decision, threshold=self.threshold_of(card))
        resampling = self.resampling(card)
        if resampling is None:
            return replace(card, decision=decision)
        scale = float(resampling.scale)
        return replace(
            card,
            margin=resampling.margin,
            stride=resampling.stride,
            base=resampling.base,
            pixel_size_um=card.pixel_size_um and card.pixel_size_um * scale,
            decision=_enlarged(decision, 1 / scale),
            bytes_per_pixel=card.bytes_per_pixel and card.bytes_per_pixel * scale**2,
        )


AS_IT_IS = Change()


def _enlarged(decision: Decision, factor: float) -> Decision:
    """With lengths so many times as long, of a pixel at least."""
    diameter, span = decision.diameter, decision.diameters
    return replace(
        decision,
        diameter=diameter and max(1.0, diameter * factor),
        diameters=span and (max(1.0, span[0] * factor), max(1.0, span[1] * factor)),
    )
