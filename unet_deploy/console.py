"""What a person sees while and after a command runs. Progress goes to stderr, answers to stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from unet_deploy.pipeline import Progress


@contextmanager
def progress_bar(title: str, unit: str = "tiles", *, shown: bool = True) -> Iterator[Progress]:
    """A bar with rate and time left, drawn only on a terminal; elsewhere nothing is printed."""
    if not shown or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, rate="")

        def update(done: int, total: int) -> None:
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:.1f} {unit}/s" if speed else "")

        yield update


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Two columns, the first padded to its widest entry."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def bytes_text(count: int | float) -> str:
    """1536000 -> '1.5 MB' (powers of ten)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


Say = Callable[[str], None]


def say(line: str) -> None:
    """One line to stderr: what is going on, or what went wrong."""
    print(line, file=sys.stderr, flush=True)
