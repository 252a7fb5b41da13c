"""A training as TensorBoard shows it: loss, rate and score over steps, and pictures of what is still wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from trainer.told import State
from unet_deploy.errors import UsageError
from unet_deploy.system.extras import importing

_FILES = "events.out.tfevents.*"


class TensorBoard:
    """Writes a run's events into a folder.

    resume: go on with the events that are there; those after the step of the checkpoint are no longer shown.
    overwrite: take their place. Raises UsageError where there are some and it may do neither; MissingPackageError.
    """

    def __init__(self, folder: Path, *, resume: bool = False, overwrite: bool = False) -> None:
        self.folder, self._resume = folder, resume
        if self._old and not (resume or overwrite):
            raise UsageError(f"{folder}: holds the events of another training; pass --overwrite to replace them")
        with importing("tensorboard", "tensorboard"):
            from torch.utils.tensorboard import SummaryWriter
        self._make = SummaryWriter
        self._writer: Any = None

    def begin(self, step: int) -> None:
        """A run begins at this step, whose data have been read and found good."""
        if not self._resume:
            for path in self._old:
                path.unlink()
        self._writer = self._make(self.folder, purge_step=step + 1 if step else None)

    def stepped(self, state: State) -> None:
        """A step was taken."""
        self._writer.add_scalar("loss", state.loss, state.step)
        self._writer.add_scalar("learning rate", state.rate, state.step)

    def looked(self, step: int, score: float, pictures: dict[str, np.ndarray]) -> None:
        """The model was looked at. pictures: (h, w, 3) uint8 each, by the names of images held back."""
        self._writer.add_scalar("mean Dice, validation", score, step)
        for name, picture in pictures.items():
            self._writer.add_image(name, picture, step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Write what waits; nothing where no run began."""
        if self._writer:
            self._writer.close()

    @property
    def _old(self) -> list[Path]:
        return sorted(self.folder.glob(_FILES))
