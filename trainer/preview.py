"""What a training would find, before it: all of its data read, nothing learned, nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.description import UNDESCRIBED, ModelDescription
from trainer.device import find_device
from trainer.forecast import Forecast
from trainer.found import SetFound
from trainer.plan import Plan
from trainer.recipe import Recipe
from trainer.sets import DataSet
from trainer.told import NOBODY, Told
from trainer.weights import Files


@dataclass(frozen=True)
class Preview:
    """What a training would find and take."""

    sets: tuple[SetFound, ...]
    """Of each data set, in the order that they were given."""
    forecast: Forecast


def preview(
    data: DataSet | Sequence[DataSet],
    recipe: Recipe | None = None,
    description: ModelDescription = UNDESCRIBED,
    *,
    output: Path | None = None,
    evaluate_every: int | None = None,
    overwrite: bool = False,
    told: Told = NOBODY,
) -> Preview:
    """Read all that a training would, and measure this machine for some seconds; nothing is written.

    recipe, description, evaluate_every: as `train` takes them. output: where the weights would go; None where that is
    not known yet. told: what a person should know of the data, in lines. Raises what a new training would before its
    first step, but for want of room on the disk.
    """
    plan = Plan.of(data, recipe, description, evaluate_every)
    plan.check_new(Files(output) if output else None, overwrite=overwrite)
    told.say(*description.notes)
    found = plan.find()
    annotated, _ = plan.read(found, told)
    return Preview(annotated.found, plan.foresee(found, find_device()))
