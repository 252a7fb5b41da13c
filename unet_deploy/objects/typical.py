"""The diameter of typical objects, by area and not by count: specks that a network finds say little."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from unet_deploy.objects import Objects
from unet_deploy.objects.records import perimeters
from unet_deploy.tiling import Region


def diameter(areas: np.ndarray, around: np.ndarray | None = None) -> float | None:
    """Return the diameter of the objects of an image in pixels, from (n,) components; None where there are none.

    It is a median: half of all pixels are in components no larger. So specks count for little, and a few clusters too,
    which would enlarge a mean. A component's diameter is that of a disc of its area, but where this is more than twice
    four times the area by the perimeter, the latter: that of any number of equal discs that touch is one disc's.
    around: the perimeters of components that may be several objects each.

    >>> areas, around = np.array([3, 300, 310, 320, 640, 9600]), np.array([6, 62, 63, 64, 125, 1900])
    >>> round(diameter(areas[:4], around[:4]), 1), round(diameter(areas, around), 1)
    (19.9, 20.2)
    """
    if not len(areas):
        return None
    across = np.sqrt(4 / np.pi * areas)
    if around is not None:
        thick = 4 * areas / around
        across = np.where(across > 2 * thick, thick, across)
    order = np.argsort(across, kind="stable")
    up_to = np.cumsum(areas[order])
    return float(across[order][np.searchsorted(up_to, up_to[-1] / 2)])


def _none() -> np.ndarray:
    return np.zeros(0)


@dataclass(frozen=True, eq=False)
class Components:
    """Areas and perimeters of the components of a mask; those of several pieces of a mask can be added.

    >>> labels = np.zeros((8, 8), np.uint8)
    >>> labels[1:5, 1:5], labels[7, 7] = 1, 1
    >>> seen = Components.of(labels)
    >>> len(seen), round(seen.diameter, 2)
    (2, 4.51)
    """

    areas: np.ndarray = field(default_factory=_none)
    """(n,) float64, pixels."""
    around: np.ndarray = field(default_factory=_none)
    """(n,) float64, perimeters in pixels."""

    @classmethod
    def of(cls, labels: np.ndarray, step: int = 1) -> Components:
        """Of class indices (h, w) uint8, the background 0: the connected pixels of each class.

        step: look at each so many-th pixel of each so many-th row alone; lengths are in pixels all the same.
        """
        seen = np.ascontiguousarray(labels[::step, ::step])
        everywhere = Region(0, 0, *seen.shape)
        objects = Objects(everywhere, channels=0, classes=())
        objects.add(everywhere, np.zeros((0, *seen.shape), np.uint8), seen)
        rows = objects.finish().rows
        return cls(rows["area"] * float(step**2), perimeters(rows, step, step))

    @property
    def diameter(self) -> float | None:
        """Of a typical object in pixels; None where there is none."""
        return diameter(self.areas, self.around)

    def __len__(self) -> int:
        return len(self.areas)

    def __add__(self, other: Components) -> Components:
        parts = zip((self.areas, self.around), (other.areas, other.around), strict=True)
        return Components(*map(np.concatenate, parts))
