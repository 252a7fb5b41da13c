"""What a training is asked to do, and all that must hold before its first step: for a dry run as for a training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from trainer.description import UNDESCRIBED, ModelDescription
from trainer.forecast import Forecast, foresee
from trainer.recipe import Recipe
from trainer.run import check_memory, check_tile
from trainer.selection import Selection, selection_of
from trainer.sets import AnnotatedSet, DataSet, FoundSet, extent_of, find_sets, read_found
from trainer.settings import check_parent
from trainer.told import Told
from trainer.weights import Files, load_checkpoint, words_of
from unet_deploy.errors import UsageError
from unet_deploy.evaluation.pairs import check_no_data


@dataclass(frozen=True)
class Plan:
    """On what a training learns, and how."""

    sets: tuple[DataSet, ...]
    recipe: Recipe
    description: ModelDescription
    evaluate_every: int
    """Steps between validations, or as much of the time where that is limited."""

    @classmethod
    def of(
        cls,
        data: DataSet | Sequence[DataSet],
        recipe: Recipe | None = None,
        description: ModelDescription = UNDESCRIBED,
        evaluate_every: int | None = None,
    ) -> Plan:
        """What was asked for, and of what was not what fits the model to begin with, or else the modern preset."""
        sets = (data,) if isinstance(data, DataSet) else tuple(data)
        return cls(sets, recipe or description.recipe, description, evaluate_every or description.evaluate_every)

    def check_new(self, files: Files | None, *, overwrite: bool) -> None:
        """Look at tile, memory, parent and what has the names of a run's files, where these are known.

        Raises UsageError, ResourceError, and DataError as `find_data`.
        """
        self._check(files)
        if files:
            files.check_new(overwrite=overwrite)
            self._check_apart(files)

    def check_resumed(self, files: Files, *, overwrite: bool) -> dict[str, Any]:
        """Look at the same for a run that goes on; returns the checkpoint to go on from. Raises as `check_new`."""
        self._check(files)
        files.check_resumed(overwrite=overwrite)
        saved = load_checkpoint(files.checkpoint)
        check_parent(files.checkpoint, saved.get("settings", {}), self.description)
        if saved.get("step", 0) > self.recipe.steps:
            raise UsageError(
                f"{files.checkpoint}: has taken {saved['step']} steps already; --steps {self.recipe.steps} is fewer"
            )
        self._check_apart(files)
        return saved

    def going_on(self, files: Files) -> Plan:
        """The plan of a run that goes on: what is not said now is as it was said before."""
        return replace(self, description=self.description.going_on(words_of(files.output)))

    def find(self) -> list[FoundSet]:
        """Find the files of all data sets. Raises UsageError, DataError and ImageError."""
        return find_sets(self.sets)

    def foresee(
        self, found: Sequence[FoundSet], device: torch.device, saved: Mapping[str, Any] | None = None
    ) -> Forecast:
        """Measure for some seconds how long it will take. saved: the checkpoint that it goes on from."""
        pace = (saved["step"] if saved else 0, self.evaluate_every)
        forecast = foresee(self.recipe, len(self.description.classes), extent_of(found), pace, device)
        forecast = forecast.of_this_width if saved or self.description.parent else forecast
        return forecast.within(self._seconds_left(saved or {}))

    def read(self, found: Sequence[FoundSet], told: Told) -> tuple[AnnotatedSet, Selection]:
        """Read all images, and tell what is not plain of them. Raises as `read_found`."""
        annotated = read_found(found, self.description, self.recipe.diameter)
        selection = selection_of(annotated.validation, self.description.classes)
        told.say(*annotated.notes, annotated.note, selection.note)
        return annotated, selection

    def _check(self, files: Files | None) -> None:
        if self.description.parent:
            self.description.parent.check(self.recipe, files.all if files else ())
        check_tile(self.recipe)
        check_memory(self.recipe)

    def _check_apart(self, files: Files) -> None:
        for each in self.sets:
            check_no_data(files.all, each.path, each.masks)

    def _seconds_left(self, saved: Mapping[str, Any]) -> float:
        """What a limit leaves to a run, or to one that goes on; infinite without one."""
        if not self.recipe.max_minutes:
            return math.inf
        return max(0.0, 60 * self.recipe.max_minutes - saved.get("seconds", 0.0) - saved.get("prepared", 0.0))
