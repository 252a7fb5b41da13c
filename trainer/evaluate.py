"""How good a deployed model is: the same tiling and runtime as `unet-deploy segment`, against annotated images.

Needs no PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data import MaskKind, Pair, Truth, check_size, read_pixels, read_truths
from trainer.metrics import (
    THRESHOLDS,
    Matches,
    compare_partitions,
    count_merged,
    displacement,
    match_objects,
    partition,
    pixel_error,
    seg_measure,
    soft_dice,
    warping_error,
)
from trainer.weight_map import connected_objects
from unet_deploy.errors import DataError, UsageError
from unet_deploy.images import open_image
from unet_deploy.images.grey import check_dtype, to_float32
from unet_deploy.model.card import ModelCard
from unet_deploy.runtimes import Runtime
from unet_deploy.segmentation.run import segment_array
from unet_deploy.system.files import replacing
from unet_deploy.system.progress import Progress
from unet_deploy.tiling import Region

GROUPS = ("overlap", "objects", "thresholds", "partitions")
"""Dice and IoU; F1 and SEG; Dice and pixel error by threshold; the ISBI 2012 measures by threshold as well."""

CUTS = tuple(np.arange(11) / 10)
"""Probabilities of the foreground from which a pixel counts as such: 0 to 1 in steps of 0.1."""

LOWER_IS_BETTER = ("pixel error", "Rand error", "warping error")


@dataclass(frozen=True)
class Area:
    """Pixels of one class: in both, in the prediction, in the truth."""

    both: int
    predicted: int
    true: int

    @property
    def dice(self) -> float:
        """1 when the class is on neither side."""
        total = self.predicted + self.true
        return 2 * self.both / total if total else 1.0

    @property
    def iou(self) -> float:
        """1 when the class is on neither side."""
        union = self.predicted + self.true - self.both
        return self.both / union if union else 1.0

    def __add__(self, other: Area) -> Area:
        return Area(self.both + other.both, self.predicted + other.predicted, self.true + other.true)


@dataclass(frozen=True)
class Score:
    """One image."""

    name: str
    areas: tuple[Area, ...]
    """Of every class but background."""
    matches: tuple[Matches, ...]
    """Objects, at every threshold of intersection over union."""
    seg: tuple[float, int]
    """Sum of the Jaccard indices of the true objects, and their number."""
    merged: int
    """True objects that another one shares an object of the prediction with."""
    cuts: tuple[dict[str, float], ...] = ()
    """Measures by name at every one of CUTS, where they were asked for."""
    soft_dice: float | None = None
    """Of the probabilities, the mean over all classes, where they were asked for."""
    displacement: tuple[float, float] | None = None
    """Pixels down and right of what the model sees that the mask lies, where probabilities were asked for."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of all images. Objects are the 4-connected components of what is not background."""

    classes: tuple[str, ...]
    scores: tuple[Score, ...]

    @property
    def mean_dice(self) -> tuple[float, ...]:
        """Of every class but background, the mean over images."""
        return tuple(float(value) for value in np.mean([[a.dice for a in each.areas] for each in self.scores], axis=0))

    @property
    def pooled(self) -> tuple[Area, ...]:
        """Of every class but background, over the pixels of all images together."""
        per_class = zip(*(score.areas for score in self.scores), strict=True)
        return tuple(sum(areas, Area(0, 0, 0)) for areas in per_class)

    @property
    def matches(self) -> tuple[Matches, ...]:
        """At every threshold of THRESHOLDS, the objects of all images together."""
        per_threshold = zip(*(score.matches for score in self.scores), strict=True)
        return tuple(sum(matches, Matches(0, 0, 0)) for matches in per_threshold)

    @property
    def f1(self) -> tuple[float, ...]:
        """At every threshold of THRESHOLDS, over the objects of all images together."""
        return tuple(matches.f1 for matches in self.matches)

    @property
    def seg(self) -> float:
        """The mean Jaccard index of all true objects; 1 when there are none."""
        total, count = np.sum([score.seg for score in self.scores], axis=0)
        return float(total / count) if count else 1.0

    @property
    def merged(self) -> int:
        """True objects, in all images, that another one shares an object of the prediction with."""
        return sum(score.merged for score in self.scores)

    @property
    def cuts(self) -> tuple[dict[str, float], ...]:
        """At every one of CUTS, the mean of each measure over images."""
        per_cut = zip(*(score.cuts for score in self.scores), strict=True)
        return tuple({name: float(np.mean([row[name] for row in rows])) for name in rows[0]} for rows in per_cut)

    @property
    def displacement(self) -> tuple[float, float] | None:
        """Pixels down and right of what the model sees that the masks lie: the median over images."""
        known = [each.displacement for each in self.scores if each.displacement]
        if not known:
            return None
        down, right = np.median(known, axis=0).tolist()
        return down, right

    @property
    def best(self) -> dict[str, tuple[float, float]]:
        """Of each measure by threshold its best mean over images, and the threshold."""
        rows = self.cuts
        found = {}
        for name in rows[0] if rows else ():
            pick = min if name in LOWER_IS_BETTER else max
            # Up to 0.9, as the challenge does: nothing at all is neither split nor merged.
            cuts = CUTS[:-1] if name == "warping error" else CUTS
            found[name] = pick((row[name], cut) for row, cut in zip(rows, cuts, strict=False))
        return {name: (value, float(cut)) for name, (value, cut) in found.items()}

    def overall(self, groups: Iterable[str] = GROUPS) -> dict[str, float]:
        """The figures over all images, by what they are called in a table."""
        figures: dict[str, float] = {}
        if "overlap" in groups:
            for name, mean, area in zip(self.classes[1:], self.mean_dice, self.pooled, strict=True):
                figures |= {f"Dice of {name}, mean of images": mean, f"Dice of {name}, all pixels": area.dice}
                figures[f"IoU of {name}, all pixels"] = area.iou
        if "objects" in groups:
            figures |= {
                "object F1 at IoU 0.5": self.f1[0],
                "object F1, mean over IoU 0.5 to 0.9": sum(self.f1[:9]) / 9,
                "SEG": self.seg,
                "objects merged into others": self.merged,
            }
        if all(score.soft_dice is not None for score in self.scores):
            figures["soft Dice, mean of all classes"] = float(np.mean([score.soft_dice for score in self.scores]))
        if displaced := self.displacement:
            figures |= {"masks displaced down, pixels": displaced[0], "masks displaced right, pixels": displaced[1]}
        return figures | {f"{name}, best at {cut:.1f}": value for name, (value, cut) in self.best.items()}

    def to_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        images = {
            each.name: {
                "dice": [area.dice for area in each.areas],
                "iou": [area.iou for area in each.areas],
                "objects": asdict(each.matches[0]),
                "f1": each.matches[0].f1,
                "merged": each.merged,
                "seg": each.seg[0] / each.seg[1] if each.seg[1] else 1.0,
            }
            for each in self.scores
        }
        thresholds = {f"{cut:.1f}": row for cut, row in zip(CUTS, self.cuts, strict=False)}
        return {"overall": self.overall(), "images": images, "thresholds": thresholds}


def evaluate(
    runtime: Runtime,
    pairs: Sequence[Pair],
    *,
    mask_kind: MaskKind = "auto",
    tile_size: int | None = None,
    tta: bool = False,
    thresholds: bool = False,
    partitions: bool = False,
    min_size: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Segment the image of every pair and score it. Raises DataError and ImageError.

    tta: answer with the mean over eight orientations. thresholds: measure at every one of CUTS as well, and with
    `partitions` the measures of the ISBI 2012 challenge; both want a runtime with probabilities.
    min_size: objects of the prediction of fewer pixels are left out.
    """
    classes = runtime.card.classes
    truths = read_truths(pairs, classes, mask_kind)
    scores = []
    for at, (pair, truth) in enumerate(zip(pairs, truths, strict=True)):
        pixels = _read_fitting(pair, runtime.card)
        check_size(pair, pixels, truth)
        wanted = thresholds or partitions
        labels, probabilities = segment_array(pixels, runtime, tile_size, probabilities=wanted, tta=tta)
        scores.append(
            score_labels(
                pair.name,
                labels[0],
                truth,
                len(classes),
                None if probabilities is None else probabilities[0],
                partitions=partitions,
                min_size=min_size,
            )
        )
        if progress:
            progress(at + 1, len(pairs))
    return Evaluation(classes, tuple(scores))


def _read_fitting(pair: Pair, card: ModelCard) -> np.ndarray:
    """The image of a pair as stored, (C, H, W). Raises DataError and ImageError unless the model can take it."""
    pixels, name = read_pixels(pair), str(pair.image)
    if len(pixels) != card.channels:
        has = "1 channel" if len(pixels) == 1 else f"{len(pixels)} channels"
        raise DataError(f"{name}: {has}, but model {card.name!r} takes {card.channels}; save as many, or take another")
    check_dtype(pixels.dtype, name)
    to_float32(pixels, name)
    return pixels


def score_labels(
    name: str,
    labels: np.ndarray,
    truth: Truth,
    classes: int,
    probabilities: np.ndarray | None = None,
    *,
    partitions: bool = False,
    min_size: int = 0,
) -> Score:
    """Score class indices (H, W), and where given the probabilities (K, H, W) of all classes.

    min_size: objects of the prediction of fewer pixels are left out before objects are matched.
    """
    foreground = None if probabilities is None else 1 - probabilities[0]
    areas = []
    for k in range(1, classes):
        ours, theirs = labels == k, truth.labels == k
        areas.append(Area(int((ours & theirs).sum()), int(ours.sum()), int(theirs.sum())))
    objects = _found_objects(labels > 0, min_size)
    return Score(
        name,
        tuple(areas),
        tuple(match_objects(objects, truth.objects, THRESHOLDS)),
        seg_measure(objects, truth.objects),
        count_merged(objects, truth.objects),
        () if foreground is None else tuple(_at_cut(foreground >= cut, truth, partitions, min_size) for cut in CUTS),
        None if probabilities is None else soft_dice(probabilities, truth.labels),
        None if probabilities is None else displacement(probabilities, truth.labels),
    )


def _found_objects(foreground: np.ndarray, min_size: int) -> np.ndarray:
    """The objects of a prediction (H, W) bool, numbered, without those of fewer pixels."""
    objects = connected_objects(foreground)
    small = np.bincount(objects.reshape(-1)) < min_size
    objects[small[objects]] = 0
    return objects


def _at_cut(found: np.ndarray, truth: Truth, partitions: bool, min_size: int) -> dict[str, float]:
    there = truth.labels > 0
    row = {
        "Dice": Area(int((found & there).sum()), int(found.sum()), int(there.sum())).dice,
        "object F1 at IoU 0.5": match_objects(_found_objects(found, min_size), truth.objects, (0.5,))[0].f1,
        "pixel error": pixel_error(found, there),
    }
    if partitions:
        compared = compare_partitions(partition(found), connected_objects(there))
        row |= {"V_rand": compared.v_rand, "V_info": compared.v_info, "Rand error": compared.rand_error}
        row["warping error"] = warping_error(found, there)
    return row


def record(model: Path, figures: Mapping[str, float], images: str) -> None:
    """Write figures over `images` into the card of a model file, in the place of earlier ones.

    The file is replaced when the new one is whole; nodes and weights stay as they are. Raises ModelError.
    """
    from unet_deploy.model.lower import read_model, write_card

    card = replace(read_model(model).card, evaluation=figures, evaluated_on=images)
    with replacing(model, overwrite=True) as beside:
        write_card(model, beside, card)


def parse_groups(text: str) -> set[str]:
    """The groups of measures that --metrics names. Raises UsageError."""
    asked = set(GROUPS) if text == "all" else {name.strip() for name in text.split(",")}
    if unknown := sorted(asked - set(GROUPS)):
        raise UsageError(f"--metrics {unknown[0]}: there are {', '.join(GROUPS)} and all")
    return asked


def score_files(mask: Path, truth: Path, *, min_size: int = 0) -> Evaluation:
    """Score the foreground of a mask file against a file of true objects, page by page, in memory.

    Truth with more than two values numbers its objects; with two, they are its connected components.
    min_size: objects of the mask of fewer pixels are left out.
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
            scores.append(score_labels(f"{mask.name}[{page}]", found, Truth(there, objects), 2, min_size=min_size))
    return Evaluation(("background", "foreground"), tuple(scores))
