"""What decides a training: every number with its unit and its reason, and the two presets.

Sections, equations and figures are those of Ronneberger, Fischer and Brox 2015, "U-Net"; what has none is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from unet_deploy.errors import UsageError
from unet_deploy.model.decision import UNDECIDED, Decision

OPTIONS = {
    "width": "--width",
    "depth": "--depth",
    "tile": "--tile-size",
    "batch": "--batch-size",
    "steps": "--steps",
    "learning_rate": "--learning-rate",
    "w0": "--border-weight",
    "diameter": "--diameter",
    "seed": "--seed",
    "draw": "--draw",
    "max_minutes": "--max-minutes",
    "patience": "--patience",
}
"""By which option of the command a field of a recipe is chosen; what is not here comes with the preset."""

_LIMITS = {
    "width": (1, 1024),
    "depth": (1, 6),
    "tile": (1, 1 << 14),
    "batch": (1, 1024),
    "steps": (1, 10**9),
    "learning_rate": (1e-12, 10),
    "w0": (0, 1e6),
    "diameter": (4, 512),
    "seed": (0, 2**64 - 1),  # PyTorch's generators take 64 bits
    "max_minutes": (0.01, 1e6),
    "patience": (1, 10**6),
}
"""The least and the most that a field may be."""

STRONGEST = 100.0
"""Of augmentation, in the preset's: far beyond, grey values leave what float32 can hold."""


def _check(option: str, value: float, least: float, most: float) -> None:
    """Raise UsageError where a value lies outside, or is NaN."""
    if not least <= value <= most:
        raise UsageError(f"{option} {value}: give a number of {least} to {most}")


@dataclass(frozen=True)
class Augmentation:
    """How far a tile may differ from the image it was cut from."""

    elastic: float = 10.0
    """Pixels: standard deviation of the displacements of a 3x3 grid (section 3.1)."""
    scale: float = 0.1
    """Standard deviation of the logarithm of the zoom: one tile in three is over a tenth larger or smaller."""
    grey: float = 0.1
    """Standard deviation of the logarithms of gain and gamma; section 3.1 names grey values, and no number."""
    noise: float = 0.06
    """Largest standard deviation of added noise, in network input units, where 1 is the brightest of an image."""
    blur: float = 0.1
    """Share of tiles that are blurred by one to three 3x3 box filters, as images out of focus are."""
    elsewhere: float = 0.0
    """Share of tiles that are changed as if another laboratory had taken them: haze, light, debris, focus, camera."""
    border: Literal["reflection", "zeros"] = "reflection"
    """What hangs over the image: its mirror (section 2, the overlap-tile strategy), or nothing."""

    def times(self, factor: float) -> Augmentation:
        """The same with zoom, grey values, noise and blur that vary by `factor` as much; shapes bend as before."""
        return replace(
            self,
            scale=self.scale * factor,
            grey=self.grey * factor,
            noise=self.noise * factor,
            blur=min(1.0, self.blur * factor),
        )


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training gives, data apart."""

    width: int = 64
    """Channels of the first level, doubled at each level below (figure 1)."""
    depth: int = 4
    """Levels below the first (figure 1)."""
    dropout: float = 0.0
    """Probability at the end of the contracting path, 0.5 in the paper (section 3.1)."""
    tile: int = 444
    """Pixels a side of the input: at depth 4 any 188 + 16 k. The loss is taken over the 260 in its middle."""
    batch: int = 2
    """Tiles a step, each around a random point of a random image; the paper takes one larger tile (section 3)."""
    steps: int = 6000
    """Steps of the optimizer; the rate falls to a hundredth over them."""
    optimizer: Literal["muon", "adamw", "sgd"] = "muon"
    """Muon is better after 2000 steps than AdamW after 6000 (docs/training.md); sgd is the paper's."""
    learning_rate: float = 5e-4
    """At 2e-3 Muon trains faster still, until on sparse data, nuclei, no unit of the deep levels answers any more."""
    momentum: float = 0.99
    """Of sgd: with one tile a step, the gradient is that of many tiles seen before (section 3)."""
    weight_decay: float = 1e-4
    """Share of a weight that a step takes off at a rate of 1; in sgd, the factor of the L2 term."""
    warmup: int = 200
    """Steps over which the rate rises from 0, while the optimizer's running means are of a few gradients only."""
    clip: float | None = 1.0
    """Largest norm of the gradient, so that one odd tile does not throw the weights; None leaves it as it is."""
    w0: float = 10.0
    """Weight of the gaps between objects that touch (equation 2); 0 leaves them out."""
    sigma: float = 5.0
    """Pixels: how wide a gap still counts (equation 2)."""
    balance: float = 0.25
    """Classes weigh frequency^-balance: 1 gives each the same share of the loss, as in section 3, 0 each pixel."""
    average: float = 0.999
    """Decay a step of the running mean of the weights, of about the last thousand steps: what is evaluated and kept.
    0 keeps the weights themselves."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    draw: Literal["classes", "uniform"] = "classes"
    """Where tiles are drawn: anywhere, or so that each class is in a third of them, as far as that goes."""
    diameter: float | None = None
    """Pixels: each image is brought to this diameter of its objects; None takes images as they are."""
    seed: int = 0
    """Of the first weights, and with the number of a step of all that it draws."""
    max_minutes: float | None = None
    """After which a training has ended, its last validation included; the rate then follows the time where more of that
    is gone than of the steps. None for as long as the steps take."""
    patience: int | None = None
    """Validations without a better score after which a training ends; None for all steps."""

    def __post_init__(self) -> None:
        """Raise UsageError for a value that no training can have, NaN included."""
        for name, (least, most) in _LIMITS.items():
            if getattr(self, name) is not None:
                _check(OPTIONS[name], getattr(self, name), least, most)

    @property
    def cosine(self) -> bool:
        """Whether the rate warms up and then falls along half a cosine; sgd keeps it, as the paper does."""
        return self.optimizer != "sgd"


KNOWN = 0.7, 1.6
"""Diameters about the one it was trained at that a network knows as well, as zoom showed them to it."""


def first_decision(diameter: float | None) -> Decision:
    """What is decided before a training on objects of this diameter in pixels; None for images as they are."""
    if not diameter:
        return UNDECIDED
    return Decision(diameter=diameter, diameters=(KNOWN[0] * diameter, KNOWN[1] * diameter))


PRESETS = {
    "modern": Recipe(),
    # Section 3: stochastic gradient descent, momentum 0.99, one large tile a step, classes balanced; 3.1: dropout.
    "paper": Recipe(
        dropout=0.5,
        tile=572,  # figure 1
        batch=1,
        optimizer="sgd",
        learning_rate=1e-3,
        weight_decay=0.0,
        warmup=0,
        clip=None,
        balance=1.0,
        average=0.0,
        draw="uniform",
        augmentation=Augmentation(scale=0.0, noise=0.0, blur=0.0),
    ),
}

TUNING = Recipe(
    # Muon turns a kernel by a spectral norm of 10 * rate a step, half of that in the mean of the cosine: 1000 steps
    # move it by 0.5 at most, of the 2 or so that it starts with. What the parent knows is bent, and not written over.
    learning_rate=1e-4,
    steps=1000,  # ten minutes on two cores at width 16; of a few images more steps learn them by heart
    warmup=50,  # Muon's running mean is of about 20 gradients
    # Of a few images, two tiles in three are to differ from them in light and size by more than a tenth; five times as
    # far, as for images of several microscopes, would blur what is particular to this one.
    augmentation=Augmentation().times(2),
)
"""How a model that is nearly right is trained further; width, depth and diameter are the model's own."""

EVALUATE_EVERY, EVALUATE_EVERY_TUNING = 500, 100
"""Steps between validations: a dozen in a training from nothing, ten in one from a model."""


def tailored(preset: Recipe, *, strength: float = 1.0, elsewhere: float = 0.0, **changes: float | str | None) -> Recipe:
    """A preset with some of its values changed; None keeps the preset's.

    strength: of the augmentation, in the preset's. elsewhere: share of tiles that look as from another laboratory.
    Raises UsageError for values that no training can have.
    """
    _check("--augmentation", strength, 0, STRONGEST)
    _check("--elsewhere", elsewhere, 0, 1)
    chosen: dict[str, Any] = {key: value for key, value in changes.items() if value is not None}
    return replace(preset, augmentation=replace(preset.augmentation.times(strength), elsewhere=elsewhere), **chosen)
