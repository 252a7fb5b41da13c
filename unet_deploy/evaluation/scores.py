"""What was measured of one image, and of all images together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from unet_deploy.evaluation.displacement import Displacement
from unet_deploy.evaluation.measures import (
    BY_THRESHOLD,
    GROUPS,
    OBJECTS,
    OVERLAP,
    PARTITIONS,
    PROBABILITIES,
    Figure,
    Measure,
)
from unet_deploy.evaluation.objects import Jaccard, Matches
from unet_deploy.evaluation.overlap import Overlap
from unet_deploy.evaluation.split import Part

CUTS = tuple(np.arange(11) / 10)
"""Probabilities of the foreground from which a pixel counts as such: 0 to 1 in steps of 0.1."""


@dataclass(frozen=True)
class CutScore:
    """The foreground from one threshold up; partitions are None where they were not asked for."""

    dice: float
    object_f1: float
    pixel_error: float
    v_rand: float | None = None
    v_info: float | None = None
    rand_error: float | None = None
    warping_error: float | None = None

    def values(self) -> Iterable[tuple[Measure, float]]:
        """Every measure that was taken, in the order of the tables."""
        for measure in (*BY_THRESHOLD, *PARTITIONS):
            if (value := getattr(self, measure.field)) is not None:
                yield measure, value

    @property
    def in_words(self) -> dict[str, float]:
        """Every measure that was taken, by its words."""
        return {measure.words: value for measure, value in self.values()}


class Best(NamedTuple):
    """The best mean over images of a measure by threshold, and that threshold."""

    value: float
    cut: float


@dataclass(frozen=True)
class Score:
    """One image."""

    name: str
    overlaps: tuple[Overlap, ...]
    """Of every class but background."""
    matches: tuple[Matches, ...]
    """Objects, at every threshold of intersection over union."""
    jaccard: Jaccard
    """Of the true objects."""
    merged: int
    """True objects that another one shares an object of the prediction with."""
    cuts: tuple[CutScore, ...] = ()
    """At every one of CUTS, where they were asked for."""
    soft_dice: float | None = None
    """Of the probabilities, the mean over all classes, where they were asked for."""
    displacement: Displacement | None = None
    """How far the mask lies from what the model sees, where probabilities were asked for."""

    @property
    def seg(self) -> float | None:
        """The mean Jaccard index of the true objects; None where there are none."""
        return self.jaccard.mean


@dataclass(frozen=True)
class ClassScore:
    """One class over all images."""

    name: str
    mean_dice: float
    """The mean over images."""
    dice: float
    """Over the pixels of all images together, as is `iou`."""
    iou: float


@dataclass(frozen=True)
class Evaluation:
    """Scores of all images. Objects are the 4-connected components of what is not background."""

    classes: tuple[str, ...]
    scores: tuple[Score, ...]
    trained_on: tuple[str, ...] = ()
    """The names of those that the model was trained on, as far as its card tells."""
    parts: tuple[Part, ...] = ()
    """What of the pairs was scored, in the order of `scores`; empty for files that are no pairs."""
    notes: tuple[str, ...] = ()
    """What a person should know of how the masks were read, in lines."""

    @property
    def absent(self) -> tuple[str, ...]:
        """The classes, but background, that no image has by its mask."""
        true = (sum(overlap.true for overlap in each) for each in zip(*(s.overlaps for s in self.scores), strict=True))
        return tuple(name for name, count in zip(self.classes[1:], true, strict=True) if not count)

    @property
    def by_class(self) -> tuple[ClassScore, ...]:
        """Every class but background."""
        means = np.mean([[overlap.dice for overlap in each.overlaps] for each in self.scores], axis=0)
        pooled = [sum(each, Overlap(0, 0, 0)) for each in zip(*(each.overlaps for each in self.scores), strict=True)]
        return tuple(
            ClassScore(name, float(mean), overlap.dice, overlap.iou)
            for name, mean, overlap in zip(self.classes[1:], means, pooled, strict=True)
        )

    @property
    def f1(self) -> tuple[float, ...]:
        """At every threshold of intersection over union, over the objects of all images together."""
        per_threshold = zip(*(score.matches for score in self.scores), strict=True)
        return tuple(sum(matches, Matches(0, 0, 0)).f1 for matches in per_threshold)

    @property
    def object_f1(self) -> float:
        """F1 over the objects of all images together, at an intersection over union of 0.5."""
        return self.f1[0]

    @property
    def mean_object_f1(self) -> float:
        """The mean of F1 at 0.5, 0.55 ... 0.9."""
        return sum(self.f1[:9]) / 9

    @property
    def seg(self) -> float | None:
        """The mean Jaccard index of all true objects; None where no image has any."""
        return sum((score.jaccard for score in self.scores), Jaccard(0.0, 0)).mean

    @property
    def without_objects(self) -> int:
        """How many images have no true object, and so no part in SEG."""
        return sum(score.jaccard.objects == 0 for score in self.scores)

    @property
    def merged(self) -> int:
        """True objects, in all images, that another one shares an object of the prediction with."""
        return sum(score.merged for score in self.scores)

    @property
    def soft_dice(self) -> float | None:
        """The mean over images; None where it was not asked for."""
        known = [score.soft_dice for score in self.scores if score.soft_dice is not None]
        return float(np.mean(known)) if len(known) == len(self.scores) else None

    @property
    def displacement(self) -> Displacement | None:
        """How far the masks lie from what the model sees: the median over images."""
        known = [each.displacement for each in self.scores if each.displacement]
        return Displacement(*np.median(known, axis=0).tolist()) if known else None

    @property
    def displaced_down(self) -> float | None:
        """Pixels down of what the model sees that the masks lie."""
        return self.displacement.down if self.displacement else None

    @property
    def displaced_right(self) -> float | None:
        """Pixels right of what the model sees that the masks lie."""
        return self.displacement.right if self.displacement else None

    @property
    def cuts(self) -> tuple[CutScore, ...]:
        """At every one of CUTS, the mean of each measure over images."""
        return tuple(_mean(rows) for rows in zip(*(score.cuts for score in self.scores), strict=True))

    @property
    def best(self) -> dict[str, Best]:
        """Of each measure by threshold, known by its field, the best mean over images and its threshold."""
        rows = self.cuts
        found = {}
        for measure, _ in rows[0].values() if rows else ():
            pick = min if measure.better == "lower" else max
            means = [Best(getattr(row, measure.field), float(cut)) for row, cut in zip(rows, CUTS, strict=True)]
            found[measure.field] = pick(mean for mean in means if mean.cut <= measure.last_cut)
        return found

    def figures(self, groups: Iterable[str] = GROUPS) -> list[Figure]:
        """The figures over all images: of these groups, and whatever was measured of probabilities."""
        found: list[Figure] = []
        if "overlap" in groups:
            found += [figure for each in self.by_class for figure in _figures(OVERLAP, each, each.name)]
        if "objects" in groups:
            found += _figures(OBJECTS, self)
        found += _figures(PROBABILITIES, self)
        by_field = {measure.field: measure for measure in (*BY_THRESHOLD, *PARTITIONS)}
        for field, best in self.best.items():
            measure = by_field[field]
            found.append(Figure(measure, f"{measure.words}, best at {best.cut:.1f}", best.value))
        return found

    def overall(self, groups: Iterable[str] = GROUPS) -> dict[str, float]:
        """The figures over all images, by their words: what a model's card records."""
        return {figure.words: figure.value for figure in self.figures(groups)}

    def to_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        thresholds = {f"{cut:.1f}": row.in_words for cut, row in zip(CUTS, self.cuts, strict=False)}
        images = {each.name: _image_json(each) for each in self.scores}
        return {"overall": self.overall(), "images": images, "thresholds": thresholds}


def _mean(rows: Sequence[CutScore]) -> CutScore:
    """The mean of each measure that was taken."""
    fields = [measure.field for measure, _ in rows[0].values()]
    return CutScore(**{field: float(np.mean([getattr(row, field) for row in rows])) for field in fields})


def _figures(measures: Sequence[Measure], of: object, name: str = "") -> list[Figure]:
    """The fields of a score that have something to say, each with its words."""
    values = {measure: getattr(of, measure.field) for measure in measures}
    return [Figure(m, m.words.format(name=name), value) for m, value in values.items() if value is not None]


def _image_json(score: Score) -> Mapping[str, Any]:
    return {
        "dice": [overlap.dice for overlap in score.overlaps],
        "iou": [overlap.iou for overlap in score.overlaps],
        "objects": asdict(score.matches[0]),
        "f1": score.matches[0].f1,
        "merged": score.merged,
        "seg": score.seg,
    }
