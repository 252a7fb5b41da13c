"""How a person says that annotations are to be read, beyond what their files say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Marking:
    """Where annotations say nothing: nothing is learned there, and nothing scored."""

    ignore: int | None = None
    """The value of pixels of a mask that are not known; None for none."""


AS_MARKED = Marking()
"""As files say it."""
