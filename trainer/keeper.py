"""What a training leaves on disk, while it runs: whole, finite, and never in the place of what others made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from trainer.description import WORDS, ModelDescription
from trainer.finite import is_finite
from trainer.recipe import Recipe
from trainer.run import Run
from trainer.selection import Selection
from trainer.sets import AnnotatedSet
from trainer.weights import Files, save_checkpoint, save_weights, steps_of, words_of, write_log
from unet_deploy.errors import ResourceError
from unet_deploy.model.decision import Decision
from unet_deploy.system.files import check_room, drop_leftovers

_ROOM = 1 << 20
"""Bytes for the log and two pictures, and for what a file of weights holds beside them."""


@dataclass
class Keeper:
    """Saves the state of one run."""

    files: Files
    recipe: Recipe
    description: ModelDescription
    data: AnnotatedSet
    selection: Selection
    settings: dict[str, Any]
    device: torch.device
    decision: Decision
    """How the network's answer becomes objects, as far as that is known."""
    kept: int | None = None
    """The step that the checkpoint on disk is of; None before this run has one."""

    def check_room(self, run: Run) -> None:
        """Raise ResourceError unless the disk has room for all that will be written, two checkpoints at a time."""
        weights = sum(each.numel() * each.element_size() for each in run.model.parameters())
        moments = 2 if self.recipe.optimizer == "adamw" else 1
        checkpoint = (3 + moments) * weights + _ROOM
        check_room(self.files.checkpoint, checkpoint, checkpoint, weights + _ROOM)

    def keep_all(self, run: Run) -> None:
        """Save the checkpoint, the weights where they are the best so far, and the log. Raises as `keep`."""
        self.keep(run)
        if run.best_step == run.step:
            self.write_weights(run)
        write_log(self.files.log, run.log)

    def keep(self, run: Run) -> None:
        """Save the checkpoint. Raises ResourceError, and leaves the last one, where the network answers no numbers."""
        if not is_finite(run, self.data.validation[0].image, self.device):
            raise self.lost("the network's answer", run.step)
        save_checkpoint(self.files.checkpoint, run, self.settings)
        self.kept = run.step

    def write_weights(self, run: Run) -> None:
        """Write the best weights."""
        save_weights(self.files.output, run, self.recipe, self.description, self.data, self.selection, self.decision)

    def finish_last_save(self, run: Run) -> None:
        """Write what goes with the checkpoint of an earlier run that was killed while it saved, and clear away."""
        for path in self.files.all:
            drop_leftovers(path)
        self._write_missing_weights(run)
        if run.log:
            write_log(self.files.log, run.log)

    def _write_missing_weights(self, run: Run) -> None:
        """Write the best weights of a checkpoint unless they are there: a run may have ended between the two.

        Nor are they there where they say something else of themselves than is asked for now.
        """
        self.kept, there = run.step, steps_of(self.files.output)
        words = {name: getattr(self.description, name) for name in WORDS}
        stale = there != run.best_step or words_of(self.files.output) != words
        if run.best_weights is not None and stale:
            self.write_weights(run)
        if run.best_weights is None and there is None:  # a checkpoint of version 0.1, whose best are lost
            run.best = -1.0

    def lost(self, what: str, step: int) -> ResourceError:
        """The error of a run whose numbers are none any more, with what there is to go on from."""
        if self.kept is None:
            remedy = "nothing of this run was saved; start again"
        else:
            remedy = f"what was good at step {self.kept} is kept; go on from there with --resume, or start again"
        return ResourceError(f"{what} is no number at step {step}; {remedy}, at a lower --learning-rate")
