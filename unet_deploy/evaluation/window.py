"""A region of an image that is annotated, and how much around it is read. Integer arithmetic only.

frame          read of the image: the region, CONTEXT around it, no further than the image
  region       annotated: learned from and scored; around it the network only sees what lies there
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from unet_deploy.tiling import Region, Sides

CONTEXT = 256
"""Pixels around a region: more than the margin of a U-Net of five levels, 188, so that its answer inside is the
whole image's."""

_PHASE = 64
"""Pixels of which the corner of a frame is a multiple, for the network to pool as it does in the whole image."""


@dataclass(frozen=True)
class Window:
    """A region of an image that is annotated, in pixels of the image as it is shown."""

    region: Region
    image: Sides
    """Height and width of the whole image."""

    @property
    def frame(self) -> Region:
        """What is read of the image.

        >>> Window(Region(500, 10, 100, 200), (1000, 1000)).frame
        Region(y=192, x=0, height=664, width=466)
        """
        y, x = (max(0, start - CONTEXT) // _PHASE * _PHASE for start in self.region.origin)
        around = Region(y, x, self.region.bottom + CONTEXT - y, self.region.right + CONTEXT - x)
        return around.intersection(Region(0, 0, *self.image))

    @property
    def inside(self) -> Region:
        """Where the region lies in the frame."""
        return self.region.moved(-self.frame.y, -self.frame.x)


def joined(regions: Iterable[Region]) -> list[Region]:
    """Regions from top to bottom, then left to right, those that overlap as one around them, so that none do.

    >>> joined([Region(4, 4, 9, 9), Region(0, 20, 2, 2), Region(0, 0, 5, 5), Region(13, 0, 2, 2)])
    [Region(y=0, x=0, height=13, width=13), Region(y=0, x=20, height=2, width=2), Region(y=13, x=0, height=2, width=2)]
    """
    apart: list[Region] = []
    for region in regions:
        around = region
        while met := [each for each in apart if all(each.intersection(around).sides)]:
            apart = [each for each in apart if each not in met]
            around = _around([*met, around])
        apart.append(around)
    return sorted(apart, key=lambda each: each.origin)


def _around(regions: list[Region]) -> Region:
    y, x = min(each.y for each in regions), min(each.x for each in regions)
    return Region(y, x, max(each.bottom for each in regions) - y, max(each.right for each in regions) - x)
