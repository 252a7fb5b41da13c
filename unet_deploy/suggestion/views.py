"""A contact sheet of suggested regions: what the model found in each, and where it is unsure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unet_deploy.masks.overlay import Overlay, legend
from unet_deploy.model.decision import Decision
from unet_deploy.stream.pipeline import DoneTile
from unet_deploy.system.colours import YELLOW
from unet_deploy.system.files import replacing
from unet_deploy.tiling import Region

PANEL = 320
"""Pixels a side that a region is drawn with, at most."""

_GAP, _CAPTION, _LETTERS = 6, 22, 14

_DIM = 0.6
"""Of its light an image keeps where it is drawn below the doubts."""


class View:
    """A consumer of the tiles of one region, which keeps every so many-th pixel: as many as are drawn."""

    def __init__(self, region: Region, decision: Decision) -> None:
        self._region, self._decision = region, decision
        self._step = math.ceil(max(region.sides) / PANEL)
        self._sides = tuple(math.ceil(side / self._step) for side in region.sides)
        self._pixels: np.ndarray | None = None
        self.labels = np.zeros(self._sides, np.uint8)
        self.doubts = np.zeros(self._sides, np.float32)
        """From 0 to 1."""

    def __call__(self, done: DoneTile, /) -> None:
        inside = done.tile.write.intersection(self._region)
        if not inside.height or not inside.width or done.probabilities is None:
            return
        part = done.cut(inside)
        offsets = inside.y - self._region.y, inside.x - self._region.x
        kept = tuple(slice(-offset % self._step, None, self._step) for offset in offsets)
        doubts = self._decision.doubts(done.probabilities)[inside.slices_in(done.tile.write)][kept]
        there = tuple(
            slice(-(-offset // self._step), -(-offset // self._step) + side)
            for offset, side in zip(offsets, doubts.shape, strict=True)
        )
        if self._pixels is None:
            self._pixels = np.zeros((len(part.image), *self._sides), part.image.dtype)
        self._pixels[(slice(None), *there)] = part.image[(slice(None), *kept)]
        self.labels[there], self.doubts[there] = part.labels[kept], doubts

    @property
    def pixels(self) -> np.ndarray:
        """(C, h, w), once a tile was there."""
        assert self._pixels is not None
        return self._pixels


def draw_sheet(
    path: Path, views: Sequence[View], captions: Sequence[str], classes: Sequence[str], *, overwrite: bool = False
) -> None:
    """Write a PNG of regions with a caption each, in rows. classes: background first."""
    across = math.ceil(math.sqrt(len(views) / 2))
    wide, tall = 2 * PANEL + 4 * _GAP, PANEL + _CAPTION + _GAP
    sheet = Image.new("RGB", (across * wide, math.ceil(len(views) / across) * tall + _CAPTION))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_LETTERS)
    for at, (view, caption) in enumerate(zip(views, captions, strict=True)):
        y, x = at // across * tall, at % across * wide
        for panel, picture in enumerate((_found(view, classes), _unsure(view))):
            enlarged = Image.fromarray(picture).resize((PANEL, PANEL), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (x + panel * (PANEL + _GAP), y))
        pen.text((x, y + PANEL + _CAPTION / 2), caption, "white", font, anchor="lm")
    said = "left: what the model found; right: where it is unsure, in yellow"
    pen.text((0, sheet.height - _CAPTION / 2), said, "white", font, anchor="lm")
    picture = np.asarray(sheet)
    if len(classes) > 2:
        picture = np.concatenate([picture, legend(classes[1:], picture.shape[1])])
    with replacing(path, overwrite=overwrite) as beside:
        beside.write_bytes(imagecodecs.png_encode(picture))


def _found(view: View, classes: Sequence[str]) -> np.ndarray:
    """The image with what was found in it, as `segment --overlay` draws it: (h, w, 3) uint8."""
    return _picture(view.pixels, view.labels, classes)


def _unsure(view: View) -> np.ndarray:
    """The image in the dark, and doubts in yellow: (h, w, 3) uint8."""
    below = _picture(view.pixels, np.zeros_like(view.labels), ("", ""))
    doubts = view.doubts[..., None]
    return (_DIM * below * (1 - doubts) + np.array(YELLOW) * doubts).astype(np.uint8)


def _picture(pixels: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    everywhere = Region(0, 0, *labels.shape)
    picture = Overlay(everywhere, len(pixels), classes)
    picture.add(everywhere, pixels, labels)
    return picture.picture()
