"""What the model card will say and training cannot know: names, licence, and the model that a training begins with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from trainer.licences import objection
from trainer.recipe import EVALUATE_EVERY, EVALUATE_EVERY_TUNING, PRESETS, Recipe, first_decision
from unet_deploy.errors import UsageError
from unet_deploy.model.card import Normalization
from unet_deploy.model.card_fields import CARD, shown
from unet_deploy.model.decision import Decision

if TYPE_CHECKING:  # it takes PyTorch, and a description none
    from trainer.parent import ParentModel


@dataclass(frozen=True)
class ModelDescription:
    """What the model card will say and training cannot know."""

    classes: tuple[str, ...] = ("background", "foreground")
    normalization: Normalization = field(default_factory=Normalization)
    pixel_size_um: float | None = None
    trained_on: str = ""
    license: str = ""
    """Empty for the parent's, where there is one."""
    command: str = ""
    parent: ParentModel | None = None
    """The model whose weights are the first ones."""

    def __post_init__(self) -> None:
        """Raise UsageError for what no model card can say: known before the training, and not when it is exported."""
        for name, option in (("classes", "--classes"), ("pixel_size_um", "--pixel-size")):
            value, rule = getattr(self, name), CARD[name]
            if not rule.holds(value):
                raise UsageError(f"{option} {_typed(value)}: must be {rule.words.removesuffix(', or null')}")
        if len(set(self.classes)) < len(self.classes):
            raise UsageError(f"--classes {_typed(self.classes)}: two classes have one name; give each its own")
        if self.parent and self.normalization != self.parent.card.normalization:
            raise UsageError(f"normalization: the weights of model {self.parent.card.name!r} fit its own alone")

    @classmethod
    def after(cls, parent: ParentModel, classes: Sequence[str] | None = None, **words: Any) -> ModelDescription:
        """Of a model that begins with the weights of another, as whose classes are where none are given.

        words: the other fields, but for the normalization, which is the parent's. Raises UsageError.
        """
        card = parent.card
        return cls(card.classes if classes is None else tuple(classes), card.normalization, parent=parent, **words)

    @property
    def recipe(self) -> Recipe:
        """How such a model is trained where nobody says how."""
        return self.parent.recipe if self.parent else PRESETS["modern"]

    @property
    def evaluate_every(self) -> int:
        """Steps between validations where nobody says how many."""
        return EVALUATE_EVERY_TUNING if self.parent else EVALUATE_EVERY

    def first_decision(self, diameter: float | None) -> Decision:
        """What is decided before a training on objects of this diameter in pixels; None for images as they are."""
        return self.parent.decision_for(self.classes, diameter) if self.parent else first_decision(diameter)

    @property
    def seen(self) -> tuple[str, ...]:
        """Digests of the images that its first weights have learned from."""
        return self.parent.card.training_images if self.parent else ()

    @property
    def notes(self) -> Iterator[str]:
        """What a person should know of it before the data are read, in lines."""
        if self.parent is None:
            return
        if self.classes == self.parent.card.classes:
            yield f"note: classes are {','.join(self.classes)}, as of model {self.parent.card.name!r}"
        if against := objection(self.parent.origin, self.license):
            yield against

    @property
    def plain(self) -> dict[str, Any]:
        """What it says itself in plain values, for a file; the parent has its own place there."""
        said = asdict(replace(self, parent=None))
        del said["parent"]
        return {**said, "classes": list(self.classes)}

    def going_on(self, said: Mapping[str, Any]) -> ModelDescription:
        """The description of a run that goes on: what is not said now is as it was said before."""
        unsaid = {name: said[name] for name in WORDS if name in said and getattr(self, name) in ("", None)}
        return replace(self, **unsaid)


WORDS = ("pixel_size_um", "trained_on", "license")
"""What of a description a run that goes on may change."""

UNDESCRIBED = ModelDescription()


def _typed(value: object) -> str:
    """A value as a person types it, on one short line."""
    return shown(",".join(value)) if isinstance(value, tuple) else shown(value)
