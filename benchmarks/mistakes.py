"""What a model gets wrong on ISBI 2012: how far from the drawn edges, and which splits and mergers.

`python benchmarks/mistakes.py MODEL DATA`: slices 24 to 29, mean of 8 orientations, each measure at its best threshold,
as `unet-deploy evaluate` finds it. A body is an object drawn inside another one, as a mitochondrion is in its cell.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from data_sets import ISBI
from record import save
from registration import LABELS, VOLUME
from scipy import ndimage

from trainer.data import find_pairs, read_pixels, read_truths
from trainer.evaluate import CUTS
from trainer.metrics import pixel_error, splits_and_mergers, warp, warping_error
from unet_deploy.models import open_model
from unet_deploy.runtimes import Runtime
from unet_deploy.segmentation import segment_array

NEAR = (1, 2, 3)
"""Pixels from the drawn edge; those beside it are at 1."""
EIGHT = np.ones((3, 3))
"""What is not cell is 8-connected, as in the warping error."""


def main() -> None:
    model, folder = map(Path, sys.argv[1:])
    pairs = ISBI.judges(find_pairs(folder / VOLUME, folder / LABELS))
    truths = [truth.labels > 0 for truth in read_truths(pairs, ISBI.classes)]
    with open_model(model, probabilities=True) as runtime:
        cells = [cell_probability(read_pixels(pair), runtime) for pair in pairs]
    error, found = best(pixel_error, cells, truths)
    wrong = np.concatenate([edge_distance(t)[f != t] for f, t in zip(found, truths, strict=True)])
    figures = {"pixel error": error} | {f"within {near} of an edge": float((wrong <= near).mean()) for near in NEAR}
    error, found = best(warping_error, cells, truths)
    walls = [wall for f, t in zip(found, truths, strict=True) for wall in lost_walls(f, warp(f, t))]
    figures |= {
        "warping error": error,
        "splits and mergers, pixels a slice": error * truths[0].size,
        "of these around bodies": sum(walls) / len(truths),
        "bodies": len(walls),
    }
    for name, value in figures.items():
        print(f"{name}: {value:.4g}")
    save("mistakes", {"model": model.stem} | figures)


def cell_probability(image: np.ndarray, runtime: Runtime) -> np.ndarray:
    _, probabilities = segment_array(image, runtime, None, probabilities=True, tta=True)
    assert probabilities is not None
    return 1 - probabilities[0, 0]


def best(
    error: Callable[[np.ndarray, np.ndarray], float], cells: list[np.ndarray], truths: list[np.ndarray]
) -> tuple[float, list[np.ndarray]]:
    """The least mean error over thresholds, and the cells at that one."""
    # Up to 0.9, as the challenge does: nothing at all is neither split nor merged.
    rows = [[cell >= cut for cell in cells] for cut in CUTS[:-1]]
    errors = [float(np.mean([error(f, t) for f, t in zip(row, truths, strict=True)])) for row in rows]
    return min(errors), rows[int(np.argmin(errors))]


def edge_distance(truth: np.ndarray) -> np.ndarray:
    """Pixels from each pixel to the nearest one of the other class."""
    return ndimage.distance_transform_edt(truth) + ndimage.distance_transform_edt(~truth)


def lost_walls(predicted: np.ndarray, warped: np.ndarray) -> Iterator[int]:
    """Of every body whose wall the prediction has not, or not whole: the pixels that its cell wants of it."""
    mistakes = predicted & splits_and_mergers(predicted, warped)
    cells, _ = ndimage.label(warped)
    for number, box in enumerate(ndimage.find_objects(cells), 1):
        cell = cells[box] == number
        inside, count = ndimage.label(ndimage.binary_fill_holes(cell, EIGHT) & ~cell, EIGHT)
        for hole in range(1, count + 1):
            here = inside == hole
            lost = int((mistakes[box] & here).sum())
            if lost and warped[box][here].any():
                yield lost


if __name__ == "__main__":
    main()
