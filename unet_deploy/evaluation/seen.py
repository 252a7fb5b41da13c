"""Which images a model was trained on: its card keeps a digest of each, so that scores on them are told apart."""

from __future__ import annotations

import hashlib

import numpy as np

from unet_deploy.evaluation.split import Part, Split
from unet_deploy.model.card import ModelCard
from unet_deploy.tiling import Region

OF_ONE = "of the only image"
"""How a card ends its words of what was held back, where that was blocks of the one image that there was."""

_LENGTH = 12
"""Hexadecimal digits of a digest: that one of a million other images has one of a thousand is 1 to 280 000."""


def digest_of(pixels: np.ndarray) -> str:
    """By what an image (C, H, W) of pixels as stored is known again, whatever its file is called and how it is packed.

    >>> digest_of(np.zeros((1, 2, 3), np.uint8))
    '2567296309d6'
    """
    digest = hashlib.sha256(f"{pixels.dtype.name} {pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("=")).data)
    return digest.hexdigest()[:_LENGTH]


def was_trained_on(
    card: ModelCard, pixels: np.ndarray, part: Part, split: Split | None, inside: Region | None = None
) -> bool:
    """Whether a model was trained on what is scored of an image (C, H, W), as far as its card tells.

    A block of an image that was trained on is new to the model where the split held it back then too.
    inside: where an annotated region lies in the pixels, which are then known by those of the region alone.
    """
    if part.region and split and card.split.startswith(f"{split.rule} held back") and card.split.endswith(OF_ONE):
        return False
    of_region = inside is not None and digest_of(pixels[(..., *inside.slices)]) in card.training_images
    return of_region or digest_of(pixels) in card.training_images
