"""What is said of a training: the words of `train`, beside those of `show`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from unet_deploy.cli.show import answer, note
from unet_deploy.cli.text import time_text


class TrainingTime(Protocol):
    """What a training will take, as far as a line says it."""

    @property
    def steps(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def machine(self) -> str: ...
    @property
    def narrower(self) -> tuple[int, float] | None:
        """A width that takes under an hour, and its seconds, where that is less."""

    @property
    def fewer(self) -> int | None:
        """How many steps of this width take an hour, where that is less."""


class Trained(Protocol):
    """What came of a training, as far as a line says it."""

    @property
    def score(self) -> float: ...
    @property
    def step(self) -> int: ...
    @property
    def chosen(self) -> bool:
        """Whether the score chose the weights; else they are the last."""


def training_time(found: TrainingTime) -> None:
    """Say how long a training will take, and where that is long what would take under an hour."""
    steps = f"{found.steps} step{'s' if found.steps != 1 else ''}"
    line = f"about {time_text(found.seconds)} for {steps} at width {found.width} on {found.machine}"
    ways = []
    if found.narrower:
        width, seconds = found.narrower
        ways.append(f"--width {width} (about {time_text(seconds)})")
    if found.fewer:
        ways.append(f"--steps {found.fewer}")
    note(f"{line}; within an hour: {' or '.join(ways)}" if ways else line)


def trained(made: Trained, output: Path) -> None:
    """Say which weights were kept, and what to do with them."""
    which = f"mean validation Dice {made.score:.4f}" if made.chosen else f"the weights of step {made.step}"
    answer(f"{output}: {which}; next: unet-deploy export {output} -o {output.stem}.onnx")
