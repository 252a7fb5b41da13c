"""How good a deployed model is: the same tiling and runtime as `unet-deploy segment`, against annotated images.

Needs no PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.data import MaskKind, Pair, check_size, read_pixels, read_truths
from trainer.metrics import THRESHOLDS, Matches, match_objects
from trainer.weight_map import connected_objects
from unet_deploy.errors import DataError
from unet_deploy.images import open_image
from unet_deploy.pipeline import Progress
from unet_deploy.runtimes import Runtime
from unet_deploy.segmentation import segment_array
from unet_deploy.tiling import Region


@dataclass(frozen=True)
class Score:
    """One image: Dice of every class but background, and objects matched at every threshold."""

    name: str
    dice: tuple[float, ...]
    areas: tuple[tuple[int, int], ...]
    """For each of these classes: pixels that agree, and pixels of prediction and truth added."""
    matches: tuple[Matches, ...]


@dataclass(frozen=True)
class Evaluation:
    """Scores of all images. Objects are the 4-connected components of what is not background."""

    classes: tuple[str, ...]
    scores: tuple[Score, ...]

    @property
    def mean_dice(self) -> tuple[float, ...]:
        """Of every class but background, the mean over images."""
        return tuple(float(value) for value in np.mean([score.dice for score in self.scores], axis=0))

    @property
    def pooled_dice(self) -> tuple[float, ...]:
        """Of every class but background, over the pixels of all images together."""
        pairs = np.sum([score.areas for score in self.scores], axis=0)
        return tuple(2 * float(both) / float(total) if total else 1.0 for both, total in pairs)

    @property
    def f1(self) -> tuple[float, ...]:
        """At every threshold of THRESHOLDS, over the objects of all images together."""
        per_threshold = zip(*(score.matches for score in self.scores), strict=True)
        return tuple(sum(matches, Matches(0, 0, 0)).f1 for matches in per_threshold)

    @property
    def mean_f1(self) -> float:
        """Mean over the thresholds 0.5, 0.55 ... 0.95."""
        return sum(self.f1) / len(self.f1)


def evaluate(
    runtime: Runtime,
    pairs: Sequence[Pair],
    *,
    mask_kind: MaskKind = "auto",
    tile_size: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Segment the image of every pair and score it. Raises DataError and ImageError."""
    classes = runtime.card.classes
    truths = read_truths(pairs, classes, mask_kind)
    scores = []
    for at, (pair, truth) in enumerate(zip(pairs, truths, strict=True)):
        pixels = read_pixels(pair)
        check_size(pair, pixels, truth)
        labels = segment_array(pixels, runtime, tile_size)[0][0]
        scores.append(score_labels(pair.name, labels, truth.labels, truth.objects, len(classes)))
        if progress:
            progress(at + 1, len(pairs))
    return Evaluation(classes, tuple(scores))


def score_labels(name: str, labels: np.ndarray, truth: np.ndarray, objects: np.ndarray, classes: int) -> Score:
    """Score class indices (H, W) against true ones and true numbered objects."""
    foreground = range(1, classes)
    areas = tuple(
        (int(((labels == k) & (truth == k)).sum()), int((labels == k).sum() + (truth == k).sum())) for k in foreground
    )
    overlap = tuple(2 * both / total if total else 1.0 for both, total in areas)
    return Score(name, overlap, areas, tuple(match_objects(connected_objects(labels > 0), objects, THRESHOLDS)))


def score_files(mask: Path, truth: Path) -> Evaluation:
    """Score the foreground of a mask file against a file of true objects, page by page, in memory.

    Truth with more than two values numbers its objects; with two, they are its connected components.
    Raises DataError when the two do not fit.
    """
    with open_image(mask) as ours, open_image(truth) as theirs:
        shapes = [(s.info.pages, s.info.channels, s.info.height, s.info.width) for s in (ours, theirs)]
        if shapes[0] != shapes[1] or shapes[0][1] != 1:
            texts = [" x ".join(map(str, shape)) for shape in shapes]
            raise DataError(f"{mask}: is {texts[0]} (pages, channels, pixels), but {truth} is {texts[1]}")
        pages, _, height, width = shapes[0]
        whole = Region(0, 0, height, width)
        scores = []
        for page in range(pages):
            labels, objects = (source.crop(page, whole)[0] for source in (ours, theirs))
            if len(np.unique(objects[objects != 0])) <= 1:
                objects = connected_objects(objects != 0)
            found, there = ((each != 0).astype(np.uint8) for each in (labels, objects))
            scores.append(score_labels(f"{mask.name}[{page}]", found, there, objects, 2))
    return Evaluation(("background", "foreground"), tuple(scores))
