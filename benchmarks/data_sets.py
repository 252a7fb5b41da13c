"""The data sets of docs/results.md: their classes, the images that are held back, and how fast they train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unet_deploy.evaluation.pairs import Pair
from unet_deploy.evaluation.split import split


@dataclass(frozen=True)
class DataSet:
    """What every training on a data set has in common."""

    classes: tuple[str, ...]
    held_back: str
    """As `unet-deploy train --validation` takes it."""
    learning_rate: float

    def validation(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Those that are held back."""
        return [pairs[index] for index in split([pair.name for pair in pairs], self.held_back)[1]]


# Where objects fill the image, a high rate of learning leaves no unit without an answer.
ISBI = DataSet(("membrane", "cell"), "last:6", 2e-3)
NUCLEI = DataSet(("background", "nucleus"), "every:10", 5e-4)
AXONS = DataSet(("background", "myelin", "axon"), "names:rat7_sample-Maxo03img60,rat8_sample-V915", 2e-3)
AXON_AUGMENTATION = 5.0
"""Eight images of six rats, of different magnification and contrast."""
DEEPER, DEEPER_TILE = 5, 636
"""A depth that sees more than the widest axon, and the tile of which it answers as much as depth 4 does of 444."""
