"""Pictures of a training, to look at: curves, and outlines on validation images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.data import Annotated
from trainer.predict import predict
from trainer.unet import UNet
from trainer.weights import MAKER
from unet_deploy.evaluation.overlap import Overlap
from unet_deploy.evaluation.sheet import compared
from unet_deploy.evaluation.split import Part
from unet_deploy.system.colours import ORANGE, SKY_BLUE, hex_colour
from unet_deploy.system.files import replacing
from unet_deploy.tiling import Region

_BLOCKS, _BLOCK = 3, 512
"""How many pictures of a validation there are, and their most pixels a side."""


def draw_curves(path: Path, log: Sequence[dict[str, float]]) -> None:
    """Draw loss and validation score over steps, as a PNG."""
    figure, (axis,) = _figure(7, 4)
    steps = [row["step"] for row in log]
    axis.plot(steps, [row["loss"] for row in log], color="#0072B2", label="training loss")
    axis.set_xlabel("step")
    axis.set_ylabel("weighted cross-entropy")
    other = axis.twinx()
    other.plot(steps, [row["score"] for row in log], color="#D55E00", label="validation Dice")
    other.set_ylabel("mean Dice")
    figure.legend(loc="upper center", ncols=2, frameon=False)
    with replacing(path, overwrite=True) as beside:
        figure.savefig(beside, format="png", dpi=120, metadata={"Software": MAKER})


def draw_validation(path: Path, model: UNet, images: Sequence[Annotated], device: torch.device) -> None:
    """Draw up to nine validation images with the outlines of truth and prediction, as a PNG."""
    picked = [images[round(at)] for at in np.linspace(0, len(images) - 1, min(9, len(images)))]
    columns = math.ceil(math.sqrt(len(picked)))
    figure, axes = _figure(4 * columns, 4 * math.ceil(len(picked) / columns), len(picked), columns)
    for axis, each in zip(axes, picked, strict=True):
        labels = each.of_known(predict(model, each.image, device).argmax(0).cpu().numpy())
        axis.imshow(each.image[0], cmap="gray", vmin=0, vmax=1)
        for truth, colour in ((each.labels, hex_colour(SKY_BLUE)), (labels, hex_colour(ORANGE))):
            if truth.any():
                axis.contour(truth > 0, [0.5], colors=colour, linewidths=0.8)
        dice = Overlap.of(labels > 0, each.labels > 0).dice
        axis.set_title(f"{each.name}: Dice {dice:.3f}", fontsize=8)
        axis.set_axis_off()
    figure.suptitle("truth blue, prediction orange", fontsize=9)
    with replacing(path, overwrite=True) as beside:
        figure.savefig(beside, format="png", dpi=100, metadata={"Software": MAKER})


def compare_blocks(model: UNet, images: Sequence[Annotated], device: torch.device) -> dict[str, np.ndarray]:
    """The middle of the first images held back, what the model gets wrong in colour: (h, w, 3) uint8 each, by name."""
    shown = {}
    for each in images[:_BLOCKS]:
        height, width = each.labels.shape
        side = min(height, width, _BLOCK)
        block = each.part(Part(0, Region((height - side) // 2, (width - side) // 2, side, side)), each.name)
        labels = block.of_known(predict(model, block.image, device).argmax(0).cpu().numpy())
        shown[each.name] = compared(block.image, labels, block.labels)
    return shown


def _figure(width: float, height: float, count: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """Make a Matplotlib figure without a window, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = [figure.add_subplot(math.ceil(count / columns), columns, at + 1) for at in range(count)]
    return figure, axes
