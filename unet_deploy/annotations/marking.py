"""How a person says that annotations are to be read, beyond what their files say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Marking:
    """Where annotations say nothing: nothing is learned there, and nothing scored."""

    ignore: int | None = None
    """The value of pixels of a mask that are not known; None for none."""
    annotated_class: str = "Annotated"
    """The class of drawn shapes in which all is annotated: where an image has any, the rest of it is not known."""


AS_MARKED = Marking()
"""As files say it."""
