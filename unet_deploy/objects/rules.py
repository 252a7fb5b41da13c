"""What counts as an object, with all of it decided."""

from __future__ import annotations

from dataclasses import dataclass

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

    @property
    def measure_first(self) -> bool:
        """Whether objects are known only once the diameter of all is."""
        return bool(self.split or self.min_share)

    def least(self, diameter: float) -> float:
        """Return the least area of an object that counts, in pixels, by the diameter of those of its page."""
        return max(self.min_size, self.min_share * diameter**2)

    def parting(self, diameter: float) -> Parting:
        """Return how components are parted, by the diameter of the objects of their page, in pixels."""
        return Parting(self.split * diameter, SMOOTHING * diameter, self.connectivity)


COMPONENTS = Rules()
"""Connected components as they are."""
