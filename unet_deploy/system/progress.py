"""How long work tells that it goes on. The library reports; only the command line draws."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with how much is done, of how much, and where it helps with what is being done now."""

    def __call__(self, done: int, total: int, title: str = "", /) -> None: ...
