"""What a training tells while it runs and in the end, and whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trainer.forecast import Forecast


@dataclass(frozen=True)
class State:
    """Where a training stands, for a progress bar."""

    step: int
    steps: int
    """How many it will have taken in the end, foreseen where it is the time that ends it."""
    left: float
    """Seconds that are left, by how fast it was so far."""
    loss: float
    rate: float
    """Of learning, in the step that is next."""
    score: float | None
    """The latest validation score: mean Dice of the classes but background."""
    validations: int
    """How many there were."""


class Log(Protocol):
    """Keeps how a training goes, to be looked at elsewhere."""

    def begin(self, step: int) -> None:
        """A run begins at this step, or goes on from it."""

    def stepped(self, state: State) -> None:
        """A step was taken."""

    def looked(self, step: int, score: float, pictures: dict[str, np.ndarray]) -> None:
        """The model was looked at. pictures: (h, w, 3) uint8 each, by the names of images held back."""


@dataclass(frozen=True)
class Told:
    """Who is told how a training goes; by default nobody."""

    progress: Callable[[State], None] | None = None
    """After each step."""
    note: Callable[[str], None] | None = None
    """A line that a person should read."""
    forecast: Callable[[Forecast], None] | None = None
    """Before the data are read: how long it will take. Measured only where somebody wants it."""

    log: Log | None = None

    def say(self, *lines: str | None) -> None:
        """Pass on the lines that there are."""
        for line in lines:
            if line and self.note:
                self.note(line)


NOBODY = Told()


@dataclass(frozen=True)
class Trained:
    """What came of a training."""

    score: float
    """Mean validation Dice of the weights that were kept."""
    step: int
    """At which they were so."""
    chosen: bool
    """Whether the score chose them; else they are the last."""
