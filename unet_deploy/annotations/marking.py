"""How a person says that annotations are to be read, beyond what their files say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from unet_deploy.annotations.classes import are_one
from unet_deploy.annotations.shapes import Drawing
from unet_deploy.errors import UsageError


@dataclass(frozen=True)
class Marking:
    """Where annotations say nothing: nothing is learned there, and nothing scored."""

    ignore: int | None = None
    """The value of pixels of a mask that are not known; None for none."""
    annotated_class: str = "Annotated"
    """The class of drawn shapes in which all is annotated: where an image has any, the rest of it is not known."""

    def __post_init__(self) -> None:
        """Raise UsageError for a class of no name."""
        if not self.annotated_class.strip():
            raise UsageError("--annotated-class: is empty; name the class of shapes in which all is annotated")

    def note(self, drawings: Iterable[Drawing]) -> str | None:
        """Say that no shape is of the class that a person names for what is annotated."""
        if self.annotated_class == AS_MARKED.annotated_class:
            return None
        if any(are_one(shape.of, self.annotated_class) for drawing in drawings for shape in drawing.shapes):
            return None
        return f"note: no shape is of --annotated-class {self.annotated_class!r}, so all of each image is annotated"


AS_MARKED = Marking()
"""As files say it."""
