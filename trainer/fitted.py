"""Images brought to the size of objects that the network is to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import interpolate

from trainer.data import Annotated, separate
from unet_deploy.objects.typical import diameter

LEAST, MOST = 0.1, 4.0
"""How many times smaller and larger an image is made, at most."""


def diameter_of(objects: np.ndarray) -> float | None:
    """The diameter in pixels of the numbered objects (H, W) of an image, 0 the background; None where it has none."""
    areas = np.bincount(objects.ravel())[1:]
    return diameter(areas[areas > 0])


def factors(images: Sequence[Annotated], wanted: float) -> list[float]:
    """How many times larger each image is to be made; one without objects as its fellows are in the middle."""
    found = [diameter_of(each.objects) for each in images]
    usual = float(np.median([each for each in found if each] or [wanted]))
    return [float(np.clip(wanted / (each or usual), LEAST, MOST)) for each in found]


def shrunk(image: Annotated, factor: float) -> Annotated:
    """An image made smaller, or left with its `zoom`: what is to be larger is enlarged as a tile is drawn."""
    if factor >= 1:
        return replace(image, zoom=factor)
    return resized(image, factor)


def resized(image: Annotated, factor: float) -> Annotated:
    """An image `factor` times as large: grey values antialiased, each truth that of the nearest pixel."""
    sides = tuple(max(2, round(side * factor)) for side in image.labels.shape)
    if sides == image.labels.shape:
        return image
    grey = interpolate(
        torch.from_numpy(image.image)[None], size=sides, mode="bilinear", antialias=True, align_corners=False
    )[0].numpy()
    places = [
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)
        for new, old in zip(sides, image.labels.shape, strict=True)
    ]
    there = np.ix_(*places)
    objects, labels = image.objects[there], image.labels[there]
    parted = separate(objects, labels)
    labels = np.where((parted == 0) & (objects > 0), 0, labels).astype(np.uint8)
    known = None if image.known is None else image.known[there]
    return replace(image, image=grey, labels=labels, objects=parted, known=known)
