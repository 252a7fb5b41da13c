"""What a training would find, before it: all of its data read, nothing learned, nothing written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.description import UNDESCRIBED, ModelDescription
from trainer.device import find_device
from trainer.forecast import Forecast, foresee
from trainer.found import SetFound
from trainer.recipe import Recipe
from trainer.run import check_memory, check_tile
from trainer.selection import selection_of
from trainer.sets import DataSet, extent_of, read_sets
from trainer.weights import Files
from unet_deploy.evaluation.pairs import check_no_data


@dataclass(frozen=True)
class Preview:
    """What a training would find and take."""

    sets: tuple[SetFound, ...]
    """Of each data set, in the order that they were given."""
    forecast: Forecast
    notes: tuple[str, ...] = ()
    """What a person should know of the data, in lines."""


def preview(
    data: DataSet | Sequence[DataSet],
    recipe: Recipe | None = None,
    description: ModelDescription = UNDESCRIBED,
    *,
    output: Path | None = None,
    evaluate_every: int | None = None,
    overwrite: bool = False,
) -> Preview:
    """Read all that a training would, and measure this machine for some seconds; nothing is written.

    recipe, description, evaluate_every: as `train` takes them. output: where the weights would go; None where that is
    not known yet. Raises what a new training would before its first step, but for want of room on the disk.
    """
    sets = [data] if isinstance(data, DataSet) else list(data)
    recipe = recipe or description.recipe
    files = Files(output) if output else None
    if description.parent:
        description.parent.check(recipe, files.all if files else ())
    check_tile(recipe)
    check_memory(recipe)
    if files:
        files.check_new(overwrite=overwrite)
        for each in sets:
            check_no_data(files.all, each.path, each.masks)
    annotated = read_sets(sets, description, recipe.diameter)
    selection = selection_of(annotated.validation, description.classes)
    pace = (0, evaluate_every or description.evaluate_every)
    forecast = foresee(recipe, len(description.classes), extent_of(sets), pace, find_device())
    forecast = forecast.of_this_width if description.parent else forecast
    limit = 60 * recipe.max_minutes if recipe.max_minutes else math.inf
    notes = filter(None, (*description.notes, *annotated.notes, annotated.note, selection.note))
    return Preview(annotated.found, forecast.within(limit), tuple(notes))
