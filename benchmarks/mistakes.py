"""What a model gets wrong on ISBI 2012: how far from the drawn edges, and which splits and mergers.

`python benchmarks/mistakes.py MODEL DATA`: slices 24 to 29, mean of 8 orientations, each measure at its best threshold,
as `unet-deploy evaluate` finds it. A body is an object drawn inside another one, as a mitochondrion is in its cell.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from data_sets import ISBI
from record import save
from registration import LABELS, VOLUME
from scipy import ndimage

from unet_deploy import open_model, segment
from unet_deploy.evaluation.evaluate import score_labels
from unet_deploy.evaluation.measures import GROUPS, Scoring
from unet_deploy.evaluation.pairs import find_pairs, read_pixels
from unet_deploy.evaluation.partitions import splits_and_mergers, warp
from unet_deploy.evaluation.scores import Evaluation
from unet_deploy.evaluation.truths import read_truths

NEAR = (1, 2, 3)
"""Pixels from the drawn edge; those beside it are at 1."""
EIGHT = np.ones((3, 3))
"""What is not cell is 8-connected, as in the warping error."""


def main() -> None:
    model, folder = map(Path, sys.argv[1:])
    pairs = ISBI.validation(find_pairs(folder / VOLUME, folder / LABELS))
    truths = read_truths(pairs, ISBI.classes)
    scores, cells, scoring = [], [], Scoring(frozenset(GROUPS))
    with open_model(model, probabilities=True) as runtime:
        for pair, truth in zip(pairs, truths, strict=True):
            labels, probabilities = segment(read_pixels(pair), model=runtime, probabilities=True, tta=True)
            scores.append(score_labels(pair.name, labels, truth, len(ISBI.classes), probabilities, scoring))
            cells.append((1 - probabilities[0], truth.labels > 0))
    best = Evaluation(ISBI.classes, tuple(scores)).best
    error, cut = best["pixel_error"]
    wrong = np.concatenate([edge_distance(truth)[(cell >= cut) != truth] for cell, truth in cells])
    figures = {"pixel error": error} | {f"within {near} of an edge": float((wrong <= near).mean()) for near in NEAR}
    error, cut = best["warping_error"]
    walls = [wall for cell, truth in cells for wall in lost_walls(cell >= cut, warp(cell >= cut, truth))]
    figures |= {
        "warping error": error,
        "splits and mergers, pixels a slice": error * truths[0].labels.size,
        "of these around bodies": sum(walls) / len(truths),
        "bodies": len(walls),
    }
    for name, value in figures.items():
        print(f"{name}: {value:.4g}")
    save("mistakes", {"model": model.stem} | figures)


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
