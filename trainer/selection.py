"""By what the weights that are kept are chosen, as the images held back allow: known before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.data import Annotated
from unet_deploy.evaluation.truths import count_pixels


@dataclass(frozen=True)
class Selection:
    """The rule of one training.

    Of images that hold one class alone, such as no foreground at all, the best Dice is that of weights which say this
    class everywhere: the first weights may have it, and trained ones lose it with a single pixel. So the last are kept.
    """

    names: tuple[str, ...]
    """Of all classes, the background first."""
    held: tuple[int, ...]
    """The classes that occur in what is held back."""

    @property
    def can_choose(self) -> bool:
        """Whether a score on what is held back tells better weights from worse ones."""
        return len(self.held) > 1

    @property
    def scored(self) -> tuple[int, ...]:
        """The classes whose Dice counts: those held back; where they can choose nothing, all but the background."""
        return tuple(k for k in (self.held if self.can_choose else range(len(self.names))) if k)

    @property
    def note(self) -> str | None:
        """What a person should know of it, in a line; None where there is nothing to say."""
        if not self.can_choose:
            return (
                f"note: what is held back is all {self.names[self.held[0]]}, by which no weights can be chosen: "
                "the last are kept; for the best ones hold back other images with --validation"
            )
        absent = [name for k, name in enumerate(self.names) if k and k not in self.held]
        if absent:
            return (
                f"note: no image held back has {', '.join(absent)}: the best weights are chosen by "
                f"{', '.join(self.names[k] for k in self.scored)} alone; hold back others with --validation"
            )
        return None

    def better(self, score: float, best: float) -> bool:
        """Whether weights of this score take the place of those of the best so far; of equals, the later ones."""
        return score >= best or not self.can_choose


def selection_of(validation: Sequence[Annotated], names: Sequence[str]) -> Selection:
    """The rule that images held back allow."""
    counts = count_pixels((each.said for each in validation), len(names))
    return Selection(tuple(names), tuple(k for k, count in enumerate(counts) if count))
