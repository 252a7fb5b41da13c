"""What counts as an object, with all of it decided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unet_deploy.objects.runs import Connectivity
from unet_deploy.objects.split import SMOOTHING, Parting, diameter


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

    @property
    def measure_first(self) -> bool:
        """Whether objects are known only once the diameter of all is."""
        return bool(self.split or self.min_share)

    def least(self, areas: np.ndarray) -> float:
        """Return the least area of an object that counts, in pixels, by those (n,) of the page's components."""
        return max(self.min_size, self.min_share * diameter(areas) ** 2)

    def parting(self, areas: np.ndarray) -> Parting | None:
        """Return how the components of a page are parted, by their areas (n,) in pixels; None where they are not."""
        if not self.split or not len(areas):
            return None
        across = diameter(areas)
        return Parting(self.split * across, SMOOTHING * across, self.connectivity)


COMPONENTS = Rules()
"""Connected components as they are."""
