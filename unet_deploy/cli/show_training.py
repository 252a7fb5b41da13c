"""What is said of a training: the words of `train`, beside those of `show`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from unet_deploy.cli.show import answer, block, note
from unet_deploy.cli.text import columns
from unet_deploy.system.words import time_text


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


class SetFound(Protocol):
    """What a data set holds, as a table says it."""

    @property
    def path(self) -> Path: ...
    @property
    def layout(self) -> str: ...
    @property
    def images(self) -> int: ...
    @property
    def regions(self) -> int: ...
    @property
    def smallest(self) -> tuple[int, int]: ...
    @property
    def largest(self) -> tuple[int, int]: ...
    @property
    def channels(self) -> int: ...
    @property
    def objects(self) -> int: ...
    @property
    def annotated(self) -> float: ...
    @property
    def held_back(self) -> float: ...
    @property
    def classes(self) -> Sequence[ClassShare]: ...


class ClassShare(Protocol):
    """How much of what is annotated is of a class."""

    @property
    def name(self) -> str: ...
    @property
    def share(self) -> float: ...


class Preview(Protocol):
    """What a training would find and take."""

    @property
    def sets(self) -> Sequence[SetFound]: ...
    @property
    def forecast(self) -> TrainingTime: ...


_ROWS = ("data", "layout", "images", "pixels", "channels", "objects", "annotated", "held back")


def preview(found: Preview) -> None:
    """Say what each data set holds, side by side, and how long a training would take."""
    names = (*_ROWS, *(each.name for each in found.sets[0].classes))
    head, *rows = zip(names, *map(_cells, found.sets), strict=True)
    block(columns(head, rows))
    training_time(found.forecast)


def _cells(found: SetFound) -> list[str]:
    """What a data set holds, in the order of `_ROWS`, and then the share of each class."""
    sizes = [f"{height} x {width}" for height, width in dict.fromkeys((found.smallest, found.largest))]
    held_back = f"{found.held_back:g} of {found.regions}" if found.regions > 1 else f"{_percent(found.held_back)} of it"
    images = f"{found.regions} regions of {found.images}" if found.regions != found.images else str(found.images)
    return [
        str(found.path),
        found.layout,
        images,
        " to ".join(sizes),
        str(found.channels),
        str(found.objects),
        _percent(found.annotated),
        held_back,
        *(_percent(each.share) for each in found.classes),
    ]


def _percent(share: float) -> str:
    """Word a share, of a rare class too.

    >>> _percent(0.00312), _percent(1.0)
    ('0.312 %', '100 %')
    """
    return f"{100 * share:.3g} %"


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
    export = ["unet-deploy", "export", str(output), "-o", f"{output.stem}.onnx"]
    answer(f"{output}: {which}; next: {shlex.join(export)}")
