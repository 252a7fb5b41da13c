"""How far a training is, by its steps or by its time: when the model is looked at, and when the training is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter as now

from trainer.recipe import Recipe
from trainer.run import Run
from trainer.selection import Selection

SPARE = 5.0
"""Seconds of a limit that are kept for what is not measured: the start of the program, files, pictures."""

LOOKING = 0.2
"""Of the time that steps may take, the share that validations may have had, or they wait for the next turn."""


@dataclass
class Pace:
    """Keeps the time of one run, which may be limited."""

    recipe: Recipe
    evaluate_every: int
    """Steps between validations. Under a limit those are spread over the time as they would be over the steps."""
    selection: Selection
    steps_of_validation: float = 0.0
    """How many steps are thought to take as long as a validation, until one is measured."""
    after: float = 0.0
    """Seconds that follow the last validation, the pictures apart."""
    began: float = field(default_factory=now)
    """When this process began to prepare, in seconds of the clock."""
    _looking: float = 0.0
    _longest: float = 0.0
    _turn: int = 0

    def begin(self, run: Run) -> None:
        """The first step is next: what came before counts as preparation."""
        at = now()
        run.prepared += at - self.began
        self.began = at - run.seconds
        self.tick(run)
        self._turn = self._turn_of(run)

    def tick(self, run: Run) -> None:
        """Take the time, after a step."""
        run.seconds = now() - self.began
        if self.recipe.max_minutes:
            left = 60 * self.recipe.max_minutes - run.prepared - self._kept(run)
            run.gone = run.seconds / left if left > 0 else 1.0

    def is_over(self, run: Run) -> bool:
        """Whether no step is to follow."""
        return run.step >= self.recipe.steps or run.gone >= 1 or self.is_in_vain(run)

    def is_in_vain(self, run: Run) -> bool:
        """Whether patience is at its end, where scores can choose at all."""
        patience = self.recipe.patience
        return patience is not None and self.selection.can_choose and run.stale >= patience

    def is_due(self, run: Run) -> bool:
        """Whether the model is to be looked at after this step; asked once a step."""
        before, self._turn = self._turn, self._turn_of(run)
        if self.is_over(run):
            return True
        affordable = not run.gone or self._looking + self._validation(run) <= LOOKING * run.seconds
        return self._turn > before and affordable

    @contextmanager
    def looking(self, run: Run) -> Iterator[None]:
        """Measure a validation; one before the first step is part of the preparation."""
        started = now()
        yield
        taken = now() - started
        self._longest = max(self._longest, taken)
        if run.step:
            self._looking += taken
            self.tick(run)

    def left(self, run: Run) -> float:
        """Seconds that are left, where they pass as they did."""
        position = run.position(self.recipe)
        return run.seconds * (self.recipe.steps - position) / position

    def steps(self, run: Run) -> int:
        """How many steps it will have taken in the end, as far as can be told."""
        return round(run.step * self.recipe.steps / run.position(self.recipe))

    def _turn_of(self, run: Run) -> int:
        return int(run.position(self.recipe) // self.evaluate_every)

    def _validation(self, run: Run) -> float:
        """Seconds of a validation: the longest so far, or what it computes beside a step."""
        return self._longest or self.steps_of_validation * run.seconds / max(1, run.step)

    def _kept(self, run: Run) -> float:
        """Seconds to keep: of a step that is begun, a validation, the pictures of one, and the rest."""
        return run.seconds / max(1, run.step) + 2 * self._validation(run) + self.after + SPARE
