"""Bars: the only place that draws how far a command is. They go to stderr, and only where that is a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from unet_deploy.cli.show import note
from unet_deploy.system.words import time_text, visible

if TYPE_CHECKING:
    from unet_deploy.system.progress import Progress


SILENCE = 30.0
"""Seconds that a compiler may be at work before a log says so again."""


class TrainingState(Protocol):
    """How far a training is, as far as a bar shows it."""

    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def left(self) -> float:
        """Seconds."""

    @property
    def loss(self) -> float: ...
    @property
    def score(self) -> float | None:
        """Mean validation Dice of the last validation; None before the first."""

    @property
    def validations(self) -> int:
        """How many there were."""


@contextmanager
def progress_bar(title: str, unit: str = "tiles", *, shown: bool = True) -> Iterator[Progress]:
    """Draw a bar with rate and time left on a terminal, from the first step on; elsewhere nothing is printed."""
    if not shown or not sys.stderr.isatty():
        yield lambda done, total, title="": None
        return
    import rich.progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(bar_width=None),
        bars.MofNCompleteColumn(),
        bars.TextColumn(unit),
        bars.TextColumn("{task.fields[rate]}"),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
    )
    bar = bars.Progress(*columns, console=Console(stderr=True))
    task = bar.add_task(visible(title), total=None, rate="")

    def update(done: int, total: int, now: str = "") -> None:
        bar.start()  # not before there is something to show: what may be compiled mostly is not
        speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
        rate = f"{speed:.1f} {unit}/s" if speed else ""
        bar.update(task, completed=done, total=total, description=visible(now or title), rate=rate)

    try:
        yield update
    finally:
        bar.stop()


@contextmanager
def compiling_bar(title: str, *, shown: bool = True) -> Iterator[Progress]:
    """Draw a bar of a compiler's steps; off a terminal, say at once what begins, and every half minute what goes on."""
    if not shown or sys.stderr.isatty():
        with progress_bar(title, "steps", shown=shown) as progress:
            yield progress
        return
    now: list[str] = []
    ended = threading.Event()

    def update(done: int, total: int, what: str = "") -> None:
        begins = not now
        now[:] = [what or title, f"step {done} of {total}"]
        if begins:
            note(now[0])
            teller.start()

    def tell() -> None:
        begun = time.monotonic()
        while not ended.wait(SILENCE):
            note(f"{', '.join(now)}, {time_text(time.monotonic() - begun)} since it began")

    teller = threading.Thread(target=tell, name="compiling", daemon=True)
    try:
        yield update
    finally:
        ended.set()


@contextmanager
def training_bar(title: str, *, shown: bool = True) -> Iterator[Callable[[TrainingState], None]]:
    """Draw a bar with loss, validation score, rate and time left; off a terminal, print a line at each validation."""
    if shown and not sys.stderr.isatty():
        yield _line_at_each_validation()
        return
    with progress_bar(title, "steps", shown=shown) as progress:

        def update(state: TrainingState) -> None:
            score = "" if state.score is None else f", validation Dice {state.score:.4f}"
            progress(state.step, state.steps, f"{title}: loss {state.loss:.3f}{score}")

        yield update


def _line_at_each_validation() -> Callable[[TrainingState], None]:
    seen = [0]

    def update(state: TrainingState) -> None:
        if state.validations != seen[0]:
            seen[0] = state.validations
            left = f", about {time_text(state.left)} left" if state.step < state.steps else ""
            done = f"step {state.step} of {state.steps}"
            note(f"{done}: loss {state.loss:.4f}, validation Dice {state.score:.4f}{left}")

    return update
