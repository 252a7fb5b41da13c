"""How a model's answer is to become objects: each number of a decision chosen by F1 on images the model never saw.

It is the mean of F1 over IoU 0.5 to 0.9, so that outlines count beside counts: by F1 at 0.5 alone masks came out a
pixel too thin or too wide wherever that parted a few objects more (on nuclei, a Dice of 0.955 in place of 0.966).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from unet_deploy.errors import DataError
from unet_deploy.evaluation.objects import IOU_THRESHOLDS, match_objects, objects_found
from unet_deploy.evaluation.truths import Truth
from unet_deploy.model.decision import UNDECIDED, Decision
from unet_deploy.segmentation.options import ObjectRules
from unet_deploy.segmentation.trust import Confidence

LADDERS: dict[str, tuple[Any, ...]] = {
    "threshold": (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7),
    "fill_holes": (False, True),
    "min_size": (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.12, 0.16),
    "split": (0.0, 0.02, 0.03, 0.04, 0.06, 0.1),
    "min_part": (0.0, 0.1, 0.2, 0.3, 0.4),
    "peak": (0.0, 0.7, 0.8, 0.9, 0.95, 0.97),
}
"""What is tried of each number of a decision, in the order in which they are chosen."""

ROUNDS = 3
"""How often all are chosen anew at most: each depends on the others, and two rounds mostly settle it."""

BAD = 0.6
"""Object F1 at IoU 0.5 under which a mask is not to be trusted."""

CAUGHT, FALSE_ALARMS = 0.8, 0.1
"""Shares of the bad masks that are to be warned of, and of the others that may be."""

FEW = 100
"""Objects by which hardly anything can be told: what suits those of one image suits that image."""

FLAT = 0.001
"""F1 that is better by less, or by less than one object makes, is no better: of such values the one nearest to what was
decided before is taken."""


@dataclass(frozen=True)
class Seen:
    """A model's answer to one image, beside its truth."""

    name: str
    data: str
    """The data set that it is of: each counts alike, whatever its size."""
    probabilities: np.ndarray
    """(K, H, W) uint8, in 255ths."""
    truth: Truth

    @classmethod
    def of(cls, name: str, data: str, probabilities: np.ndarray, truth: Truth) -> Seen:
        """Keep probabilities (K, H, W) float in a quarter of their memory; thresholds lie further apart than that."""
        return cls(name, data, np.round(probabilities * 255).astype(np.uint8), truth)

    def labels(self, decision: Decision) -> np.ndarray:
        """Class indices (H, W) uint8."""
        return decision.labels(self.probabilities[None].astype(np.float32))[0]

    def confidence(self, decision: Decision) -> float:
        """The mean probability of the foreground; 0 where there is none."""
        confidence = Confidence()
        confidence.add(self.labels(decision), self.probabilities / np.float32(255))
        return confidence.mean or 0.0

    def f1(self, decision: Decision) -> tuple[float, ...]:
        """Object F1 at each of `IOU_THRESHOLDS` when objects are made so."""
        labels = self.truth.of_known(self.labels(decision))
        rules = ObjectRules().decided_by(decision)
        found = objects_found(labels, rules, self.probabilities / np.float32(255) if rules.peak else None)
        return tuple(each.f1 for each in match_objects(found, self.truth.objects, IOU_THRESHOLDS))


@dataclass(frozen=True)
class Curve:
    """What was tried of one number, all others as they were chosen, and how good it was."""

    field: str
    values: tuple[Any, ...]
    scores: tuple[float, ...]
    chosen: Any


@dataclass(frozen=True)
class Calibration:
    """What was chosen, and by what."""

    decision: Decision
    curves: tuple[Curve, ...]
    before: float
    """Mean F1, over IoU 0.5 to 0.9 too, of the decision that it began with."""
    after: float
    images: int
    objects: int

    @property
    def is_better(self) -> bool:
        return self.after > self.before

    @property
    def notes(self) -> Iterator[str]:
        """What a person should know of it, in lines."""
        if self.objects < FEW:
            yield (
                f"note: chosen by {self.objects} objects, which other images may not be like; "
                f"{FEW} and more, of several images, tell better"
            )


def calibrate(
    seen: Sequence[Seen], decision: Decision = UNDECIDED, *, done: Callable[[int, int], None] | None = None
) -> Calibration:
    """Choose threshold, filling of holes, least size, splitting and peak, one after another until none changes.

    decision: what to begin with, and to stay near where images do not tell; its diameters stay.
    done: called with values tried and values in all, at most.
    Raises DataError where there is nothing to choose by.
    """
    if not any(each.truth.objects.any() for each in seen):
        raise DataError("calibrate: no image has an object; give images with some")
    objects = sum(len(np.unique(each.truth.objects[each.truth.objects > 0])) for each in seen)
    flat = max(FLAT, 1 / objects)
    ladders = {name: tuple(sorted({*values, getattr(decision, name)})) for name, values in LADDERS.items()}
    total = ROUNDS * sum(map(len, ladders.values()))
    scored: dict[Decision, float] = {}
    before = _mean(seen, decision, scored)
    chosen = decision
    for at in range(ROUNDS):
        last = chosen
        for number, (field, values) in enumerate(ladders.items()):
            scores = []
            for value in values:
                scores.append(_mean(seen, replace(chosen, **{field: value}), scored))
                if done:
                    done(min(total, at * total // ROUNDS + number + len(scores)), total)
            chosen = replace(chosen, **{field: _best(values, scores, getattr(decision, field), flat)})
        if chosen == last:
            break
    if done:
        done(total, total)
    curves = tuple(
        Curve(
            field,
            values,
            tuple(_mean(seen, replace(chosen, **{field: value}), scored) for value in values),
            getattr(chosen, field),
        )
        for field, values in ladders.items()
    )
    decided = replace(chosen, trusted_from=_trusted_from(seen, chosen))
    return Calibration(decided, curves, before, _mean(seen, chosen, scored), len(seen), objects)


def _trusted_from(seen: Sequence[Seen], decision: Decision) -> float:
    """The confidence below which masks are bad: as low as catches most of those that are, with few false alarms.

    It stays what it was where no mask is bad, or all are: then nothing tells the ones from the others.
    """
    sure = np.array([each.confidence(decision) for each in seen])
    bad = np.array([each.f1(decision)[0] < BAD for each in seen])
    if bad.all() or not bad.any():
        return decision.trusted_from
    caught = np.quantile(sure[bad], CAUGHT, method="higher") + 0.01
    return math.floor(100 * min(caught, np.quantile(sure[~bad], FALSE_ALARMS), 0.99)) / 100


def _best(values: Sequence[Any], scores: Sequence[float], before: Any, flat: float) -> Any:
    """The value of the best score; of those that are as good, the one nearest to what was decided before."""
    good = [value for value, score in zip(values, scores, strict=True) if score >= max(scores) - flat]
    return min(good, key=lambda value: abs(value - before))


def mean_f1(seen: Sequence[Seen], decision: Decision) -> float:
    """F1 over IoU 0.5 to 0.9, mean of images in a data set and of data sets."""
    by_data: dict[str, list[float]] = {}
    for each in seen:
        by_data.setdefault(each.data, []).append(float(np.mean(each.f1(decision))))
    return float(np.mean([np.mean(each) for each in by_data.values()]))


def _mean(seen: Sequence[Seen], decision: Decision, scored: dict[Decision, float]) -> float:
    """`mean_f1`, of each decision once."""
    if decision not in scored:
        scored[decision] = mean_f1(seen, decision)
    return scored[decision]
