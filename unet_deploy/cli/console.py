"""What a person sees while and after a command runs. Progress goes to stderr, answers to stdout."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from unet_deploy.errors import UsageError

if TYPE_CHECKING:
    from trainer.train import State


class Progress(Protocol):
    """What a bar is told: how much is done, of how much, and what to call it now."""

    def __call__(self, done: int, total: int, title: str = "", /) -> None: ...


@contextmanager
def progress_bar(title: str, unit: str = "tiles", *, shown: bool = True) -> Iterator[Progress]:
    """A bar with rate and time left, drawn on a terminal from the first step on; elsewhere nothing is printed."""
    if not shown or not sys.stderr.isatty():
        yield lambda done, total, title="": None
        return
    import rich.progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(bar_width=None),
        bars.MofNCompleteColumn(),
        bars.TextColumn(unit),
        bars.TextColumn("{task.fields[rate]}"),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
    )
    bar = bars.Progress(*columns, console=Console(stderr=True))
    task = bar.add_task(title, total=None, rate="")

    def update(done: int, total: int, now: str = "") -> None:
        bar.start()  # not before there is something to show: what may be compiled mostly is not
        speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
        bar.update(
            task,
            completed=done,
            total=total,
            description=now or title,
            rate=f"{speed:.1f} {unit}/s" if speed else "",
        )

    try:
        yield update
    finally:
        bar.stop()


@contextmanager
def training_bar(title: str, *, shown: bool = True) -> Iterator[Callable[[State], None]]:
    """A bar with loss, validation score, rate and time left; off a terminal a line at each validation."""
    if shown and not sys.stderr.isatty():
        seen: list[float | None] = [None]

        def tell(state: State) -> None:
            if state.score != seen[0]:
                seen[0] = state.score
                say(f"step {state.step} of {state.steps}: loss {state.loss:.4f}, validation Dice {state.score:.4f}")

        yield tell
        return
    with progress_bar(title, "steps", shown=shown) as progress:

        def update(state: State) -> None:
            score = "" if state.score is None else f", validation Dice {state.score:.4f}"
            progress(state.step, state.steps, f"{title}: loss {state.loss:.3f}{score}")

        yield update


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Two columns, the first padded to its widest entry."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def columns(head: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    """A table with a heading over each column; numbers that are not whole get four decimals."""
    texts = [[f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *texts, strict=True)]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (head, *texts)]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def bytes_text(count: int | float) -> str:
    """1536000 -> '1.5 MB' (powers of ten)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def time_text(seconds: float) -> str:
    """90 -> '1.5 min'."""
    for unit, size in (("s", 60), ("min", 60)):
        if seconds < 0.995 * size:
            return f"{seconds:.2g} {unit}"
        seconds /= size
    return f"{seconds:.3g} h"


def parse_bytes(text: str | None) -> int | None:
    """'2GiB' -> 2147483648; None stays None. Raises UsageError."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(I?B)?", text.upper())
    if not found:
        raise UsageError(f"size {text}: give bytes, for example 2GiB or 512MiB")
    number, prefix, unit = found.groups()
    return int(float(number) * (1000 if unit == "B" else 1024) ** " KMGT".index(prefix or " "))


Say = Callable[[str], None]


def say(line: str) -> None:
    """One line to stderr: what is going on, or what went wrong."""
    print(line, file=sys.stderr, flush=True)
