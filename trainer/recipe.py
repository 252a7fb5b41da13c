"""What decides a training, and the two presets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from trainer.augment import Augmentation
from unet_deploy.model.card import Normalization


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training gives, data apart."""

    width: int = 64
    depth: int = 4
    dropout: float = 0.0
    tile: int = 444
    batch: int = 2
    steps: int = 6000
    optimizer: Literal["muon", "adamw", "sgd"] = "muon"
    learning_rate: float = 5e-4
    """At 2e-3 Muon trains faster still, until on sparse data, nuclei, no unit of the deep levels answers any more."""
    momentum: float = 0.99
    """Of sgd."""
    weight_decay: float = 1e-4
    warmup: int = 200
    clip: float | None = 1.0
    """Largest norm of the gradient; None leaves it as it is."""
    w0: float = 10.0
    sigma: float = 5.0
    balance: float = 0.25
    average: float = 0.999
    """Decay of the running mean of the weights, which is what is evaluated and kept; 0 keeps the weights."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0

    @property
    def cosine(self) -> bool:
        return self.optimizer != "sgd"


PRESETS = {
    "modern": Recipe(),
    # Section 3: stochastic gradient descent, momentum 0.99, one large tile a step, classes balanced.
    "paper": Recipe(
        dropout=0.5,
        tile=572,
        batch=1,
        optimizer="sgd",
        learning_rate=1e-3,
        weight_decay=0.0,
        warmup=0,
        clip=None,
        balance=1.0,
        average=0.0,
        augmentation=Augmentation(scale=0.0, noise=0.0, blur=0.0),
    ),
}


def tailored(preset: Recipe, *, strength: float = 1.0, **changes: float | None) -> Recipe:
    """A preset with some of its values changed; None keeps the preset's.

    strength: of the augmentation, in the preset's.
    """
    chosen: dict[str, Any] = {key: value for key, value in changes.items() if value is not None}
    return replace(preset, augmentation=preset.augmentation.times(strength), **chosen)


@dataclass(frozen=True)
class About:
    """What the model card will say and training cannot know."""

    classes: tuple[str, ...] = ("background", "foreground")
    normalization: Normalization = field(default_factory=Normalization)
    pixel_size_um: float | None = None
    trained_on: str = ""
    license: str = ""
    command: str = ""
