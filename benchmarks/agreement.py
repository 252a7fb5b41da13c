"""How far networks agree with one another, beside how far each agrees with the annotator: what is left to be learned.

`python benchmarks/agreement.py DATA MODEL MODEL...`: on the axons that are held back, mean of 8 orientations.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
from data_sets import AXONS
from record import save

from unet_deploy import open_model, segment
from unet_deploy.evaluation.overlap import Overlap
from unet_deploy.evaluation.pairs import find_pairs, read_pixels
from unet_deploy.evaluation.truths import read_truths

MYELIN = AXONS.classes.index("myelin")


def main() -> None:
    folder, *models = map(Path, sys.argv[1:])
    pairs = AXONS.validation(find_pairs(folder))
    truth = joined(each.labels for each in read_truths(pairs, AXONS.classes))
    images = [read_pixels(pair) for pair in pairs]
    probabilities = [joined(answers(model, images)) for model in models]
    labels = [each.argmax(0) for each in probabilities]
    wrong = np.stack([each != truth for each in labels])
    figures = {
        "models": [model.stem for model in models],
        "with the annotator": [myelin_dice(each, truth) for each in labels],
        "with one another": [myelin_dice(*two) for two in combinations(labels, 2)],
        "their mean with the annotator": myelin_dice(sum(probabilities).argmax(0), truth),
        "wrong in all": (wrong.all(0).sum() / wrong.sum(1)).tolist(),
    }
    for name, value in figures.items():
        print(f"{name}: {value}")
    save("agreement", figures)


def answers(model: Path, images: list[np.ndarray]) -> Iterable[np.ndarray]:
    """Probabilities (K, H, W) of each image."""
    with open_model(model, probabilities=True) as runtime:
        for image in images:
            yield segment(image, model=runtime, probabilities=True, tta=True)[1]


def joined(planes: Iterable[np.ndarray]) -> np.ndarray:
    """The pixels of all images in one row: (..., H, W) each to (..., N)."""
    return np.concatenate([plane.reshape(*plane.shape[:-2], -1) for plane in planes], -1)


def myelin_dice(a: np.ndarray, b: np.ndarray) -> float:
    return Overlap.of(a == MYELIN, b == MYELIN).dice


if __name__ == "__main__":
    main()
