"""A picture of objects that touch: the truth, and what several networks make of it. Drawn by ablations.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from unet_deploy.evaluation.objects import connected_objects, count_merged, mergers
from unet_deploy.evaluation.pairs import Pair, read_pixels
from unet_deploy.evaluation.sheet import draw_legend, grey_picture
from unet_deploy.evaluation.truths import Truth
from unet_deploy.system.files import replacing

CROPS, SIDE = 4, 128
"""How many crops are shown, one an image, and their side in pixels."""

# Okabe and Ito's green, sky blue and vermilion.
TRUE, FOUND, MERGED = (0, 158, 115), (86, 180, 233), (213, 94, 0)


def draw_touching(
    path: Path,
    pairs: Sequence[Pair],
    truths: Sequence[Truth],
    names: Sequence[str],
    labels: Sequence[Sequence[np.ndarray]],
) -> None:
    """Write a PNG of the crops where most true objects touch: image, truth, and a column for each network.

    names: of the networks. labels: of each network, the class indices (H, W) of each image.
    """
    from matplotlib.figure import Figure

    places = [most_touching(truth.objects) for truth in truths]
    chosen = sorted(range(len(pairs)), key=lambda at: -places[at][0])[:CROPS]
    figure = Figure(figsize=(2.3 * (2 + len(names)), 2.45 * len(chosen) + 0.6), layout="constrained")
    axes = figure.subplots(len(chosen), 2 + len(names), squeeze=False)
    for row, at in zip(axes, chosen, strict=True):
        touching, crop = places[at]
        picture = grey_picture(read_pixels(pairs[at]))[crop].astype(np.uint8)
        truth = truths[at].objects[crop]
        for axis in row:
            axis.imshow(picture, interpolation="nearest")
            axis.set_axis_off()
        row[0].set_title(pairs[at].name[:12], fontsize=7)
        outline(row[1], truth, TRUE)
        row[1].set_title(f"{len(np.unique(truth[truth > 0]))} nuclei, {touching} pairs touch", fontsize=7)
        for axis, name, masks in zip(row[2:], names, labels, strict=True):
            found = connected_objects(masks[at][crop] > 0)
            joined = np.isin(found, list(mergers(found, truth)))
            axis.imshow(tinted(picture, joined), interpolation="nearest")
            outline(axis, np.where(joined, 0, found), FOUND)
            outline(axis, np.where(joined, found, 0), MERGED)
            axis.set_title(f"{name}: {count_merged(found, truth)} merged", fontsize=7)
    figure.suptitle(f"all {len(pairs)} images that were held back: {_totals(truths, names, labels)}", fontsize=8)
    draw_legend(figure, [("truth", TRUE), ("found as one nucleus", FOUND), ("several nuclei merged into one", MERGED)])
    with replacing(path, overwrite=True) as beside:
        figure.savefig(beside, format="png", dpi=90)


def _totals(truths: Sequence[Truth], names: Sequence[str], labels: Sequence[Sequence[np.ndarray]]) -> str:
    merged = [
        sum(count_merged(connected_objects(each > 0), truth.objects) for each, truth in zip(masks, truths, strict=True))
        for masks in labels
    ]
    return ", ".join(f"{count} nuclei merged into others {name}" for count, name in zip(merged, names, strict=True))


def most_touching(objects: np.ndarray) -> tuple[int, tuple[slice, slice]]:
    """Of numbered objects (H, W), the window of SIDE pixels that most pairs touch in, and how many those are."""
    points = np.zeros(objects.shape, np.float32)
    for y, x in touching_pairs(objects).values():
        points[y, x] += 1
    (height, width), (tall, wide) = objects.shape, (min(SIDE, side) for side in objects.shape)
    shares = ndimage.uniform_filter(points, (tall, wide), mode="constant")
    # Where a pixel's window lies inside the image: uniform_filter reaches side // 2 up and to the left of it.
    inside = shares[tall // 2 : height - (tall - 1) // 2, wide // 2 : width - (wide - 1) // 2]
    top, left = (int(at) for at in np.unravel_index(int(inside.argmax()), inside.shape))
    crop = slice(top, top + tall), slice(left, left + wide)
    return len(touching_pairs(objects[crop])), crop


def touching_pairs(objects: np.ndarray) -> dict[tuple[int, int], tuple[int, int]]:
    """Pairs of numbered objects that share a pixel edge, the smaller number first, and a pixel y, x where they do."""
    found: dict[tuple[int, int], tuple[int, int]] = {}
    for axis in (0, 1):
        first, second = (np.moveaxis(objects, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        where = np.nonzero((first != second) & (first > 0) & (second > 0))
        for a, b, at, across in zip(first[where].tolist(), second[where].tolist(), *where, strict=True):
            found.setdefault((min(a, b), max(a, b)), (int(at), int(across)) if axis == 0 else (int(across), int(at)))
    return found


def outline(axis: Any, objects: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Draw a line around each numbered object (H, W)."""
    for label in np.unique(objects[objects > 0]):
        within = np.pad(objects == label, 1).astype(np.float32)
        y, x = (np.arange(-1, side + 1) for side in objects.shape)
        axis.contour(x, y, within, [0.5], colors=[[part / 255 for part in colour]], linewidths=0.9)


def tinted(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) with MERGED laid over some of its pixels."""
    shown = picture.astype(np.float32)
    shown[where] = 0.55 * shown[where] + 0.45 * np.array(MERGED, np.float32)
    return shown.astype(np.uint8)
