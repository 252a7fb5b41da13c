"""Every figure of an evaluation: what it is called, which way is better, and how it is written.

The words are what people read in tables and what stands in JSON and in model cards; code knows a figure by its field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unet_deploy.errors import UsageError
from unet_deploy.objects.rules import COMPONENTS, Rules


@dataclass(frozen=True)
class Measure:
    """One measure. Its field is what holds it in ClassScore, Evaluation or CutScore."""

    field: str
    words: str
    """For people; {name} stands for the class."""
    better: Literal["higher", "lower", "nearer 0"] = "higher"
    format: str = ".4f"
    last_cut: float = 1.0
    """The highest threshold at which it says anything."""


OVERLAP = (
    Measure("mean_dice", "Dice of {name}, mean of images"),
    Measure("dice", "Dice of {name}, all pixels"),
    Measure("iou", "IoU of {name}, all pixels"),
)
"""Of each class but background: fields of ClassScore."""

OBJECTS = (
    Measure("object_f1", "object F1 at IoU 0.5"),
    Measure("mean_object_f1", "object F1, mean over IoU 0.5 to 0.9"),
    Measure("seg", "SEG"),
    Measure("merged", "objects merged into others", "lower", "d"),
)
"""Of what is not background: fields of Evaluation."""

PROBABILITIES = (
    Measure("soft_dice", "soft Dice, mean of all classes"),
    Measure("displaced_down", "masks displaced down, pixels", "nearer 0"),
    Measure("displaced_right", "masks displaced right, pixels", "nearer 0"),
)
"""Of probabilities, where there are some: fields of Evaluation."""

BY_THRESHOLD = (
    Measure("dice", "Dice"),
    Measure("object_f1", "object F1 at IoU 0.5"),
    Measure("pixel_error", "pixel error", "lower"),
)
"""Of the foreground by threshold: fields of CutScore."""

PARTITIONS = (
    Measure("v_rand", "V_rand"),
    Measure("v_info", "V_info"),
    Measure("rand_error", "Rand error", "lower"),
    # Up to 0.9, as the challenge does: nothing at all is neither split nor merged.
    Measure("warping_error", "warping error", "lower", last_cut=0.9),
)
"""The ISBI 2012 measures by threshold: fields of CutScore."""

GROUPS = ("overlap", "objects", "thresholds", "partitions")
"""Dice and IoU; F1 and SEG; Dice and pixel error by threshold; the ISBI 2012 measures by threshold as well."""


@dataclass(frozen=True)
class Figure:
    """One figure over all images, in words."""

    measure: Measure
    words: str
    value: float

    @property
    def text(self) -> str:
        """The value as a table shows it."""
        return format(self.value, self.measure.format)


@dataclass(frozen=True)
class Scoring:
    """What is measured, and of which objects."""

    groups: frozenset[str] = frozenset({"overlap", "objects"})
    """Of GROUPS."""
    objects: Rules = COMPONENTS
    """What of the prediction counts as an object."""

    @property
    def by_threshold(self) -> bool:
        """Whether it wants probabilities, and measures at every threshold."""
        return bool(self.groups & {"thresholds", "partitions"})

    @property
    def partitions(self) -> bool:
        """Whether it measures the partitions of the ISBI 2012 challenge, which takes scikit-image."""
        return "partitions" in self.groups


USUAL = Scoring()
"""What is measured unless something else is asked for."""


def parse_groups(text: str) -> frozenset[str]:
    """The groups of measures that --metrics names. Raises UsageError."""
    asked = frozenset(GROUPS if text == "all" else (name.strip() for name in text.split(",")))
    if unknown := sorted(asked - set(GROUPS)):
        raise UsageError(f"--metrics {unknown[0]}: there are {', '.join(GROUPS)} and all")
    return asked
