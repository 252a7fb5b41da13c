"""What the network says of whole images while it is trained: tiled and mirrored as when it is used."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trainer.data import Annotated
from trainer.unet import UNet
from unet_deploy.evaluation.overlap import Overlap
from unet_deploy.images.array import ArraySource
from unet_deploy.runtimes import DEFAULT_TILE
from unet_deploy.tiling import plan_tiles


@torch.no_grad()
def predict(model: UNet, image: np.ndarray, device: torch.device) -> Tensor:
    """Logits (K, H, W) of a normalised image (C, H, W), tiled and mirrored as in `unet-deploy segment`."""
    model.eval()
    source = ArraySource(image)
    _, height, width = image.shape
    out: Tensor | None = None
    for tile in plan_tiles(height, width, model, tile=DEFAULT_TILE):
        pixels = torch.from_numpy(np.ascontiguousarray(source.read(0, tile.read)))[None].to(device)
        logits = model(pixels)[0, :, : tile.write.height, : tile.write.width].float()
        if out is None:
            out = logits.new_empty((len(logits), height, width))
        out[(slice(None), *tile.write.slices)] = logits
    assert out is not None
    return out


def validate(model: UNet, images: Sequence[Annotated], classes: Sequence[int], device: torch.device) -> float:
    """Score a network on images that it was not trained on.

    Returns the mean over images of the mean Dice of those of `classes` that occur in truth or prediction; NaN where
    the network answers NaN or infinity, among which a label would be chosen without a word.
    """
    scores = []
    for each in images:
        logits = predict(model, each.image, device)
        if not logits.isfinite().all():
            return math.nan
        labels = each.of_known(logits.argmax(0).cpu().numpy())
        overlaps = [Overlap.of(labels == k, each.labels == k) for k in classes]
        dices = [overlap.dice for overlap in overlaps if overlap.predicted or overlap.true]
        scores.append(sum(dices) / len(dices) if dices else 1.0)
    return sum(scores) / len(scores)
