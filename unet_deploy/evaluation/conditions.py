"""How a model was evaluated, in the words that stand in its card beside the figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unet_deploy.objects.rules import COMPONENTS, Rules


@dataclass(frozen=True)
class Conditions:
    """What figures are of; without it they cannot be compared.

    >>> print(Conditions(56, Path("data/dsb2018"), "every:10", objects=Rules(min_size=20)))
    56 images of dsb2018, validation every:10, objects of 20 pixels and more
    """

    images: int
    data: Path
    """The folder of images and masks, or the image stack."""
    validation: str | None = None
    """What training held back, in the words of `train --validation`, where only that was evaluated."""
    tta: bool = False
    """Whether the answer was the mean over eight orientations."""
    objects: Rules = COMPONENTS
    """What of the prediction counted as an object."""
    trained_on: int = 0
    """How many of the images the model was trained on."""

    def __str__(self) -> str:
        words = [f"{self.images} images of {self.data.resolve().stem}"]
        words += [f"validation {self.validation}"] if self.validation else []
        words += ["mean of 8 orientations"] if self.tta else []
        words += self._objects()
        words += [f"{self.trained_on} of them trained on"] if self.trained_on else []
        return ", ".join(words)

    def _objects(self) -> list[str]:
        rules = self.objects
        words = [f"objects of {rules.min_size} pixels and more"] if rules.min_size else []
        words += [f"objects of {rules.min_share:g} squared diameters and more"] if rules.min_share else []
        words += ["holes filled"] if rules.fill_holes else []
        words += [f"objects parted at {rules.split:g} diameters"] if rules.split else []
        words += [f"parts of {rules.min_part:g} squared diameters and more"] if rules.split and rules.min_part else []
        return words + ([f"objects of a probability of {rules.peak:g} somewhere"] if rules.peak else [])
