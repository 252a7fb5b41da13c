"""What lies in a scene: an image, masks, probabilities, and what two masks differ in; each draws its tiles as PNG."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unet_deploy.viewing.difference import COLOURS, difference_tile
from unet_deploy.viewing.layer import GreyLayer, LabelLayer, Layer, ProbabilityLayer
from unet_deploy.viewing.look import label_look_of, shades_of
from unet_deploy.viewing.paint import class_colours, decided, object_colours, painted, png, shaded
from unet_deploy.viewing.zoom import ZoomTile

FIRST_THRESHOLD = 0.5
"""Where probabilities are cut as long as nobody says otherwise."""


@dataclass(frozen=True)
class ShownImage:
    """An image of a scene."""

    name: str
    layer: GreyLayer

    def draw(self, page: int, tile: ZoomTile, look: str) -> bytes:
        """A tile as PNG. look: `look.shades_of` reads it. Raises UsageError and ImageError."""
        shades = shades_of(look)
        return png(shaded(self.layer.tile(page_of(self.layer, page), tile), shades))


@dataclass(frozen=True)
class ShownMask:
    """A mask of a scene. Labels of 8 bits are classes; wider ones number objects."""

    name: str
    layer: LabelLayer
    classes: tuple[str, ...] = ()
    """What its labels are called, the background first; empty where that is not known."""

    @property
    def numbers_objects(self) -> bool:
        """Whether its labels number objects."""
        return self.layer.info.dtype.itemsize > 1

    @property
    def palette(self) -> np.ndarray:
        """The colours that its labels have by themselves."""
        return object_colours() if self.numbers_objects else class_colours()

    def draw(self, page: int, tile: ZoomTile, look: str) -> bytes:
        """A tile as PNG, seen through where there is no label. look: `look.label_look_of` reads it. Raises as above."""
        how = label_look_of(look)
        labels = self.layer.tile(page_of(self.layer, page), tile)
        return png(painted(labels, how.palette(self.palette), how.drawn, how.hidden))


@dataclass(frozen=True)
class ShownProbabilities:
    """Probabilities of a scene, drawn as the mask that a threshold makes of them."""

    name: str
    layer: ProbabilityLayer
    classes: tuple[str, ...] = ()

    def draw(self, page: int, tile: ZoomTile, look: str) -> bytes:
        """A tile as PNG, as that of a mask."""
        how = label_look_of(look)
        labels = decided(self.layer.tile(page_of(self.layer, page), tile), how.threshold or FIRST_THRESHOLD)
        return png(painted(labels, how.palette(class_colours()), how.drawn, how.hidden))


@dataclass(frozen=True)
class ShownDifference:
    """What two masks of one size differ in."""

    first: ShownMask
    second: ShownMask

    @property
    def by_class(self) -> bool:
        """Whether labels are classes in both, so that one of another class is a difference."""
        return not (self.first.numbers_objects or self.second.numbers_objects)

    def draw(self, page: int, tile: ZoomTile, look: str) -> bytes:
        """A tile as PNG; a look says whether it is filled. Raises as above."""
        how = label_look_of(look)
        first, second = (each.layer.tile(page_of(each.layer, page), tile) for each in (self.first, self.second))
        kinds = difference_tile(first, second, by_class=self.by_class)
        return png(painted(kinds, COLOURS, how.drawn, how.hidden))


ShownFile = ShownImage | ShownMask | ShownProbabilities


def layers_of(shown: ShownFile | ShownDifference) -> tuple[Layer, ...]:
    """What is read for it."""
    return (shown.first.layer, shown.second.layer) if isinstance(shown, ShownDifference) else (shown.layer,)


def page_of(layer: Layer, page: int) -> int:
    """The page of a file under one of the others: a single page lies under all."""
    return 0 if layer.info.pages == 1 else page
