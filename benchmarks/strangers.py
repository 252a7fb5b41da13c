"""A picture of each held-out set's worst image: the truth, and what two models make of it. Drawn by elsewhere.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from touching import FOUND, TRUE, outline

from unet_deploy import segment
from unet_deploy.evaluation.objects import match_objects
from unet_deploy.evaluation.pairs import Pair, find_pairs, read_pixels
from unet_deploy.evaluation.sheet import draw_legend, grey_picture
from unet_deploy.evaluation.truths import Truth, read_truths
from unet_deploy.objects.parts import objects_of
from unet_deploy.segmentation.options import ObjectRules
from unet_deploy.system.files import replacing
from unet_deploy.zoo import card_of

SHOWN = 640
"""Pixels of an image that are drawn, from its middle."""


def draw_strangers(path: Path, rows: Sequence[tuple[Pair, Sequence[Path]]], names: Sequence[str]) -> None:
    """Write a PNG of an image a row, with the truth and a column for each of its models. names: of the models."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.9 * (2 + len(names)), 3.1 * len(rows) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), 2 + len(names), squeeze=False)
    for row, (pair, models) in zip(axes, rows, strict=True):
        pixels, truth = read_pixels(pair), read_truths([pair], card_of(models[0]).classes)[0]
        crop = tuple(slice(max(0, side - SHOWN) // 2, (side + min(side, SHOWN)) // 2) for side in pixels.shape[-2:])
        for axis in row:
            axis.imshow(grey_picture(pixels)[crop].astype(np.uint8), interpolation="nearest")
            axis.set_axis_off()
        row[0].set_title(pair.name, fontsize=7)
        outline(row[1], truth.objects[crop], TRUE)
        row[1].set_title(f"{len(np.unique(truth.objects)) - 1} nuclei in the image", fontsize=7)
        for axis, name, model in zip(row[2:], names, models, strict=True):
            found, f1 = _seen(model, pixels, truth)
            outline(axis, found[crop], FOUND)
            axis.set_title(f"{name}: {found.max()} found, F1 {f1:.2f}", fontsize=7)
    draw_legend(figure, [("truth", TRUE), ("found", FOUND)])
    with replacing(path, overwrite=True) as beside:
        figure.savefig(beside, format="png", dpi=80)


def pair_of(folder: Path, name: str) -> Pair:
    return next(pair for pair in find_pairs(folder) if pair.name == name)


def _seen(model: Path, pixels: np.ndarray, truth: Truth) -> tuple[np.ndarray, float]:
    """The objects that a model finds as `unet-deploy segment` would, and their F1 at IoU 0.5."""
    labels, scores = segment(pixels[0], model=model, probabilities=True)
    found = objects_of(labels, ObjectRules().decided_by(card_of(model).decision), scores)
    return found, match_objects(found, truth.objects, (0.5,))[0].f1
