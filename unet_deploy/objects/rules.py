"""What counts as an object, with all of it decided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unet_deploy.objects.runs import Connectivity
from unet_deploy.objects.split import SMOOTHING, Parting


@dataclass(frozen=True)
class Rules:
    """Which pixels of a mask are one object, and which objects count; by default connected components, all of them."""

    connectivity: Connectivity = 4
    """Neighbours of a pixel."""
    min_size: int = 0
    """Objects of fewer pixels are left out."""
    fill_holes: bool = False
    """Whether background inside one object belongs to it."""
    split: float = 0.0
    """How much deeper, in diameters, two parts of a component must be than the neck between them; 0 parts nothing."""
    min_share: float = 0.0
    """Objects of a smaller area are left out too, in squared diameters."""
    min_part: float = 0.0
    """Area that each of two parts has at least, in squared diameters: a smaller one is a bulge of the other."""
    peak: float = 0.0
    """Objects whose probability of being no background reaches it nowhere are left out too; 0 leaves out none. It is
    hysteresis thresholding with this as the upper threshold (Canny 1986, section VI)."""

    @property
    def look_again(self) -> bool:
        """Whether objects are known only once the mask is whole, and is looked at again."""
        return bool(self.split or self.min_share or self.peak)

    def sure(self, probabilities: np.ndarray) -> np.ndarray:
        """Where probabilities (K, h, w) reach the peak: (h, w) bool.

        >>> Rules(peak=0.9).sure(np.array([[[0.5, 0.05]], [[0.5, 0.95]]], np.float32)).tolist()
        [[False, True]]
        """
        return probabilities[0] <= np.float32(1 - self.peak)

    def least(self, diameter: float) -> float:
        """Return the least area of an object that counts, in pixels, by the diameter of those of its page."""
        return max(self.min_size, self.min_share * diameter**2)

    def parting(self, diameter: float) -> Parting:
        """Return how components are parted, by the diameter of the objects of their page, in pixels."""
        return Parting(
            self.split * diameter, SMOOTHING * diameter, self.connectivity, least=self.min_part * diameter**2
        )


COMPONENTS = Rules()
"""Connected components as they are."""
